//===- LayoutTest.cpp - Models in several files ---------------------------===//
#include "frontend/gguf/Layout.h"
#include "Files.h"

namespace pare::gguf {
namespace {

class LayoutTest : public ::testing::Test {
protected:
  std::string openError(llvm::StringRef name) {
    llvm::Expected<File> file = File::open(folder_.path(name));
    return file ? "" : llvm::toString(file.takeError());
  }
  static bool contains(llvm::StringRef text, llvm::StringRef part) {
    return text.contains(part);
  }
  /// A shard with the tensor `tensor`; the keys need not agree with the name.
  void writeShard(unsigned index, unsigned count, unsigned number,
                  unsigned claimed, llvm::StringRef tensor) {
    Writer writer;
    writer.addU32("split.no", number);
    writer.addU32("split.count", claimed);
    if (number == 0)
      writer.addU32("split.tensors.count", count);
    addRandom(writer, tensor, "F32", {4});
    folder_.write(getShardName("m", index, count), toBytes(writer));
  }
  /// Pieces of a file, cut every `size` bytes, numbered from `first`.
  void writeParts(llvm::StringRef bytes, size_t size, unsigned first) {
    for (unsigned i = first; !bytes.empty(); ++i) {
      folder_.write("m.gguf.part0" + std::to_string(i), bytes.take_front(size));
      bytes = bytes.drop_front(std::min(size, bytes.size()));
    }
  }

  TemporaryFolder folder_;
};

TEST_F(LayoutTest, ShardsAreMerged) {
  for (unsigned i = 0; i < 3; ++i)
    writeShard(i, 3, i, 3, "t" + std::to_string(i));
  for (llvm::StringRef name :
       {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf", ""}) {
    llvm::Expected<File> file = File::open(folder_.path(name));
    ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
    EXPECT_EQ(file->numShards(), 3u);
    ASSERT_EQ(file->tensors().size(), 3u);
    EXPECT_EQ(file->tensors()[2].name, "t2");
    EXPECT_EQ(cantFail(file->metadata().getInteger("split.no", 0, 9)), 0);
  }
}

TEST_F(LayoutTest, MissingShardsAreNamed) {
  writeShard(1, 3, 1, 3, "t");
  std::string error = openError("m-00002-of-00003.gguf");
  EXPECT_TRUE(contains(error, "missing shards: "));
  EXPECT_TRUE(contains(error, "m-00001-of-00003.gguf, "));
  EXPECT_TRUE(contains(error, "m-00003-of-00003.gguf"));
  EXPECT_TRUE(contains(openError("m-00000-of-00003.gguf"), "shard 0 of 3"));
  EXPECT_TRUE(contains(openError("m-99999-of-99999.gguf"), "not a possible"));
}

TEST_F(LayoutTest, ShardsMustAgree) {
  writeShard(0, 2, 0, 2, "a");
  writeShard(1, 2, 0, 2, "b");
  EXPECT_TRUE(contains(openError("m-00001-of-00002.gguf"),
                       "do not say that it is shard 2 of 2"));
  writeShard(1, 2, 1, 2, "a");
  EXPECT_TRUE(contains(openError("m-00001-of-00002.gguf"),
                       "tensor 'a' is there twice"));
  Writer writer;
  writer.addU32("split.no", 1);
  writer.addU32("split.count", 2);
  folder_.write("renamed.gguf", toBytes(writer));
  EXPECT_TRUE(contains(openError("renamed.gguf"), "as its name does"));
}

TEST_F(LayoutTest, TensorsOfShardsAreCounted) {
  Writer first, second;
  for (Writer *writer : {&first, &second}) {
    writer->addU32("split.no", writer == &second);
    writer->addU32("split.count", 2);
  }
  first.addU32("split.tensors.count", 5);
  folder_.write("m-00001-of-00002.gguf", toBytes(first));
  folder_.write("m-00002-of-00002.gguf", toBytes(second));
  EXPECT_TRUE(contains(openError("m-00001-of-00002.gguf"),
                       "'split.tensors.count' is 5, but the shards have 0"));
}

TEST_F(LayoutTest, PartsAreOneFile) {
  std::string whole = makeSmallFile();
  for (size_t size : {size_t(100), whole.size() / 2, size_t(4096)})
    for (unsigned first : {0u, 1u}) {
      writeParts(whole, size, first);
      std::string start = "m.gguf.part0" + std::to_string(first);
      llvm::Expected<File> file = File::open(folder_.path(start));
      ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
      EXPECT_EQ(file->tensors().size(), 3u);
      EXPECT_TRUE(llvm::toStringRef(file->tensors()[0].file->bytes()) == whole);
      for (unsigned i = 0; i < 10; ++i)
        llvm::sys::fs::remove(folder_.path("m.gguf.part0" + std::to_string(i)));
    }
}

TEST_F(LayoutTest, PartsOnPageBoundariesAreMapped) {
  Writer writer;
  addRandom(writer, "a", "F32", {5000});
  std::string whole = toBytes(writer);
  writeParts(whole, 8192, 0);
  llvm::Expected<File> file = File::open(folder_.path());
  ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
  EXPECT_TRUE(llvm::toStringRef(file->tensors()[0].file->bytes()) == whole);
}

TEST_F(LayoutTest, MissingPartsAreNamed) {
  writeParts(makeSmallFile(), 200, 0);
  llvm::sys::fs::remove(folder_.path("m.gguf.part01"));
  EXPECT_TRUE(contains(openError("m.gguf.part00"), "missing parts: "));
  llvm::sys::fs::remove(folder_.path("m.gguf.part00"));
  std::string error = openError("m.gguf.part02");
  EXPECT_TRUE(contains(error, "m.gguf.part0")) << error;
}

TEST_F(LayoutTest, FoldersHoldOneModel) {
  EXPECT_TRUE(contains(openError(""), "has no .gguf file"));
  folder_.write("a.gguf", makeSmallFile());
  EXPECT_EQ(openError(""), "");
  folder_.write("b.gguf", makeSmallFile());
  EXPECT_TRUE(contains(openError(""), "name one of them: a.gguf, b.gguf"));
}

TEST_F(LayoutTest, Names) {
  EXPECT_TRUE(isGgufName("x/a.gguf"));
  EXPECT_TRUE(isGgufName("a.gguf.part00"));
  EXPECT_FALSE(isGgufName("a.safetensors"));
  EXPECT_FALSE(isGgufName("a.part1"));
  EXPECT_EQ(getShardName("x/m", 1, 12), "x/m-00002-of-00012.gguf");
}

} // namespace
} // namespace pare::gguf
