//===- BlockFormatTest.cpp - Formats other than GGUF's --------------------===//
#include "frontend/weights/BlockFormat.h"
#include "frontend/weights/Half.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/Endian.h"
#include "gtest/gtest.h"
#include <cmath>

namespace pare {
namespace {

/// Planes of `format` with codes 0, 1, 2, … and everything else zero.
BlockPlanes makePlanes(const BlockFormat &format, uint64_t elements) {
  BlockPlanes planes;
  planes.resize(format, elements);
  for (uint64_t i = 0; i < elements; ++i)
    planes.codes[i] = uint8_t(i % (1u << format.bits));
  return planes;
}

void setF32(std::vector<uint8_t> &plane, uint64_t index, float value) {
  llvm::support::endian::write32le(&plane[index * 4],
                                   llvm::bit_cast<uint32_t>(value));
}

TEST(BlockFormatTest, GroupWiseWithZeroPoints) {
  BlockFormat format{.name = "int4g128z",
                     .bits = 4,
                     .group = 128,
                     .zeroBits = 4,
                     .scale = ScaleType::F32};
  EXPECT_DOUBLE_EQ(format.getBitsPerWeight(), 4 + 36.0 / 128);
  BlockPlanes planes = makePlanes(format, 256);
  ASSERT_EQ(planes.zeros.size(), 2u);
  planes.zeros = {7, 3};
  setF32(planes.scales, 0, 0.1f);
  setF32(planes.scales, 1, -2.5f);
  std::vector<float> weights(256);
  decodeBlocks(format, planes, weights);
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(weights[i],
              i < 128 ? 0.1f * float(i % 16 - 7) : -2.5f * float(i % 16 - 3));
}

TEST(BlockFormatTest, SignedCodesOfFewBits) {
  BlockFormat format{.name = "int3g8",
                     .bits = 3,
                     .group = 8,
                     .codes = CodeKind::Signed,
                     .scale = ScaleType::BF16};
  BlockPlanes planes = makePlanes(format, 8);
  planes.scales = {0x80, 0x3f}; // 1
  std::vector<float> weights(8);
  decodeBlocks(format, planes, weights);
  EXPECT_EQ(weights, (std::vector<float>{0, 1, 2, 3, -4, -3, -2, -1}));
}

TEST(BlockFormatTest, CodebooksMayBeFractions) {
  constexpr float levels[] = {-1, -0.25f, 0.125f, 1};
  BlockFormat format{.name = "nf2",
                     .bits = 2,
                     .group = 4,
                     .codes = CodeKind::Codebook,
                     .codebook = levels,
                     .scale = ScaleType::F32};
  BlockPlanes planes = makePlanes(format, 8);
  setF32(planes.scales, 0, 3);
  setF32(planes.scales, 1, 0.5f);
  std::vector<float> weights(8);
  decodeBlocks(format, planes, weights);
  EXPECT_EQ(weights, (std::vector<float>{-3, -0.75f, 0.375f, 3, -0.5f, -0.125f,
                                         0.0625f, 0.5f}));
}

TEST(BlockFormatTest, TwoLevels) {
  BlockFormat format{.name = "twolevel",
                     .bits = 2,
                     .group = 4,
                     .scale = ScaleType::F32,
                     .minimum = MinimumKind::Subtracted,
                     .superGroup = 8,
                     .subBits = 6,
                     .subOffset = 1};
  BlockPlanes planes = makePlanes(format, 16);
  ASSERT_EQ(planes.subScales.size(), 4u);
  ASSERT_EQ(planes.scales.size(), 8u);
  setF32(planes.scales, 0, 0.5f);
  setF32(planes.scales, 1, 2);
  setF32(planes.minima, 0, 1);
  setF32(planes.minima, 1, 0.25f);
  planes.subScales = {3, 5, 1, 2};
  planes.subMinima = {1, 2, 3, 4};
  std::vector<float> weights(16);
  decodeBlocks(format, planes, weights);
  const float scales[] = {0.5f * 2, 0.5f * 4, 0, 2}, minima[] = {1, 2, .75f, 1};
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(weights[i], scales[i / 4] * float(i % 4) - minima[i / 4]);
}

TEST(BlockFormatTest, ScalesOfOneByte) {
  for (unsigned byte = 0; byte < 0x7f; ++byte) {
    llvm::APFloat wanted(llvm::APFloat::Float8E4M3FN(), llvm::APInt(8, byte));
    bool lossy;
    wanted.convert(llvm::APFloat::IEEEsingle(),
                   llvm::APFloat::rmNearestTiesToEven, &lossy);
    uint8_t code = uint8_t(byte);
    EXPECT_EQ(decodeScale(ScaleType::E4M3Half, &code),
              wanted.convertToFloat() / 2);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    uint8_t code = uint8_t(byte);
    EXPECT_EQ(decodeScale(ScaleType::E8M0Half, &code),
              float(std::pow(2.0, int(byte) - 128)));
  }
}

TEST(BlockFormatTest, HalvesAreExact) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    llvm::APFloat wanted(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits));
    bool lossy;
    wanted.convert(llvm::APFloat::IEEEsingle(),
                   llvm::APFloat::rmNearestTiesToEven, &lossy);
    float got = halfToFloat(uint16_t(bits));
    if (wanted.isNaN())
      EXPECT_TRUE(std::isnan(got));
    else
      EXPECT_EQ(llvm::bit_cast<uint32_t>(got),
                llvm::bit_cast<uint32_t>(wanted.convertToFloat()));
  }
}

} // namespace
} // namespace pare
