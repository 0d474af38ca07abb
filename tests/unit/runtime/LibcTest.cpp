//===- LibcTest.cpp - The C library of single-file artifacts --------------===//
//
// Its functions under other names (toy_memcpy), beside the system's.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/Support.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
void *toy_memcpy(void *, const void *, size_t);
void *toy_memmove(void *, const void *, size_t);
void *toy_memset(void *, int, size_t);
int toy_memcmp(const void *, const void *, size_t);
size_t toy_strlen(const char *);
void *toy_malloc(size_t);
void *toy_calloc(size_t, size_t);
void *toy_realloc(void *, size_t);
void toy_free(void *);
float toy_rintf(float);
float toy_truncf(float);
float toy_floorf(float);
float toy_ceilf(float);
float toy_fmaf(float, float, float);
}

namespace {

std::vector<uint8_t> counting(size_t n) {
  std::vector<uint8_t> bytes(n);
  for (size_t i = 0; i < n; ++i)
    bytes[i] = uint8_t(i * 7 + i / 256);
  return bytes;
}

/// Equal bits, or both not a number.
void expectSame(float actual, float expected, float input) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << input;
    return;
  }
  EXPECT_EQ(actual, expected) << input;
  EXPECT_EQ(std::signbit(actual), std::signbit(expected)) << input;
}

float fromBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

} // namespace

TEST(LibcMemory, CopiesOfEverySizeStayInside) {
  for (size_t n = 0; n < 300; ++n) {
    pare::rt::GuardedBuffer from, to;
    ASSERT_TRUE(from.allocate(n, 1) && to.allocate(n, 1));
    std::vector<uint8_t> bytes = counting(n);
    std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t *>(from.data));
    EXPECT_EQ(toy_memcpy(to.data, from.data, n), to.data);
    EXPECT_TRUE(
        std::equal(bytes.begin(), bytes.end(), static_cast<uint8_t *>(to.data)))
        << n;
    EXPECT_EQ(toy_memcmp(to.data, from.data, n), 0);
    EXPECT_EQ(toy_memset(to.data, 0xa5, n), to.data);
    for (size_t i = 0; i < n; ++i)
      ASSERT_EQ(static_cast<uint8_t *>(to.data)[i], 0xa5) << n;
    from.release();
    to.release();
  }
}

TEST(LibcMemory, LargeCopies) {
  for (size_t n : {2047, 2048, 2049, 100003}) {
    std::vector<uint8_t> from = counting(n), to(n + 2, 1);
    toy_memcpy(to.data() + 1, from.data(), n);
    EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin() + 1));
    EXPECT_EQ(to.front(), 1);
    EXPECT_EQ(to.back(), 1);
  }
}

TEST(LibcMemory, MovesMayOverlap) {
  for (size_t n : {0, 1, 3, 8, 15, 16, 31, 32, 33, 64, 65, 200, 5000})
    for (int shift : {-70, -33, -17, -8, -1, 0, 1, 2, 7, 16, 31, 32, 33, 80}) {
      std::vector<uint8_t> bytes = counting(n + 200), expected = bytes;
      memmove(expected.data() + 100 + shift, expected.data() + 100, n);
      toy_memmove(bytes.data() + 100 + shift, bytes.data() + 100, n);
      EXPECT_EQ(bytes, expected) << n << ' ' << shift;
    }
}

TEST(LibcMemory, Compares) {
  std::vector<uint8_t> left = counting(100), right = left;
  for (size_t at = 0; at < 100; ++at)
    for (int change : {1, 128, 255}) {
      right[at] = uint8_t(left[at] + change);
      int expected = memcmp(left.data(), right.data(), 100);
      int actual = toy_memcmp(left.data(), right.data(), 100);
      EXPECT_EQ(actual < 0, expected < 0);
      EXPECT_EQ(actual > 0, expected > 0);
      EXPECT_EQ(toy_memcmp(left.data(), right.data(), at), 0);
      right[at] = left[at];
    }
  EXPECT_EQ(toy_strlen(""), 0u);
  EXPECT_EQ(toy_strlen("four"), 4u);
}

TEST(LibcHeap, BlocksAreDistinctAlignedAndKept) {
  struct Block {
    uint8_t *data;
    size_t size;
    uint8_t fill;
  };
  std::mt19937 random(5);
  std::vector<Block> blocks;
  auto check = [](const Block &block) {
    for (size_t i = 0; i < block.size; ++i)
      ASSERT_EQ(block.data[i], block.fill);
  };
  auto randomSize = [&] {
    size_t limit = size_t(1) << random() % 19;
    return random() % limit;
  };
  for (int step = 0; step < 5000; ++step) {
    unsigned action = random() % 3;
    if (action == 0 || blocks.empty()) {
      size_t size = randomSize();
      blocks.push_back(
          {static_cast<uint8_t *>(toy_malloc(size)), size, uint8_t(random())});
      ASSERT_NE(blocks.back().data, nullptr);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(blocks.back().data) % 16, 0u);
      memset(blocks.back().data, blocks.back().fill, size);
      continue;
    }
    Block &block = blocks[random() % blocks.size()];
    check(block);
    if (action == 1) {
      size_t size = randomSize(), kept = std::min(size, block.size);
      block.data = static_cast<uint8_t *>(toy_realloc(block.data, size));
      ASSERT_NE(block.data, nullptr);
      block.size = kept;
      check(block);
      block.size = size;
      memset(block.data, block.fill, size);
    } else {
      toy_free(block.data);
      block = blocks.back();
      blocks.pop_back();
    }
  }
  for (const Block &block : blocks) {
    check(block);
    toy_free(block.data);
  }
}

TEST(LibcHeap, Calloc) {
  auto *dirty = static_cast<uint8_t *>(toy_malloc(100));
  memset(dirty, 0xff, 100);
  toy_free(dirty);
  auto *clean = static_cast<uint8_t *>(toy_calloc(10, 10));
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(clean[i], 0);
  toy_free(clean);
  toy_free(nullptr);
  volatile size_t huge = SIZE_MAX / 2 + 1;
  EXPECT_EQ(toy_calloc(huge, 2), nullptr);
  EXPECT_EQ(toy_malloc(SIZE_MAX), nullptr);
}

TEST(LibcMath, RoundingEqualsTheSystems) {
  std::mt19937 random(9);
  std::vector<float> values = {0.0f,  -0.0f, 0.5f, 1.5f,       2.5f,
                               -0.5f, -0.3f, 0.3f, 8388607.5f, 8388608.0f};
  for (uint32_t bits : {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x00000001u,
                        0x80000001u, 0x4b000000u, 0x4effffffu, 0x4f000000u})
    values.push_back(fromBits(bits));
  for (int i = 0; i < 200000; ++i)
    values.push_back(i % 2 ? fromBits(random())
                           : float(int32_t(random())) / 65536.0f);
  for (float value : values) {
    expectSame(toy_rintf(value), std::nearbyint(value), value);
    expectSame(toy_truncf(value), std::trunc(value), value);
    expectSame(toy_floorf(value), std::floor(value), value);
    expectSame(toy_ceilf(value), std::ceil(value), value);
  }
}

TEST(LibcMath, FusedMultiplyAddRoundsOnce) {
  std::mt19937 random(4);
  auto check = [](float x, float y, float z) {
    expectSame(toy_fmaf(x, y, z), std::fma(x, y, z), x);
  };
  for (int i = 0; i < 500000; ++i) {
    float x = fromBits(random()), y = fromBits(random());
    float z = fromBits(random());
    check(x, y, z);
    // An addend near the product, where double rounding would show.
    float product = x * y;
    check(x, y, -product);
    check(x, y, std::ldexp(product, int(random() % 60) - 30));
  }
  float infinity = fromBits(0x7f800000);
  check(infinity, 0, 1);
  check(infinity, 1, -infinity);
  check(0, -1, 0);
  check(1, 0x1p-149f, 1);
}
