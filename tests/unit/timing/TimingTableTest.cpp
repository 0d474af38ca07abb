//===- TimingTableTest.cpp - Estimates from measured kernels --------------===//
#include "backends/cpu/timing/TimingTable.h"
#include <gtest/gtest.h>

using namespace pare::cpu;

namespace {

constexpr char kHead[] = "target x86-64-v3\nmachine a CPU\ndate 2026-01-02\n";

TimingTable parse(const std::string &rows) {
  auto table = TimingTable::parse(kHead + rows, "t.txt");
  if (!table) {
    ADD_FAILURE() << llvm::toString(table.takeError());
    return {};
  }
  return std::move(*table);
}

std::string parseError(llvm::StringRef text) {
  auto table = TimingTable::parse(text, "t.txt");
  return table ? "" : llvm::toString(table.takeError());
}

double estimate(const TimingTable &table, ProductShape shape,
                llvm::StringRef format = "f32") {
  auto result = table.estimate("matmul", format, "generated", shape);
  return result ? result->nanoseconds : -1;
}

} // namespace

TEST(TimingTable, ReadsWhatItWrites) {
  TimingTable table = parse("# a comment\n\n"
                            "matmul  int8 4 64 32 onednn 70\n"
                            "matmul f32 16 64 32 generated 90\r\n"
                            "matmul f32 1 64 32 generated 20\n"
                            "matmul f32 1 64 32 generated 10");
  std::string text;
  llvm::raw_string_ostream stream(text);
  table.write(stream);
  EXPECT_NE(text.find("date 2026-01-02\n"
                      "matmul f32 1 64 32 generated 10\n"
                      "matmul f32 16 64 32 generated 90\n"
                      "matmul int8 4 64 32 onednn 70\n"),
            std::string::npos)
      << text;
  auto again = TimingTable::parse(text, "again");
  ASSERT_TRUE(bool(again));
  EXPECT_EQ(again->target, "x86-64-v3");
  EXPECT_EQ(again->machine, "a CPU");
  EXPECT_EQ(estimate(*again, {16, 64, 32}), 90);
}

TEST(TimingTable, InterpolatesInRows) {
  TimingTable table = parse("matmul f32 8 64 32 generated 100\n"
                            "matmul f32 16 64 32 generated 180\n");
  EXPECT_EQ(estimate(table, {8, 64, 32}), 100);
  EXPECT_EQ(estimate(table, {12, 64, 32}), 140);
  EXPECT_EQ(estimate(table, {1, 64, 32}), 100);
  EXPECT_EQ(estimate(table, {32, 64, 32}), 360);
  EXPECT_TRUE(
      table.estimate("matmul", "f32", "generated", {12, 64, 32})->measured);
}

TEST(TimingTable, ScalesTheNearestShapeByFlops) {
  TimingTable table = parse("matmul f32 8 64 32 generated 100\n"
                            "matmul f32 8 512 512 generated 9000\n");
  EXPECT_EQ(estimate(table, {8, 128, 32}), 200);
  EXPECT_EQ(estimate(table, {8, 1024, 512}), 18000);
  EXPECT_FALSE(
      table.estimate("matmul", "f32", "generated", {8, 128, 32})->measured);
  // Too far from both.
  EXPECT_EQ(estimate(table, {8, 2, 16}), -1);
  EXPECT_EQ(estimate(table, {8, 4096, 4096}), -1);
  EXPECT_EQ(estimate(table, {8, 64, 32}, "int8"), -1);
  EXPECT_EQ(table.estimate("conv", "f32", "generated", {8, 64, 32}),
            std::nullopt);
}

TEST(TimingTable, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(parseError("target x\nmatmul f32 1 2\n"),
            "t.txt:2: 'matmul f32 1 2': expected op, format, M, K, N, "
            "provider, nanoseconds");
  for (llvm::StringRef number :
       {"0", "-3", "x", "1.5", "9e9", "99999999999999999999", "2000000000000"})
    EXPECT_NE(
        parseError(
            ("target x\nmatmul f32 1 2 " + number + " generated 5\n").str())
            .find("expected a positive number in place of"),
        std::string::npos)
        << number.str();
  EXPECT_NE(parseError("").find("no 'target' line"), std::string::npos);
  auto missing = TimingTable::read("no/such/file");
  ASSERT_FALSE(bool(missing));
  EXPECT_NE(llvm::toString(missing.takeError()).find("cannot read timings"),
            std::string::npos);
}

TEST(TimingTable, TheShippedTablesHaveBothFormats) {
  auto table = TimingTable::read(PARE_TIMINGS "/x86-64-v3.txt");
  ASSERT_TRUE(bool(table)) << llvm::toString(table.takeError());
  EXPECT_EQ(table->target, "x86-64-v3");
  EXPECT_FALSE(table->machine.empty());
  for (llvm::StringRef format : {"f32", "int8"})
    for (int64_t rows : {1, 32, 128})
      EXPECT_GT(estimate(*table, {rows, 384, 1536}, format), 0);
}
