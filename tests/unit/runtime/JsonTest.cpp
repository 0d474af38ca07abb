//===- JsonTest.cpp - JSON to values, doubles to text and back ------------===//
#include "backends/runtime/Json.h"
#include "backends/runtime/Decimal.h"

#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <string>

using namespace pare::rt;

namespace {

/// A value in one line, or the error.
std::string show(const Value &value) {
  switch (value.kind) {
  case Kind::None:
    return "null";
  case Kind::Bool:
    return value.integer ? "true" : "false";
  case Kind::Int:
    return std::to_string(value.integer);
  case Kind::Float: {
    char text[kDecimalBytes];
    return std::string(text, decimalText(value.real, text));
  }
  case Kind::String:
    return '\'' + std::string(value.text, value.size) + '\'';
  default:
    break;
  }
  std::string text = value.is(Kind::List) ? "[" : "{";
  for (uint32_t i = 0; i < value.size; ++i) {
    text += i ? " " : "";
    text += value.is(Kind::List) ? show(value.items[i])
                                 : show(value.entries[i].key) + ':' +
                                       show(value.entries[i].value);
  }
  return text + (value.is(Kind::List) ? ']' : '}');
}

std::string read(const std::string &text, uint64_t memory = 1 << 20) {
  Arena arena;
  Message error;
  Value value;
  EXPECT_TRUE(arena.reserve(memory));
  if (!parseJson({text.data(), text.size()}, arena, value, error))
    return error.c_str();
  return show(value);
}

double parsed(const std::string &text) {
  double value = NAN;
  EXPECT_TRUE(parseDecimal({text.data(), text.size()}, value)) << text;
  return value;
}

/// How many digits lie between the first and the last that is not 0.
int significantDigits(const char *text) {
  std::string digits;
  for (; *text && *text != 'e'; ++text)
    if (isdigit(*text))
      digits += *text;
  const size_t first = digits.find_first_not_of('0');
  return first == std::string::npos
             ? 1
             : int(digits.find_last_not_of('0') - first) + 1;
}

std::string repeated(const char *text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i)
    result += text;
  return result;
}

} // namespace

TEST(Json, Values) {
  EXPECT_EQ(read(R"( { "a" : [ 1 , -2.50, true, false, null ] , "b":{} } )"),
            "{'a':[1 -2.5 true false null] 'b':{}}");
  EXPECT_EQ(read(R"({"a": 1, "b": 2, "a": 3})"), "{'a':3 'b':2}");
  EXPECT_EQ(read("[9223372036854775807, -9223372036854775808, "
                 "9223372036854775808, 1e400, 0]"),
            "[9223372036854775807 -9223372036854775808 9.223372036854776e+18 "
            "inf 0]");
}

TEST(Json, Strings) {
  EXPECT_EQ(read(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00")"),
            "'\"\\/\b\f\n\r\tA\xc3\xa9\xf0\x9f\x98\x80'");
  // Half of a pair, and bytes that are no UTF-8.
  EXPECT_EQ(read(R"("\ud83dx\ude00\ud83d\u0041")"),
            "'\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd"
            "A'");
  EXPECT_EQ(read("\"a\xff\xc3\""), "'a\xef\xbf\xbd\xef\xbf\xbd'");
}

TEST(Json, Errors) {
  EXPECT_EQ(read(""), "JSON, byte 0: expected a value");
  EXPECT_EQ(read("[1,]"), "JSON, byte 3: expected a value");
  EXPECT_EQ(read("[1 2]"), "JSON, byte 3: expected ',' or ']'");
  EXPECT_EQ(read("{\"a\" 1}"), "JSON, byte 5: expected ':'");
  EXPECT_EQ(read("{a: 1}"), "JSON, byte 1: expected a key in quotes");
  EXPECT_EQ(read("{\"a\": 1"), "JSON, byte 7: expected ',' or '}'");
  EXPECT_EQ(read("1 1"), "JSON, byte 2: text behind the value");
  EXPECT_EQ(read("\"a"), "JSON, byte 2: a string has no end");
  EXPECT_EQ(read("\"a\\"), "JSON, byte 3: a string has no end");
  EXPECT_EQ(read("\"\n\""), "JSON, byte 1: a control character in a string");
  EXPECT_EQ(read("\"\\x\""), "JSON, byte 4: an unknown escape in a string");
  EXPECT_EQ(read("\"\\u12\""), "JSON, byte 6: \\u is not followed by four "
                               "hexadecimal digits");
  for (const char *text : {"nul", "tru", "-", "1.", "1.e5", "1e", "01", ".5"})
    EXPECT_NE(read(text).find("JSON, byte"), std::string::npos) << text;
}

TEST(Json, Bounds) {
  EXPECT_EQ(read(repeated("[", 128) + repeated("]", 128)).size(), 256u);
  EXPECT_EQ(read(repeated("[", 1000000)), "JSON, byte 129: nested too deeply");
  std::string keys = "{";
  for (int i = 0; i < 1025; ++i)
    keys += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_NE(read(keys + "}").find("an object has too many keys"),
            std::string::npos);
  EXPECT_NE(read("[" + repeated("0,", 1000) + "0]", 4096)
                .find("needs too much memory"),
            std::string::npos);
}

TEST(Decimal, TextReadsBack) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const uint64_t bits = random();
    double value;
    memcpy(&value, &bits, 8);
    if (i % 3 == 0) // numbers of people
      value = double(int64_t(bits % 2000000) - 1000000) / 1000;
    if (!std::isfinite(value))
      continue;
    char text[kDecimalBytes + 1] = {};
    decimalText(value, text);
    EXPECT_EQ(strtod(text, nullptr), value) << text;
    EXPECT_EQ(parsed(text), value) << text;
    // No shorter digits do.
    char shortest[40];
    int count = 0;
    do
      snprintf(shortest, sizeof(shortest), "%.*e", count++, value);
    while (strtod(shortest, nullptr) != value);
    EXPECT_EQ(significantDigits(text), count) << text;
  }
}

TEST(Decimal, RoundsAsLibc) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20000; ++i) {
    std::string text = std::to_string(random());
    text.insert(1 + random() % (text.size() - 1), ".");
    text += "e" + std::to_string(int(random() % 700) - 350);
    EXPECT_EQ(parsed(text), strtod(text.c_str(), nullptr)) << text;
  }
  for (const char *text :
       {"0", "-0.0", "1e-400", "1e400", "4.9406564584124654e-324",
        "2.4703282292062327e-324", "2.4703282292062328e-324",
        "1.7976931348623158e308", "1.7976931348623159e308", "9007199254740993",
        "9007199254740992.99999999999999999999999999999999999999999",
        "9007199254740993.00000000000000000000000000000000000000001",
        "2.2250738585072011e-308", "1e22", "1e23", "0.000001"})
    EXPECT_EQ(parsed(text), strtod(text, nullptr)) << text;
}

TEST(Decimal, TextIsPythons) {
  auto text = [](double value) {
    char buffer[kDecimalBytes];
    return std::string(buffer, decimalText(value, buffer));
  };
  EXPECT_EQ(text(0), "0.0");
  EXPECT_EQ(text(-0.0), "-0.0");
  EXPECT_EQ(text(100), "100.0");
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(1e16), "1e+16");
  EXPECT_EQ(text(1234567890123456), "1234567890123456.0");
  EXPECT_EQ(text(0.0001), "0.0001");
  EXPECT_EQ(text(0.00001234), "1.234e-05");
  EXPECT_EQ(text(5e-324), "5e-324");
  EXPECT_EQ(text(std::numeric_limits<double>::max()),
            "1.7976931348623157e+308");
  EXPECT_EQ(text(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(text(NAN), "nan");
}

TEST(Decimal, OtherTextIsRefused) {
  double value;
  for (const char *text : {"", "-", ".", "e5", "1e", "1e+", "1.2.3", "1 ",
                           "0x1", "nan", "inf", "1_0"})
    EXPECT_FALSE(parseDecimal(text, value)) << text;
}
