//===- ConsoleTest.cpp ----------------------------------------------------===//
#include "tools/Console.h"
#include "llvm/ADT/StringExtras.h"
#include <gtest/gtest.h>

using namespace pare;
using tools::Console;

namespace {
/// A console on a string, with a clock that the test turns.
struct Screen {
  explicit Screen(Console::Style style, unsigned columns = 80)
      : console(stream, style, columns, [this] { return time; }) {}

  /// Works through a phase of `total` units.
  void work(llvm::StringRef phase, unsigned total, double secondsPerUnit) {
    PhaseProgress progress(listener, phase, total);
    for (unsigned i = 0; i < total; ++i) {
      time += secondsPerUnit;
      progress.finish();
    }
  }
  std::vector<std::string> lines() {
    llvm::SmallVector<llvm::StringRef> parts;
    llvm::StringRef(text).split(parts, '\n', -1, /*KeepEmpty=*/false);
    return {parts.begin(), parts.end()};
  }

  std::string text;
  llvm::raw_string_ostream stream{text};
  double time = 1000;
  Console console;
  ProgressFn listener = console.listener();
};
} // namespace

TEST(Console, PlainLinesNowAndThen) {
  Screen screen(Console::Style::Lines);
  screen.work("calibrate", 160, 0.125); // 20 seconds
  std::vector<std::string> lines = screen.lines();
  ASSERT_EQ(lines.size(), 3u) << screen.text;
  EXPECT_EQ(lines[0], "calibrate: 25%, 15 s left");
  EXPECT_EQ(lines[1], "calibrate: 50%, 10 s left");
  EXPECT_EQ(lines[2], "calibrate: 75%, 5 s left");
  EXPECT_FALSE(llvm::StringRef(screen.text).contains('\r'));
}

TEST(Console, ShortPhasesSayNothing) {
  for (Console::Style style : {Console::Style::Lines, Console::Style::Bar}) {
    Screen screen(style);
    for (int i = 0; i < 100; ++i)
      screen.work("pack weights", 4, 0.1);
    EXPECT_EQ(screen.text, "");
  }
}

TEST(Console, BarIsRedrawnInItsLineAndGoes) {
  Screen screen(Console::Style::Bar);
  screen.work("emit kernels", 1000, 0.01); // 10 seconds
  llvm::StringRef text = screen.text;
  EXPECT_FALSE(text.contains('\n'));
  EXPECT_TRUE(text.contains("emit kernels [############------------] 50%, 5 s "
                            "left"))
      << screen.text;
  EXPECT_LE(text.count('%'), 100u);
  EXPECT_GE(text.count('%'), 80u);
  EXPECT_TRUE(text.ends_with("\r\033[K")) << screen.text;
}

TEST(Console, MessagesTakeTheBarsLine) {
  Screen screen(Console::Style::Bar);
  screen.console.progress("calibrate", 0, 10);
  screen.time += 3;
  screen.console.progress("calibrate", 3, 10);
  std::string bar = screen.text;
  EXPECT_TRUE(llvm::StringRef(bar).ends_with("30%, 7 s left"));
  screen.console.warn("odd");
  EXPECT_EQ(screen.text, bar + "\r\033[Kpare: warning: odd\n");
  EXPECT_EQ(screen.console.fail("first\nsecond"), 1);
  EXPECT_EQ(screen.text,
            bar + "\r\033[Kpare: warning: odd\npare: error: first\n");
}

TEST(Console, NarrowTerminalsGetNoBar) {
  Screen screen(Console::Style::Bar, 30);
  screen.work("quantize weights", 100, 1);
  EXPECT_TRUE(llvm::StringRef(screen.text)
                  .contains("\r\033[Kquantize weights: 50%, 50 s l\r"))
      << screen.text;
}

TEST(Console, SilenceLeavesErrors) {
  Screen screen(Console::Style::Silent);
  screen.work("calibrate", 100, 1);
  screen.console.note("done");
  screen.console.warn("odd");
  EXPECT_EQ(screen.text, "");
  EXPECT_EQ(screen.console.fail("no"), 1);
  EXPECT_EQ(screen.text, "pare: error: no\n");
}

TEST(Console, Durations) {
  EXPECT_EQ(tools::formatDuration(0), "0 s");
  EXPECT_EQ(tools::formatDuration(0.2), "1 s");
  EXPECT_EQ(tools::formatDuration(59), "59 s");
  EXPECT_EQ(tools::formatDuration(200), "3 min 20 s");
  EXPECT_EQ(tools::formatDuration(7500), "2 h 5 min");
}

TEST(PhaseProgress, NeverPassesTheEndAndAlwaysReachesIt) {
  std::vector<uint64_t> seen;
  ProgressFn listener = [&](llvm::StringRef, uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 10u);
    seen.push_back(done);
  };
  {
    PhaseProgress progress(listener, "p", 10);
    progress.finish(4);
    progress.finish(0);
    progress.finish(3);
  }
  EXPECT_EQ(seen, (std::vector<uint64_t>{0, 4, 7, 10}));
  seen.clear();
  {
    PhaseProgress progress(listener, "p", 10);
    progress.finish(UINT64_MAX);
    progress.finish();
  }
  EXPECT_EQ(seen, (std::vector<uint64_t>{0, 10}));
  ProgressFn nobody;
  PhaseProgress(nobody, "p", 3).finish();
}
