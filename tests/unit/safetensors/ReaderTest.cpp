//===- ReaderTest.cpp - safetensors files, whole and damaged --------------===//
#include "frontend/safetensors/Reader.h"
#include "Files.h"
#include "mlir/IR/MLIRContext.h"

namespace pare::safetensors {
namespace {

class ReaderTest : public ::testing::Test {
protected:
  /// The error of reading a file with this content, "" for none.
  std::string read(llvm::StringRef content) {
    tensors_.clear();
    return llvm::toString(
        readFile(folder_.write("m.safetensors", content), context_, tensors_));
  }
  std::string readHeader(llvm::StringRef header, size_t dataBytes = 8) {
    return read(makeSafetensors(header, std::string(dataBytes, '\0')));
  }
  std::string readShards(llvm::StringRef index) {
    tensors_.clear();
    return llvm::toString(
        readIndex(folder_.write("model.safetensors.index.json", index),
                  context_, tensors_));
  }
  static bool contains(llvm::StringRef text, llvm::StringRef part) {
    return text.contains(part);
  }

  TemporaryFolder folder_;
  mlir::MLIRContext context_;
  Tensors tensors_;
};

TEST_F(ReaderTest, ReadsTensors) {
  EXPECT_EQ(read(makeSafetensors({{"b", {2, 3}}, {"a", {}}})), "");
  ASSERT_EQ(tensors_.size(), 2u);
  Tensor b = tensors_.lookup("b");
  EXPECT_EQ(b.type.getShape(), llvm::ArrayRef<int64_t>({2, 3}));
  EXPECT_TRUE(b.type.getElementType().isF32());
  EXPECT_EQ(b.size, 24u);
  float third;
  std::memcpy(&third, b.file->bytes().data() + b.offset + 12, 4);
  EXPECT_EQ(third, 3.0f);
}

TEST_F(ReaderTest, MetadataIsNoTensor) {
  EXPECT_EQ(readHeader(R"({"__metadata__":{"format":"pt"}})"), "");
  EXPECT_TRUE(tensors_.empty());
}

TEST_F(ReaderTest, EveryTruncationIsOneLine) {
  std::string whole = makeSafetensors({{"w", {3}}, {"v", {2, 2}}});
  for (size_t size = 0; size < whole.size(); ++size) {
    std::string error = read(llvm::StringRef(whole).take_front(size));
    EXPECT_NE(error, "") << size;
    EXPECT_FALSE(contains(error, "\n")) << error;
    EXPECT_TRUE(contains(error, "m.safetensors")) << error;
  }
}

TEST_F(ReaderTest, EveryFlippedHeaderByteIsSurvived) {
  std::string whole = makeSafetensors({{"w", {3}}, {"v", {2, 2}}});
  size_t header = whole.find('}', whole.find("\"v\"")) + 2;
  for (size_t i = 0; i < header; ++i)
    for (unsigned char flip : {0x01, 0x10, 0x80}) {
      std::string damaged = whole;
      damaged[i] = char(damaged[i] ^ flip);
      EXPECT_FALSE(contains(read(damaged), "\n"));
      for (const auto &item : tensors_) {
        const Tensor &tensor = item.getValue();
        EXPECT_LE(tensor.offset + tensor.size, whole.size());
      }
    }
}

TEST_F(ReaderTest, HeaderLengthIsChecked) {
  std::string huge = makeSafetensors("{}", "");
  llvm::support::endian::write64le(huge.data(), ~0ull);
  EXPECT_TRUE(contains(read(huge), "header length 18446744073709551615"));
}

TEST_F(ReaderTest, DeepNestingIsRefused) {
  EXPECT_TRUE(contains(readHeader("{\"a\":" + std::string(1 << 20, '[')),
                       "nested deeper"));
}

TEST_F(ReaderTest, OffsetsBeyondTheFile) {
  EXPECT_TRUE(contains(
      readHeader(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})"),
      "tensor 'w' has data_offsets 0..16, but the file holds 8 bytes"));
}

TEST_F(ReaderTest, OffsetsBackwards) {
  EXPECT_TRUE(contains(
      readHeader(R"({"w":{"dtype":"F32","shape":[0],"data_offsets":[8,4]}})"),
      "data_offsets 8..4"));
}

TEST_F(ReaderTest, SizeMustBeExact) {
  EXPECT_TRUE(contains(
      readHeader(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})"),
      "has 8 bytes, which its shape and dtype F32 do not give"));
}

TEST_F(ReaderTest, ShapeThatOverflows) {
  EXPECT_TRUE(contains(
      readHeader(
          R"({"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})"),
      "do not give"));
  EXPECT_TRUE(contains(
      readHeader(R"({"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})"),
      "needs a dtype, a shape"));
}

TEST_F(ReaderTest, OverlapNamesBoth) {
  EXPECT_TRUE(contains(
      readHeader(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                 R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"),
      "tensors 'a' and 'b' overlap"));
}

TEST_F(ReaderTest, UnknownType) {
  EXPECT_TRUE(contains(
      readHeader(R"({"w":{"dtype":"Q4","shape":[8],"data_offsets":[0,8]}})"),
      "unknown dtype 'Q4'"));
}

TEST_F(ReaderTest, ShardsAreMerged) {
  folder_.write("one.safetensors", makeSafetensors({{"a", {2}}}));
  folder_.write("two.safetensors", makeSafetensors({{"b", {3}}}));
  EXPECT_EQ(
      readShards(
          R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"),
      "");
  EXPECT_EQ(tensors_.size(), 2u);
}

TEST_F(ReaderTest, MissingShardIsNamed) {
  EXPECT_TRUE(contains(readShards(R"({"weight_map":{"a":"gone.safetensors"}})"),
                       "'gone.safetensors', which does not exist"));
}

TEST_F(ReaderTest, TensorMissingFromItsShard) {
  folder_.write("one.safetensors", makeSafetensors({{"a", {2}}}));
  EXPECT_TRUE(contains(
      readShards(
          R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})"),
      "tensor 'b' is not in its shard 'one.safetensors'"));
}

TEST_F(ReaderTest, TensorInTwoShards) {
  folder_.write("one.safetensors", makeSafetensors({{"a", {2}}}));
  folder_.write("two.safetensors", makeSafetensors({{"a", {2}}, {"b", {1}}}));
  EXPECT_TRUE(contains(
      readShards(
          R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"),
      "tensor 'a' is also in another shard"));
}

TEST_F(ReaderTest, ShardsOutsideTheFolder) {
  TemporaryFolder elsewhere;
  std::string target =
      elsewhere.write("x.safetensors", makeSafetensors({{"a", {2}}}));
  EXPECT_TRUE(contains(readShards(R"({"weight_map":{"a":")" + target + "\"}}"),
                       "absolute path"));
  EXPECT_TRUE(contains(readShards(R"({"weight_map":{"a":"../x.safetensors"}})"),
                       "leaves the model's folder"));
  ASSERT_FALSE(
      llvm::sys::fs::create_link(target, folder_.path("link.safetensors")));
  EXPECT_TRUE(contains(readShards(R"({"weight_map":{"a":"link.safetensors"}})"),
                       "link that leaves the model's folder"));
}

} // namespace
} // namespace pare::safetensors
