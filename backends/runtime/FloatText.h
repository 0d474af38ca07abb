//===- FloatText.h - Shortest decimal text of a float -----------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_FLOATTEXT_H
#define PARE_BACKENDS_RUNTIME_FLOATTEXT_H

namespace pare::rt {

constexpr unsigned kFloatTextBytes = 24;

/// Writes the shortest decimal text that reads back as `value`, closest to it
/// among those of that length, in JSON's number syntax; "nan", "inf", "-inf"
/// where there is none. Returns its length. Not zero-terminated.
///
/// Method: Schubfach (R. Giulietti, "The Schubfach way to render doubles").
unsigned floatText(float value, char *text);

} // namespace pare::rt

#endif
