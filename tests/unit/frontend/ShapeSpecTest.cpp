//===- ShapeSpecTest.cpp --------------------------------------------------===//
#include "frontend/ShapeSpec.h"
#include "llvm/Support/FormatVariadic.h"
#include <gtest/gtest.h>

using namespace pare;

/// "1 batch:1..16 ?", or the error.
static std::string parse(llvm::StringRef text) {
  llvm::Expected<std::vector<DimSpec>> dims = parseShapeSpec(text, "x");
  if (!dims)
    return llvm::toString(dims.takeError());
  std::string result;
  for (const DimSpec &dim : *dims) {
    result += result.empty() ? "" : " ";
    if (dim.size)
      result += std::to_string(*dim.size);
    else if (dim.name.empty())
      result += "?";
    else
      result += llvm::formatv("{0}:{1}..{2}", dim.name, dim.min, dim.max);
  }
  return result;
}

TEST(ShapeSpec, Reads) {
  EXPECT_EQ(parse("1x3x48x320"), "1 3 48 320");
  EXPECT_EQ(parse("1,3,48"), "1 3 48");
  EXPECT_EQ(parse("7"), "7");
  EXPECT_EQ(parse("?x128"), "? 128");
  EXPECT_EQ(parse("batch:1..16x3x48xwidth:8..2048"),
            "batch:1..16 3 48 width:8..2048");
  EXPECT_EQ(parse("batch,128"), "batch:0..0 128");
  EXPECT_EQ(parse("2xmax_len"), "2 max_len:0..0");
  EXPECT_EQ(parse("_a.b-1:2..2,4"), "_a.b-1:2..2 4");
  EXPECT_EQ(parse("größe,4"), "größe:0..0 4");
  EXPECT_EQ(parse("2147483648"), "2147483648");
}

TEST(ShapeSpec, RefusesInOneLineThatNamesTheInput) {
  for (const char *text : {"",
                           "2x",
                           "x2",
                           "x",
                           "2x-4",
                           "-4",
                           "-1x3",
                           "2x+4",
                           "+2",
                           "0x3",
                           "2x0",
                           "2x 4",
                           "2x4 ",
                           " 2x4",
                           "2x4junk",
                           "2,,4",
                           ",2",
                           "2,",
                           "1.5",
                           "2x4.",
                           "0x10",
                           "1e3",
                           "99999999999999999999",
                           "2147483649",
                           "2x9223372036854775808",
                           "a:0..4",
                           "a:4..1",
                           "a:1..",
                           "a:..4",
                           "a:1.4",
                           "a:1",
                           "a:",
                           ":1..4",
                           "a:-1..4",
                           "a:1..99999999999",
                           "?x?x",
                           "??",
                           "a b,4",
                           "a+b,4",
                           "a=b,4",
                           "a\n,4",
                           "1x3\n"}) {
    std::string message = parse(text);
    // A leading x is a name: the importer refuses its rank.
    if (llvm::StringRef(text).starts_with("x")) {
      EXPECT_EQ(message, std::string(text) + ":0..0");
      continue;
    }
    EXPECT_TRUE(llvm::StringRef(message).starts_with("shape of input 'x'"))
        << "'" << text << "': " << message;
  }
}
