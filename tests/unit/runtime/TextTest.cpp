#include "backends/runtime/FloatText.h"
#include "backends/runtime/Sha256.h"
#include "backends/runtime/Support.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>
#include <string>

using namespace pare::rt;

namespace {

std::string textOf(float value) {
  char text[kFloatTextBytes];
  return std::string(text, floatText(value, text));
}

/// Digits of the significand, without sign, point, exponent and outer zeros.
std::string significand(std::string text) {
  std::string digits;
  for (char c : text.substr(0, text.find('e')))
    if (c >= '0' && c <= '9')
      digits += c;
  digits.erase(0, digits.find_first_not_of('0'));
  digits.erase(digits.find_last_not_of('0') + 1);
  return digits;
}

void expectShortest(float value) {
  std::string text = textOf(value);
  ASSERT_EQ(std::strtof(text.c_str(), nullptr), value) << text;
  // The standard library's scientific form is the shortest and the closest.
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                           std::chars_format::scientific)
                 .ptr;
  ASSERT_EQ(significand(text), significand(std::string(buffer, end))) << text;
}

template <typename Put> std::string written(Put put) {
  char buffer[256];
  Writer text(-1, buffer, sizeof(buffer));
  put(text);
  return buffer;
}

} // namespace

TEST(FloatText, KnownValues) {
  EXPECT_EQ(textOf(0.0f), "0");
  EXPECT_EQ(textOf(-0.0f), "-0");
  EXPECT_EQ(textOf(1.0f), "1");
  EXPECT_EQ(textOf(0.1f), "0.1");
  EXPECT_EQ(textOf(-123456.5f), "-123456.5");
  EXPECT_EQ(textOf(1e9f), "1e9");
  EXPECT_EQ(textOf(3.4028235e38f), "3.4028235e38");
  EXPECT_EQ(textOf(1e-45f), "1e-45");
  EXPECT_EQ(textOf(0.00012f), "0.00012");
  EXPECT_EQ(textOf(1.5e-7f), "1.5e-7");
  EXPECT_EQ(textOf(std::numeric_limits<float>::infinity()), "inf");
  EXPECT_EQ(textOf(std::nanf("")), "nan");
}

TEST(FloatText, IsShortestOfAllBitPatternsSampled) {
  std::mt19937 random(7);
  for (int i = 0; i < 300000; ++i) {
    uint32_t bits = random();
    float value;
    memcpy(&value, &bits, 4);
    if (std::isfinite(value))
      expectShortest(value);
  }
}

TEST(FloatText, IsShortestAtPowersOfTwo) {
  for (int exponent = -149; exponent < 128; ++exponent) {
    float value = std::ldexp(1.0f, exponent);
    expectShortest(value);
    expectShortest(std::nextafter(value, 0.0f));
    expectShortest(std::nextafter(value, 1e38f));
  }
}

TEST(Writer, Numbers) {
  EXPECT_EQ(written([](Writer &w) { w.num(INT64_MIN); }),
            "-9223372036854775808");
  EXPECT_EQ(written([](Writer &w) { w.unsignedNum(UINT64_MAX); }),
            "18446744073709551615");
  EXPECT_EQ(written([](Writer &w) { w.fixed(2.0 / 3, 3); }), "0.667");
  EXPECT_EQ(written([](Writer &w) { w.fixed(-1.999, 2); }), "-2.00");
  EXPECT_EQ(written([](Writer &w) { w.fixed(7.5, 0); }), "8");
  EXPECT_EQ(written([](Writer &w) { w.fixed(1e300, 3); }),
            "9223372036854775807");
}

TEST(Writer, CutsAtCapacity) {
  char buffer[5];
  Writer text(-1, buffer, sizeof(buffer));
  text.put("abc").put("def").put("g");
  EXPECT_STREQ(buffer, "abcd");
  EXPECT_EQ(text.column(), 7u);
}

TEST(Writer, Json) {
  auto json = [](const char *text) {
    return written([&](Writer &w) { w.json(text); });
  };
  EXPECT_EQ(json("a\"b\\c\n\t\x01"), "\"a\\\"b\\\\c\\n\\t\\u0001\"");
  EXPECT_EQ(json("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
            "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
  // Alone continuation, overlong, surrogate, cut sequence.
  EXPECT_EQ(json("\x80|\xc0\xaf|\xed\xa0\x80|\xe2\x82"),
            "\"\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\"");
}

TEST(ParseInt, Bounds) {
  int64_t value = 5;
  EXPECT_TRUE(parseInt("-9223372036854775808", value));
  EXPECT_EQ(value, INT64_MIN);
  EXPECT_TRUE(parseInt("9223372036854775807", value));
  EXPECT_EQ(value, INT64_MAX);
  for (const char *bad : {"", "-", "9223372036854775808", "1x", " 1", "+1"})
    EXPECT_FALSE(parseInt(bad, value)) << bad;
}

TEST(Half, AllPatterns) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    int exponent = bits >> 10 & 31;
    float magnitude =
        exponent ? std::ldexp(1024.0f + float(bits & 1023), exponent - 25)
                 : std::ldexp(float(bits & 1023), -24);
    float value = halfToFloat(uint16_t(bits));
    if (exponent == 31)
      EXPECT_EQ(std::isnan(value), (bits & 1023) != 0);
    else
      EXPECT_EQ(value, bits & 0x8000 ? -magnitude : magnitude);
  }
}

TEST(Sha256, KnownDigests) {
  auto hex = [](std::string text) {
    uint8_t digest[32];
    sha256(reinterpret_cast<const uint8_t *>(text.data()), text.size(), digest);
    std::string result;
    for (uint8_t byte : digest)
      for (int half : {byte >> 4, byte & 15})
        result += "0123456789abcdef"[half];
    return result;
  };
  // FIPS 180-4 examples.
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff"
                        "61f20015ad");
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7"
                     "852b855");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Memory, IsRamAndSwap) {
  EXPECT_EQ(parseMemInfo("MemTotal:  24608808 kB\nMemFree:  1 kB\n"
                         "SwapCached: 7 kB\nSwapTotal: 1024 kB\n"),
            (24608808u + 1024u) * 1024ull);
  EXPECT_EQ(parseMemInfo(""), UINT64_MAX);
  EXPECT_TRUE(fitsMemory(1 << 20));
  EXPECT_FALSE(fitsMemory(uint64_t(1) << 60));
}
