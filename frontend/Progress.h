//===- Progress.h - Who wants to know how far work is -----------*- C++ -*-===//
#ifndef PARE_FRONTEND_PROGRESS_H
#define PARE_FRONTEND_PROGRESS_H

#include "llvm/ADT/StringRef.h"
#include <functional>

namespace pare {

/// Is told that `done` of `total` units of `phase` are finished; units take
/// about the same time each. Called from one thread, with `done` never falling
/// and at the end of a phase equal to `total`.
using ProgressFn =
    std::function<void(llvm::StringRef phase, uint64_t done, uint64_t total)>;

/// Counts the units of one phase for a listener, who may be empty.
class PhaseProgress {
public:
  PhaseProgress(const ProgressFn &listener, llvm::StringRef phase,
                uint64_t total)
      : listener(listener), phase(phase), total(total) {
    tell();
  }
  PhaseProgress(const PhaseProgress &) = delete;
  PhaseProgress &operator=(const PhaseProgress &) = delete;
  ~PhaseProgress() { finish(total); }

  /// `units` more are finished.
  void finish(uint64_t units = 1) {
    units = std::min(units, total - done);
    done += units;
    if (units)
      tell();
  }

private:
  void tell() {
    if (listener)
      listener(phase, done, total);
  }

  const ProgressFn &listener;
  llvm::StringRef phase;
  uint64_t done = 0, total;
};

} // namespace pare

#endif
