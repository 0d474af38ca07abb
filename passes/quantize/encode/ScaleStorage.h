//===- ScaleStorage.h - Scales as formats store them ------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_SCALESTORAGE_H
#define PARE_PASSES_QUANTIZE_ENCODE_SCALESTORAGE_H

#include "frontend/weights/BlockFormat.h"

namespace pare::encode {

/// Writes the stored number nearest to `value`, the inverse of decodeScale:
/// ties to even (E8M0: to the larger), the largest finite one where `value` is
/// beyond it, and the least where a type without a sign gets a negative number.
void encodeScale(ScaleType type, float value, uint8_t *bytes);

/// What decodeScale gives for a `value` that was stored.
float roundScale(ScaleType type, float value);

/// Whether scales of the type may be negative.
bool isSigned(ScaleType type);

} // namespace pare::encode

#endif
