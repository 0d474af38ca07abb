//===- FileTest.cpp - GGUF files, whole and damaged -----------------------===//
#include "Files.h"

namespace pare::gguf {
namespace {

class FileTest : public ::testing::Test {
protected:
  llvm::Expected<File> open(llvm::StringRef content) {
    return File::open(folder_.write("m.gguf", content));
  }
  /// The error of reading a file with this content, "" for none.
  std::string readError(llvm::StringRef content) {
    llvm::Expected<File> file = open(content);
    return file ? "" : llvm::toString(file.takeError());
  }
  static bool contains(llvm::StringRef text, llvm::StringRef part) {
    return text.contains(part);
  }
  /// `bytes` with `value` written over them at `at`.
  template <typename T>
  static std::string patch(std::string bytes, size_t at, T value) {
    llvm::support::endian::write<T, llvm::endianness::little>(&bytes[at],
                                                              value);
    return bytes;
  }
  /// Where a tensor's description goes on after its name.
  static size_t afterName(llvm::StringRef bytes, llvm::StringRef name) {
    std::string key(8, '\0');
    llvm::support::endian::write64le(key.data(), name.size());
    return bytes.find(key + name.str()) + 8 + name.size();
  }

  TemporaryFolder folder_;
};

TEST_F(FileTest, ReadsTensors) {
  llvm::Expected<File> file = open(makeSmallFile());
  ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->alignment(), 32u);
  ASSERT_EQ(file->tensors().size(), 3u);
  const Tensor &weight = *file->find("weight");
  EXPECT_EQ(weight.type->name, "Q4_1");
  EXPECT_EQ(weight.shape, (llvm::SmallVector<int64_t, 4>{2, 64}));
  EXPECT_EQ(weight.size, 80u);
  EXPECT_EQ(weight.offset % 32, 0u);
  EXPECT_EQ(file->find("half")->shape,
            (llvm::SmallVector<int64_t, 4>{3, 2, 1}));
  EXPECT_EQ(file->find("other"), nullptr);
}

TEST_F(FileTest, RewritingGivesTheSameBytes) {
  std::string bytes = makeSmallFile();
  File file = cantFail(open(bytes));
  Writer writer;
  for (const Metadata::Entry &entry : file.metadata().entries())
    writer.addValue(entry.key, entry.value);
  for (const Tensor &tensor : file.tensors())
    writer.addTensor(tensor.name, *tensor.type, tensor.shape, tensor.bytes());
  EXPECT_TRUE(toBytes(writer) == bytes);
  std::string copy = folder_.path("copy.gguf");
  ASSERT_FALSE(bool(writer.write(copy)));
  EXPECT_EQ(cantFail(File::open(copy)).tensors().size(), 3u);
  EXPECT_TRUE(
      contains(llvm::toString(writer.write(folder_.path("absent/copy.gguf"))),
               "o such file"));
}

TEST_F(FileTest, OtherAlignments) {
  Writer writer;
  writer.setAlignment(4096);
  addRandom(writer, "a", "I8", {3});
  addRandom(writer, "b", "F32", {3});
  File file = cantFail(open(toBytes(writer)));
  EXPECT_EQ(file.alignment(), 4096u);
  EXPECT_EQ(file.find("b")->offset, 8192u);
}

TEST_F(FileTest, EveryTruncationIsOneLine) {
  std::string whole = makeSmallFile();
  // The last tensor's padding may be absent.
  size_t needed = whole.size() - 32 + 12;
  for (size_t size = 0; size < needed; ++size) {
    std::string error = readError(llvm::StringRef(whole).take_front(size));
    EXPECT_NE(error, "") << size;
    EXPECT_FALSE(contains(error, "\n")) << error;
    EXPECT_TRUE(contains(error, "m.gguf")) << error;
  }
  EXPECT_EQ(readError(llvm::StringRef(whole).take_front(needed)), "");
}

TEST_F(FileTest, FlippedBitsAreSurvived) {
  std::string whole = makeSmallFile();
  size_t header = whole.size() - 3 * 32 - 80;
  for (size_t i = 0; i < header; ++i)
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[i] = char(damaged[i] ^ (1u << bit));
      llvm::Expected<File> file = open(damaged);
      if (!file) {
        std::string error = llvm::toString(file.takeError());
        EXPECT_FALSE(contains(error, "\n")) << error;
        continue;
      }
      for (const Tensor &tensor : file->tensors())
        EXPECT_LE(tensor.offset + tensor.size, whole.size());
      for (const Metadata::Entry &entry : file->metadata().entries())
        EXPECT_NE(entry.value.print(), "");
    }
}

TEST_F(FileTest, SeededGarbageIsSurvived) {
  std::string whole = makeSmallFile();
  std::mt19937 random(1);
  for (unsigned round = 0; round < 3000; ++round) {
    std::string damaged = whole;
    for (unsigned i = 0; i < 1 + random() % 8; ++i)
      damaged[8 + random() % (damaged.size() - 8)] = char(random());
    EXPECT_FALSE(contains(readError(damaged), "\n"));
  }
}

TEST_F(FileTest, VersionsAndByteOrder) {
  std::string whole = makeSmallFile();
  EXPECT_EQ(readError(patch(whole, 4, uint32_t(2))), "");
  EXPECT_TRUE(contains(readError(patch(whole, 4, uint32_t(1))), "version 1"));
  EXPECT_TRUE(contains(readError(patch(whole, 4, uint32_t(4))),
                       "version 4 is unknown; 2 and 3 are read"));
  EXPECT_TRUE(
      contains(readError(patch(whole, 4, uint32_t(3) << 24)), "big-endian"));
  EXPECT_TRUE(contains(readError("GGML"), "does not start with GGUF"));
}

TEST_F(FileTest, CountsAreCheckedBeforeUse) {
  std::string whole = makeSmallFile();
  for (uint64_t count : {uint64_t(1000), uint64_t(1) << 40, UINT64_MAX}) {
    EXPECT_TRUE(contains(readError(patch(whole, 8, count)), "tensors, more"));
    EXPECT_TRUE(
        contains(readError(patch(whole, 16, count)), "metadata keys, more"));
  }
  EXPECT_TRUE(contains(readError(patch(whole, 24, UINT64_MAX)),
                       "metadata key 0 of 7 at offset 24 does not fit"));
}

TEST_F(FileTest, TensorsBeyondTheFile) {
  std::string whole = makeSmallFile();
  size_t half = afterName(whole, "half");
  // Rank, three dimensions, type, offset.
  EXPECT_TRUE(contains(readError(patch(whole, half + 4, uint64_t(100))),
                       "tensor 'half' needs 1200 bytes at offset"));
  EXPECT_TRUE(contains(readError(patch(whole, half + 12, uint64_t(1) << 62)),
                       "size beyond 2^63"));
  EXPECT_TRUE(
      contains(readError(patch(whole, half + 4, UINT64_MAX)), "a dimension"));
  EXPECT_TRUE(
      contains(readError(patch(whole, half, uint32_t(5))), "has 5 dimensions"));
  EXPECT_TRUE(contains(readError(patch(whole, half + 32, uint64_t(1) << 40)),
                       "tensor 'half' needs 12 bytes at offset 1099511"));
  EXPECT_TRUE(
      contains(readError(patch(whole, half + 32, UINT64_MAX - 31)), "beyond"));
  EXPECT_TRUE(contains(readError(patch(whole, half + 32, uint64_t(8))),
                       "not a multiple of the alignment 32"));
  EXPECT_TRUE(contains(readError(patch(whole, half + 32, uint64_t(32))),
                       "tensors 'weight' and 'half' overlap"));
}

TEST_F(FileTest, TypesOfTensors) {
  std::string whole = makeSmallFile();
  size_t type = afterName(whole, "half") + 28;
  EXPECT_TRUE(contains(readError(patch(whole, type, uint32_t(99))),
                       "tensor 'half' has the unknown type 99"));
  EXPECT_TRUE(contains(readError(patch(whole, type, uint32_t(12))),
                       "rows of 1 elements, which are not whole blocks of "
                       "Q4_K (256 elements)"));
}

TEST_F(FileTest, TypesWithoutDecoderAreNamed) {
  Writer writer;
  addRandom(writer, "grid", "IQ2_XXS", {256});
  File file = cantFail(open(toBytes(writer)));
  mlir::MLIRContext context;
  WeightStore store;
  EXPECT_TRUE(
      contains(llvm::toString(file.addTo(store, file.tensors()[0], context)),
               "tensor 'grid' has the type IQ2_XXS, which is not supported"));
}

TEST_F(FileTest, NamesAreUnique) {
  Writer writer;
  addRandom(writer, "a", "F32", {1});
  addRandom(writer, "a", "F32", {1});
  EXPECT_TRUE(
      contains(readError(toBytes(writer)), "tensor 'a' is there twice"));
  Writer keys;
  keys.addU32("k", 1);
  keys.addU32("k", 2);
  EXPECT_TRUE(
      contains(readError(toBytes(keys)), "metadata key 'k' is there twice"));
}

TEST_F(FileTest, AlignmentIsAPowerOfTwo) {
  Writer writer;
  writer.addU32("general.alignment", 24);
  EXPECT_TRUE(contains(readError(toBytes(writer)),
                       "'general.alignment' is 24, which is not a power"));
}

} // namespace
} // namespace pare::gguf
