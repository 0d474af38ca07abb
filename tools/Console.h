//===- Console.h - What a command says on standard error --------*- C++ -*-===//
#ifndef PARE_TOOLS_CONSOLE_H
#define PARE_TOOLS_CONSOLE_H

#include "frontend/Progress.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

namespace pare::tools {

/// Messages of a command, and the progress of its long phases: at a terminal a
/// bar with the time left, elsewhere a plain line now and then.
class Console {
public:
  enum class Style {
    Silent, ///< errors only
    Lines,
    Bar
  };
  using Clock = std::function<double()>; ///< seconds

  /// On standard error; silent if `quiet`.
  explicit Console(bool quiet);
  /// `columns`: of the terminal that `os` is.
  Console(llvm::raw_ostream &os, Style style, unsigned columns, Clock clock);
  Console(const Console &) = delete;
  Console &operator=(const Console &) = delete;
  ~Console() { clear(); }

  void note(const llvm::Twine &message);
  /// "pare: warning: …".
  void warn(const llvm::Twine &message);
  /// "pare: error: …" on one line, in every style; returns exit code 1.
  int fail(llvm::Error error);
  int fail(const llvm::Twine &message);

  /// Shows how far `phase` is: bars at most ten times a second, lines at most
  /// every five seconds, and nothing of phases that take less time than that.
  void progress(llvm::StringRef phase, uint64_t done, uint64_t total);
  /// `progress` for those who do the work.
  ProgressFn listener();

private:
  void clear();

  llvm::raw_ostream &os;
  Style style;
  unsigned columns;
  Clock clock;
  std::string phase;
  double start = 0, shown = 0; ///< when the phase began, and was last shown
  bool hasBar = false;         ///< the cursor is in a line with a bar
};

/// "40 s", "3 min 20 s", "2 h 5 min".
std::string formatDuration(double seconds);

} // namespace pare::tools

#endif
