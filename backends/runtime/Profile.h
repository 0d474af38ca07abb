//===- Profile.h - What timings say -----------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_PROFILE_H
#define PARE_BACKENDS_RUNTIME_PROFILE_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// A table of a model's steps, slowest first. `stepNanos`: of all `runs`
/// together, at the shapes of the last one.
void putProfile(Writer &text, const PareContext &context,
                const uint64_t *stepNanos, uint64_t runs);
/// The same as a JSON list, in the order of the steps.
void putProfileJson(Writer &text, const PareContext &context,
                    const uint64_t *stepNanos, uint64_t runs);

/// `value` with `decimals`, right-aligned to `width`.
void putColumn(Writer &text, double value, unsigned decimals, uint64_t width);

/// The most memory that this program held: getrusage would also count what its
/// parent held before exec. 0 where the kernel does not say.
uint64_t peakBytes();

/// Bytes per second that `threads` threads read from memory, each a part of a
/// buffer larger than caches: the best of some passes. 0 where memory is short.
double readBandwidth(uint32_t threads);

} // namespace pare::rt

#endif
