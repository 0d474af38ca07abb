//===- Inflate.h - DEFLATE decoding and CRC-32 ------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_INFLATE_H
#define PARE_BACKENDS_RUNTIME_INFLATE_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// Decodes a raw DEFLATE stream (RFC 1951) that must fill exactly
/// `out[0, size)`. False on any damage; never reads or writes outside.
bool inflate(Str stream, uint8_t *out, uint64_t size);

/// CRC-32 of IEEE 802.3 (as zip has it), continuing from `crc` (0 at first).
uint32_t crc32(uint32_t crc, const void *data, uint64_t size);

} // namespace pare::rt

#endif
