//===- Console.cpp - What a command says on standard error ----------------===//
#include "tools/Console.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Process.h"
#include <chrono>
#include <cmath>

using namespace llvm;

namespace pare::tools {

/// Seconds between two looks of a person, and between two lines of a log.
static constexpr double kBarPeriod = 0.1, kLinePeriod = 5;
/// Phases that take less show no bar.
static constexpr double kShortPhase = 0.5;
static constexpr unsigned kBarWidth = 24;

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Console::Console(bool quiet)
    : Console(errs(),
              quiet                                    ? Style::Silent
              : sys::Process::StandardErrIsDisplayed() ? Style::Bar
                                                       : Style::Lines,
              sys::Process::StandardErrColumns(), now) {}

Console::Console(raw_ostream &os, Style style, unsigned columns, Clock clock)
    : os(os), style(style), columns(columns ? columns : 80),
      clock(std::move(clock)) {}

void Console::note(const Twine &message) {
  if (style == Style::Silent)
    return;
  clear();
  os << message << "\n";
}

void Console::warn(const Twine &message) { note("pare: warning: " + message); }

int Console::fail(Error error) {
  return fail(Twine(toString(std::move(error))));
}

int Console::fail(const Twine &message) {
  // Some libraries' errors have several lines; the first says what is wrong.
  std::string text = message.str();
  clear();
  os << "pare: error: " << StringRef(text).split('\n').first << "\n";
  return 1;
}

void Console::clear() {
  if (hasBar)
    os << "\r\033[K";
  hasBar = false;
}

std::string formatDuration(double seconds) {
  auto total = uint64_t(std::max(0.0, std::ceil(seconds)));
  if (total < 60)
    return formatv("{0} s", total);
  if (total < 3600)
    return formatv("{0} min {1} s", total / 60, total % 60);
  return formatv("{0} h {1} min", total / 3600, total / 60 % 60);
}

void Console::progress(StringRef name, uint64_t done, uint64_t total) {
  if (style == Style::Silent)
    return;
  double time = clock();
  if (name != phase || done == 0) {
    phase = name.str();
    start = shown = time;
  }
  if (done >= total) {
    clear();
    phase.clear();
    return;
  }
  bool isBar = style == Style::Bar;
  if (done == 0 || time - shown < (isBar ? kBarPeriod : kLinePeriod) ||
      time - start < kShortPhase)
    return;
  shown = time;
  double share = double(done) / double(total);
  std::string rest =
      formatv("{0}%, {1} left", unsigned(100 * share),
              formatDuration((time - start) / share * (1 - share)));
  if (!isBar) {
    os << phase << ": " << rest << "\n";
    return;
  }
  auto full = unsigned(share * kBarWidth);
  std::string line = phase + " [" + std::string(full, '#') +
                     std::string(kBarWidth - full, '-') + "] " + rest;
  // The last column stays free: some terminals wrap when it is written to.
  if (line.size() >= columns)
    line = phase + ": " + rest;
  clear();
  os << StringRef(line).take_front(columns - 1);
  os.flush();
  hasBar = true;
}

ProgressFn Console::listener() {
  if (style == Style::Silent)
    return nullptr;
  return [this](StringRef phase, uint64_t done, uint64_t total) {
    progress(phase, done, total);
  };
}

} // namespace pare::tools
