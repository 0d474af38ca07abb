//===- Decimal.h - Doubles and decimal text ---------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_DECIMAL_H
#define PARE_BACKENDS_RUNTIME_DECIMAL_H

#include "backends/runtime/Support.h"

namespace pare::rt {

constexpr unsigned kDecimalBytes = 32;

/// Parses `-12.5e3`: digits, a fraction, an exponent, that fill all of `text`.
/// The nearest double, ties to even; digits beyond the 40th that are not zero
/// count as one that is not. Too large a number is infinite. False if `text`
/// has another form.
bool parseDecimal(Str text, double &value);

/// Writes `value` as Python's repr() does: the shortest digits that read back
/// as it, "1e-05", "12.0", "nan", "inf". Returns the length. Not
/// zero-terminated.
///
/// Method: Steele and White, "How to print floating-point numbers accurately"
/// (1990), in exact integers.
unsigned decimalText(double value, char *text);

} // namespace pare::rt

#endif
