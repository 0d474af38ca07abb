//===- FormatNamesTest.cpp - Formats by name, plain storage ---------------===//
#include "RandomPlanes.h"
#include "frontend/weights/Half.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/Endian.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <thread>

namespace pare {
namespace {

constexpr unsigned codeBits[] = {2, 3, 4, 5, 6, 8},
                   groups[] = {16, 32, 64, 128, 256};

std::string join(const char *family, unsigned bits, unsigned group) {
  return family + std::to_string(bits) + "_g" + std::to_string(group);
}

float halfAt(const std::vector<uint8_t> &plane, uint64_t i) {
  return halfToFloat(llvm::support::endian::read16le(&plane[2 * i]));
}

/// Random weights of the format `name`, whose planes must come back from its
/// plain storage bit for bit; element i is `value(planes, i)`.
void check(const std::string &name,
           llvm::function_ref<float(const BlockPlanes &, unsigned)> value) {
  SCOPED_TRACE(name);
  const BlockFormat *format = findBlockFormat(name);
  ASSERT_TRUE(format);
  EXPECT_EQ(format->name, name);
  const BlockStorage &storage = getPlainStorage(*format);
  EXPECT_EQ(&storage, &getPlainStorage(*format));
  EXPECT_EQ(storage.elements, format->scaleGroup());

  std::mt19937 rng(3);
  const unsigned elements = 3 * format->scaleGroup();
  BlockPlanes planes = test::makePlanes(*format, elements, rng), again;
  std::vector<uint8_t> blocks = storage.pack(planes);
  ASSERT_EQ(blocks.size(), 3u * storage.bytes);
  // At most seven bits of each of four planes of numbers are unused.
  double bits = format->getBitsPerWeight() * format->scaleGroup();
  EXPECT_GE(storage.bytes * 8, bits);
  EXPECT_LE(storage.bytes * 8, bits + 4 * 7);
  storage.unpack(blocks, again);
  EXPECT_TRUE(again.codes == planes.codes);
  EXPECT_TRUE(again.zeros == planes.zeros);
  EXPECT_TRUE(again.scales == planes.scales);
  EXPECT_TRUE(again.subScales == planes.subScales);
  EXPECT_TRUE(again.minima == planes.minima);
  EXPECT_TRUE(again.subMinima == planes.subMinima);

  std::vector<float> weights(elements);
  storage.decode(blocks, weights);
  for (unsigned i = 0; i < elements; ++i)
    ASSERT_EQ(weights[i], value(planes, i)) << i;
}

TEST(FormatNamesTest, Integers) {
  for (unsigned bits : codeBits)
    for (unsigned g : groups) {
      check(join("int", bits, g), [=](const BlockPlanes &planes, unsigned i) {
        int code = bits == 8 ? int8_t(planes.codes[i])
                             : planes.codes[i] - (1 << (bits - 1));
        return halfAt(planes.scales, i / g) * float(code);
      });
      check(join("uint", bits, g), [=](const BlockPlanes &planes, unsigned i) {
        return halfAt(planes.scales, i / g) *
               float(planes.codes[i] - planes.zeros[i / g]);
      });
    }
}

TEST(FormatNamesTest, IntegersWithScalesInTwoLevels) {
  for (unsigned bits : codeBits)
    for (unsigned g : groups)
      for (unsigned sub : {4, 6})
        for (unsigned super : {2 * g, 3 * g, 8192u}) {
          std::string levels =
              "_k" + std::to_string(sub) + "x" + std::to_string(super);
          check(join("int", bits, g) + levels,
                [=](const BlockPlanes &planes, unsigned i) {
                  int code = bits == 8 ? int8_t(planes.codes[i])
                                       : planes.codes[i] - (1 << (bits - 1));
                  int scale = planes.subScales[i / g] - (1 << (sub - 1));
                  return halfAt(planes.scales, i / super) * float(scale) *
                         float(code);
                });
          check(join("uint", bits, g) + levels,
                [=](const BlockPlanes &planes, unsigned i) {
                  float scale = halfAt(planes.scales, i / super) *
                                float(planes.subScales[i / g]);
                  float minimum = halfAt(planes.minima, i / super) *
                                  float(planes.subMinima[i / g]);
                  // A product and a difference, each rounded.
                  volatile float product = scale * float(planes.codes[i]);
                  return product - minimum;
                });
        }
}

/// The x below which a normal variable is with probability `p`.
double quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 100; ++i) {
    double x = (low + high) / 2;
    (0.5 * std::erfc(-x / std::sqrt(2.0)) < p ? low : high) = x;
  }
  return low;
}

TEST(FormatNamesTest, NormalFloatsAreQuantiles) {
  // 8 positive levels, zero and 7 negative ones; the outermost quantile lies
  // between those of 1 - 1/30 and 1 - 1/32.
  const double outer = ((1 - 1 / 30.0) + (1 - 1 / 32.0)) / 2;
  std::vector<float> levels;
  for (int i = 0; i < 7; ++i)
    levels.push_back(
        float(-quantile(outer + (0.5 - outer) * i / 7) / quantile(outer)));
  levels.push_back(0);
  for (int i = 7; i >= 0; --i)
    levels.push_back(
        float(quantile(outer + (0.5 - outer) * i / 8) / quantile(outer)));
  const BlockFormat &format = *findBlockFormat("nf4_g64");
  ASSERT_EQ(format.codebook.size(), 16u);
  for (unsigned i = 0; i < 16; ++i)
    EXPECT_NEAR(format.codebook[i], levels[i], 2e-6) << i;
  for (unsigned g : groups)
    check("nf4_g" + std::to_string(g), [&](const BlockPlanes &planes,
                                           unsigned i) {
      return halfAt(planes.scales, i / g) * format.codebook[planes.codes[i]];
    });
}

TEST(FormatNamesTest, SmallFloats) {
  auto valueOf = [](const llvm::fltSemantics &semantics, uint8_t code) {
    llvm::APFloat value(semantics, llvm::APInt(8, code));
    if (!value.isFinite())
      value = llvm::APFloat::getLargest(semantics, code >= 128);
    bool lossy;
    value.convert(llvm::APFloat::IEEEsingle(),
                  llvm::APFloat::rmNearestTiesToEven, &lossy);
    return value.convertToFloat();
  };
  for (unsigned g : groups) {
    check("fp8_e4m3_g" + std::to_string(g), [&](const BlockPlanes &planes,
                                                unsigned i) {
      return halfAt(planes.scales, i / g) *
             (valueOf(llvm::APFloat::Float8E4M3FN(), planes.codes[i]) / 256);
    });
    check("fp8_e5m2_g" + std::to_string(g), [&](const BlockPlanes &planes,
                                                unsigned i) {
      return halfAt(planes.scales, i / g) *
             (valueOf(llvm::APFloat::Float8E5M2(), planes.codes[i]) / 32768);
    });
  }
}

TEST(FormatNamesTest, Ternary) {
  for (unsigned g : groups)
    check("ternary_g" + std::to_string(g),
          [=](const BlockPlanes &planes, unsigned i) {
            return halfAt(planes.scales, i / g) * float(planes.codes[i] - 1);
          });
}

TEST(FormatNamesTest, Sparse) {
  for (unsigned g : groups) {
    for (unsigned bits : codeBits)
      check(join("int", bits, g) + "_2of4",
            [=](const BlockPlanes &planes, unsigned i) {
              int code = bits == 8 ? int8_t(planes.codes[i])
                                   : planes.codes[i] - (1 << (bits - 1));
              return halfAt(planes.scales, i / g) * float(code);
            });
    check(join("int", 4, g) + "_k6x" + std::to_string(2 * g) + "_2of4",
          [=](const BlockPlanes &planes, unsigned i) {
            return halfAt(planes.scales, i / g / 2) *
                   float(planes.subScales[i / g] - 32) *
                   float(planes.codes[i] - 8);
          });
    std::string of4 = "_g" + std::to_string(g) + "_2of4";
    for (std::string family : {"nf4", "fp8_e4m3", "fp8_e5m2"}) {
      const BlockFormat &dense =
          *findBlockFormat(family + "_g" + std::to_string(g));
      check(family + of4, [&](const BlockPlanes &planes, unsigned i) {
        return halfAt(planes.scales, i / g) * dense.codebook[planes.codes[i]];
      });
    }
    check("ternary" + of4, [=](const BlockPlanes &planes, unsigned i) {
      return halfAt(planes.scales, i / g) * float(planes.codes[i] - 1);
    });
  }
}

TEST(FormatNamesTest, SparseFormatsOfDenseOnes) {
  const BlockFormat &dense = *findBlockFormat("int8_g32"),
                    &sparse = *findBlockFormat("int8_g32_2of4");
  EXPECT_EQ(sparse.keep, 2u);
  EXPECT_EQ(sparse.of, 4u);
  EXPECT_EQ(findSparseFormat(dense, 2, 4), &sparse);
  EXPECT_EQ(&getDenseFormat(sparse), &dense);
  EXPECT_EQ(&getDenseFormat(dense), &dense);
  EXPECT_EQ(findSparseFormat(dense, 1, 4), nullptr);
  EXPECT_EQ(findSparseFormat(dense, 4, 8), nullptr);
  EXPECT_EQ(findSparseFormat(sparse, 2, 4), nullptr);
  for (const char *name : {"uint4_g32", "uint4_g32_k6x256", "q8_0"})
    EXPECT_EQ(findSparseFormat(*findBlockFormat(name), 2, 4), nullptr) << name;
  for (auto [name, zero] :
       {std::pair("int2_g16", 2), std::pair("int6_g32", 32),
        std::pair("int8_g32", 0), std::pair("ternary_g16", 1),
        std::pair("nf4_g64", 7), std::pair("fp8_e4m3_g32", 0),
        std::pair("q6_k", 32), std::pair("mxfp4", 0)})
    EXPECT_EQ(findBlockFormat(name)->zeroCode(), zero) << name;
  for (const char *name : {"uint4_g32", "uint4_g32_k6x256", "q4_1", "iq4_nl"})
    EXPECT_EQ(findBlockFormat(name)->zeroCode(), std::nullopt) << name;
}

TEST(FormatNamesTest, AnyBytesAreSparseBlocks) {
  std::mt19937 rng(6);
  for (const char *name :
       {"int8_g32_2of4", "int3_g16_2of4", "int4_g32_k6x96_2of4",
        "fp8_e5m2_g16_2of4", "ternary_g256_2of4"}) {
    const BlockFormat &format = *findBlockFormat(name);
    const BlockStorage &storage = getPlainStorage(format);
    std::vector<uint8_t> bytes(50 * storage.bytes);
    for (uint8_t &byte : bytes)
      byte = uint8_t(rng());
    BlockPlanes planes, again;
    storage.unpack(bytes, planes);
    for (size_t i = 0; i < planes.codes.size(); i += 4)
      EXPECT_GE(std::count(&planes.codes[i], &planes.codes[i] + 4,
                           *format.zeroCode()),
                2);
    storage.unpack(storage.pack(planes), again);
    EXPECT_TRUE(again.codes == planes.codes) << name;
    EXPECT_TRUE(again.scales == planes.scales) << name;
  }
}

#ifndef NDEBUG
TEST(FormatNamesTest, MoreCodesThanASparseFormatKeeps) {
  const BlockFormat &format = *findBlockFormat("int8_g32_2of4");
  BlockPlanes planes;
  planes.resize(format, 32);
  planes.codes[4] = planes.codes[5] = planes.codes[7] = 1;
  EXPECT_DEATH((void)getPlainStorage(format).pack(planes), "more codes");
}
#endif

TEST(FormatNamesTest, FormatsOfFilesHavePlainStorageToo) {
  for (const BlockFormat &format : getBlockFormats()) {
    std::mt19937 rng(4);
    uint64_t elements = 2 * format.scaleGroup();
    BlockPlanes planes = test::makePlanes(format, elements, rng);
    std::vector<float> wanted(elements), got(elements);
    decodeBlocks(format, planes, wanted);
    const BlockStorage &storage = getPlainStorage(format);
    storage.decode(storage.pack(planes), got);
    EXPECT_TRUE(got == wanted) << format.name.str();
  }
}

TEST(FormatNamesTest, BitsPerWeight) {
  const std::pair<const char *, double> wanted[] = {
      {"int2_g16", 3},
      {"int4_g32", 4.5},
      {"int8_g32", 8.5},
      {"uint4_g128", 4 + 20.0 / 128},
      {"uint3_g64", 3 + 19.0 / 64},
      {"int3_g16_k6x256", 3.4375},
      {"uint4_g32_k6x256", 4.5},
      {"uint2_g16_k4x576", 2 + 8.0 / 16 + 32.0 / 576},
      {"nf4_g64", 4.25},
      {"fp8_e4m3_g128", 8.125},
      {"ternary_g64", 2.25},
      {"int8_g32_2of4", 5.5},
      {"int4_g32_2of4", 3.5},
      {"int4_g32_k6x256_2of4", 3.25},
      {"ternary_g64_2of4", 2.25},
  };
  for (auto [name, bits] : wanted)
    EXPECT_DOUBLE_EQ(findBlockFormat(name)->getBitsPerWeight(), bits) << name;
}

TEST(FormatNamesTest, NamesMeanWhatFilesFormatsDo) {
  for (auto [name, other] :
       {std::pair("int4_g32", "q4_0"), std::pair("int5_g32", "q5_0"),
        std::pair("int8_g32", "q8_0"), std::pair("uint2_g16_k4x256", "q2_k"),
        std::pair("int3_g16_k6x256", "q3_k"),
        std::pair("uint4_g32_k6x256", "q4_k"),
        std::pair("uint5_g32_k6x256", "q5_k")}) {
    std::mt19937 rng(5);
    const BlockFormat &format = *findBlockFormat(name);
    BlockPlanes planes = test::makePlanes(format, 512, rng);
    std::vector<float> values(512), others(512);
    decodeBlocks(format, planes, values);
    decodeBlocks(*findBlockFormat(other), planes, others);
    EXPECT_TRUE(values == others) << name;
  }
}

TEST(FormatNamesTest, OtherNamesAreNone) {
  for (const char *name : {"",
                           "int",
                           "int4",
                           "uint4",
                           "int9_g32",
                           "int7_g32",
                           "int1_g32",
                           "int4_g24",
                           "int4_g512",
                           "int4_g032",
                           "int04_g32",
                           "int4_g32_",
                           "int4-g32",
                           "int4_g32_k6",
                           "int4_g32_k5x256",
                           "int4_g32_k6x",
                           "int4_g32_k6x32",
                           "int4_g32_k6x250",
                           "int4_g32_k6x8224",
                           "int4_g32_k6x0256",
                           "int4_g32_k6x99999999999999999999",
                           "int4_g32_k6x256 ",
                           "Int4_g32",
                           "sint4_g32",
                           "unf4_g64",
                           "nf4",
                           "nf4_g64_k6x256",
                           "fp8_g32",
                           "fp8_e3m4_g32",
                           "ternary_g8",
                           "uternary_g64",
                           "mxfp4_g32",
                           "q4_9",
                           "_2of4",
                           "q8_0_2of4",
                           "int8_g32_4of2",
                           "int8_g32_2of4_2of4",
                           "int8_g32_2:4",
                           "uint4_g32_2of4",
                           "uint4_g32_k6x256_2of4"})
    EXPECT_EQ(findBlockFormat(name), nullptr) << name;
  std::string text = describeBlockFormats();
  for (const char *part : {"int<2|3|4|5|6|8>_g<16|", "_k<4|6>x", "nf4_g",
                           "fp8_e5m2_g", "ternary_g", "_2of4", "q4_k", "mxfp4"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST(FormatNamesTest, ThreadsFindTheSameFormats) {
  constexpr unsigned count = 200;
  using Found =
      std::vector<std::pair<const BlockFormat *, const BlockStorage *>>;
  std::vector<Found> found(4);
  std::vector<std::thread> threads;
  for (Found &mine : found)
    threads.emplace_back([&mine] {
      for (unsigned i = 2; i < count; ++i) {
        const BlockFormat *format =
            findBlockFormat("int6_g32_k6x" + std::to_string(32 * i));
        mine.emplace_back(format, &getPlainStorage(*format));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const Found &other : found)
    EXPECT_TRUE(other == found[0]);
  for (unsigned i = 2; i < count; ++i)
    EXPECT_EQ(found[0][i - 2].first->superGroup, 32 * i);
}

} // namespace
} // namespace pare
