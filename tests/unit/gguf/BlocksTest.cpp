//===- BlocksTest.cpp - Blocks to planes and back -------------------------===//
//
// What blocks decode to is compared with the gguf package's own dequantization
// in tests/e2e/test_gguf.py; here is what needs no oracle.
//
//===----------------------------------------------------------------------===//
#include "frontend/gguf/Blocks.h"
#include "Files.h"
#include "mlir/IR/MLIRContext.h"

namespace pare::gguf {
namespace {

/// Types with a storage.
std::vector<const TensorType *> getBlockTypes() {
  std::vector<const TensorType *> types;
  for (const TensorType &type : getTensorTypes())
    if (type.storage)
      types.push_back(&type);
  return types;
}

TEST(BlocksTest, TypesAgreeWithTheirStorage) {
  EXPECT_EQ(getBlockTypes().size(), 16u);
  for (const TensorType *type : getBlockTypes()) {
    EXPECT_EQ(type->elements, type->storage->elements) << type->name.str();
    EXPECT_EQ(type->bytes, type->storage->bytes) << type->name.str();
    EXPECT_EQ(type->elements % type->storage->format.scaleGroup(), 0u);
  }
}

TEST(BlocksTest, PlanesHoldEveryBitOfABlock) {
  for (const TensorType *type : getBlockTypes()) {
    const BlockFormat &format = type->storage->format;
    double bits = 8.0 * type->bytes / type->elements;
    if (type->name == "TQ1_0") // 5 codes in 8 bits
      EXPECT_LT(bits, format.getBitsPerWeight());
    else
      EXPECT_DOUBLE_EQ(bits, format.getBitsPerWeight()) << type->name.str();
  }
}

TEST(BlocksTest, RandomBlocksRoundTrip) {
  for (const TensorType *type : getBlockTypes()) {
    if (type->name == "TQ1_0")
      continue;
    std::vector<uint8_t> blocks = makeRandom(1000 * type->bytes);
    BlockPlanes planes;
    type->storage->unpack(blocks, planes);
    EXPECT_TRUE(type->storage->pack(planes) == blocks) << type->name.str();
  }
}

TEST(BlocksTest, CodesAndSubScalesStayInTheirBits) {
  for (const TensorType *type : getBlockTypes()) {
    const BlockFormat &format = type->storage->format;
    BlockPlanes planes;
    type->storage->unpack(makeRandom(50 * type->bytes), planes);
    for (uint8_t code : planes.codes)
      EXPECT_LT(code, 1u << format.bits) << type->name.str();
    for (uint8_t scale : planes.subScales)
      EXPECT_LT(scale, 1u << format.subBits) << type->name.str();
    for (uint8_t minimum : planes.subMinima)
      EXPECT_LT(minimum, 1u << format.subBits) << type->name.str();
    EXPECT_EQ(planes.minima.size(),
              format.hasMinimum() ? planes.scales.size() : 0u);
  }
}

TEST(BlocksTest, TernaryBytesThatAnEncoderWritesRoundTrip) {
  // The canonical byte of five base-3 digits; four in the last four bytes.
  std::vector<uint8_t> block(tq1_0.bytes);
  for (unsigned start = 0; start < 243; ++start) {
    for (unsigned i = 0; i < 48; ++i)
      block[i] = uint8_t(((start + i) % 243 * 256 + 242) / 243);
    for (unsigned i = 48; i < 52; ++i)
      block[i] = uint8_t(((start + i) % 81 * 3 * 256 + 242) / 243);
    BlockPlanes planes;
    tq1_0.unpack(block, planes);
    EXPECT_TRUE(tq1_0.pack(planes) == block) << start;
  }
}

TEST(BlocksTest, OtherTernaryBytesBecomeOnesThatDecodeAlike) {
  std::vector<uint8_t> blocks = makeRandom(500 * tq1_0.bytes);
  BlockPlanes planes, again;
  tq1_0.unpack(blocks, planes);
  tq1_0.unpack(tq1_0.pack(planes), again);
  EXPECT_TRUE(planes.codes == again.codes);
  EXPECT_TRUE(planes.scales == again.scales);
}

TEST(BlocksTest, DecodesByDefinition) {
  // Scale 2, minimum -3, codes 0 to 15 twice.
  std::vector<uint8_t> block = {0x00, 0x40, 0x00, 0xc2};
  for (unsigned i = 0; i < 16; ++i)
    block.push_back(uint8_t(i | i << 4));
  std::vector<float> weights(32);
  q4_1.decode(block, weights);
  for (unsigned i = 0; i < 32; ++i)
    EXPECT_EQ(weights[i], 2.0f * float(i % 16) - 3.0f);
}

TEST(BlocksTest, FormatsAreFoundByName) {
  for (const BlockFormat &format : getBlockFormats())
    EXPECT_EQ(findBlockFormat(format.name), &format);
  EXPECT_EQ(findBlockFormat("q4_9"), nullptr);
  EXPECT_EQ(findTensorType("q4_k"), findTensorType(12));
  EXPECT_EQ(findTensorType(4), nullptr);
}

TEST(BlocksTest, ShapesMustBeWholeBlocks) {
  const TensorType &type = *findTensorType("Q4_K");
  EXPECT_EQ(type.getBytes({3, 512}), 3u * 2 * 144);
  EXPECT_EQ(type.getBytes({3, 500}), std::nullopt);
  EXPECT_EQ(type.getBytes({}), std::nullopt);
  EXPECT_EQ(type.getBytes({0, 256}), 0u);
  EXPECT_EQ(type.getBytes({INT64_MAX, 256}), std::nullopt);
  EXPECT_EQ(findTensorType("F32")->getBytes({}), 4u);
}

TEST(BlocksTest, StoreDecodesBlocks) {
  TemporaryFolder folder;
  File file = cantFail(File::open(folder.write("a.gguf", makeSmallFile())));
  mlir::MLIRContext context;
  WeightStore store;
  const Tensor &tensor = *file.find("weight");
  ASSERT_FALSE(bool(file.addTo(store, tensor, context)));
  const TensorData &data = store.get("weight");
  EXPECT_EQ(data.storage, &q4_1);
  EXPECT_EQ(data.bytes.data(), tensor.bytes().data());
  std::vector<float> wanted(128), got = data.toF32();
  q4_1.decode(tensor.bytes(), wanted);
  for (unsigned i = 0; i < 128; ++i) {
    EXPECT_EQ(llvm::bit_cast<uint32_t>(got[i]),
              llvm::bit_cast<uint32_t>(wanted[i]));
    if (got[i] == got[i])
      EXPECT_EQ(data.get(i), got[i]);
  }
  EXPECT_TRUE(bool(file.addTo(store, tensor, context)) && "a name used twice");
}

} // namespace
} // namespace pare::gguf
