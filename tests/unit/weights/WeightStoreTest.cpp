//===- WeightStoreTest.cpp - Mapped files and tensors by name -------------===//
#include "frontend/weights/WeightStore.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>

using namespace mlir;

namespace pare {
namespace {

std::string message(llvm::Error error) {
  return llvm::toString(std::move(error));
}

class WeightStoreTest : public ::testing::Test {
protected:
  ~WeightStoreTest() override {
    for (const std::string &path : files_)
      llvm::sys::fs::remove(path);
  }

  template <typename T> std::shared_ptr<MappedFile> write(ArrayRef<T> values) {
    llvm::SmallString<128> path;
    int fd;
    EXPECT_FALSE(
        llvm::sys::fs::createTemporaryFile("weights", "bin", fd, path));
    llvm::raw_fd_ostream(fd, /*shouldClose=*/true)
        .write(reinterpret_cast<const char *>(values.data()),
               values.size() * sizeof(T));
    files_.emplace_back(path);
    return llvm::cantFail(MappedFile::open(path));
  }

  /// One tensor of raw values, read as `element`.
  template <typename T> TensorData read(Type element, ArrayRef<T> values) {
    std::vector<uint8_t> bytes(values.size() * sizeof(T));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    auto type = RankedTensorType::get({int64_t(values.size())}, element);
    return store_.get(store_.addOwned("t", type, std::move(bytes)));
  }

  MLIRContext context_;
  Builder builder_{&context_};
  WeightStore store_;
  std::vector<std::string> files_;
};

TEST_F(WeightStoreTest, MissingFileAndFolderAreNamed) {
  auto missing = MappedFile::open("/nowhere/model.onnx");
  ASSERT_FALSE(bool(missing));
  EXPECT_EQ(message(missing.takeError()),
            "cannot read '/nowhere/model.onnx': No such file or directory");
  auto folder = MappedFile::open("/");
  ASSERT_FALSE(bool(folder));
  EXPECT_EQ(message(folder.takeError()), "cannot read '/': it is a directory");
}

TEST_F(WeightStoreTest, EmptyFileMaps) {
  std::shared_ptr<MappedFile> file = write<float>({});
  EXPECT_EQ(file->size(), 0u);
  EXPECT_TRUE(bool(file->range(0, 0, "nothing")));
}

TEST_F(WeightStoreTest, RangesBeyondTheFileAreRefused) {
  std::shared_ptr<MappedFile> file = write<float>({1, 2, 3, 4});
  auto range = file->range(8, 9, "tensor 'w'");
  ASSERT_FALSE(bool(range));
  EXPECT_EQ(message(range.takeError()),
            file->path().str() + ": tensor 'w' needs 9 bytes at offset 8, but "
                                 "the file has 16 bytes");
  for (auto [offset, size] : {std::pair<uint64_t, uint64_t>{17, 0},
                              {~0ull, 2},
                              {8, ~0ull},
                              {~0ull - 3, 8}}) {
    auto overflow = file->range(offset, size, "x");
    EXPECT_FALSE(bool(overflow));
    llvm::consumeError(overflow.takeError());
  }
}

TEST_F(WeightStoreTest, ViewsReadTheFileInPlace) {
  std::shared_ptr<MappedFile> file = write<float>({1, 2, 3, 4});
  auto type = RankedTensorType::get({2}, builder_.getF32Type());
  EXPECT_FALSE(bool(store_.addView("w", type, file, 4, 8)));
  const TensorData &data = store_.get("w");
  EXPECT_EQ(data.bytes.data(), file->bytes().data() + 4);
  EXPECT_EQ(data.toF32(), (std::vector<float>{2, 3}));
  EXPECT_EQ(data.get(1), 3);
}

TEST_F(WeightStoreTest, ViewsAreChecked) {
  std::shared_ptr<MappedFile> file = write<float>({1, 2, 3, 4});
  auto type = RankedTensorType::get({2}, builder_.getF32Type());
  EXPECT_NE(message(store_.addView("w", type, file, 0, 4)).find("need 8"),
            std::string::npos);
  EXPECT_NE(
      message(store_.addView("w", type, file, 12, 8)).find("the file has"),
      std::string::npos);
  EXPECT_FALSE(store_.contains("w"));
  EXPECT_FALSE(bool(store_.addView("w", type, file, 0, 8)));
  EXPECT_NE(message(store_.addView("w", type, file, 0, 8)).find("twice"),
            std::string::npos);
}

TEST_F(WeightStoreTest, OwnedNamesBecomeUnique) {
  auto type = RankedTensorType::get({1}, builder_.getF32Type());
  EXPECT_EQ(store_.addOwned("w", type, ArrayRef<float>{1}), "w");
  EXPECT_EQ(store_.addOwned("w", type, ArrayRef<float>{2}), "w.1");
  EXPECT_EQ(store_.get("w").get(0), 1);
  EXPECT_EQ(store_.get("w.1").get(0), 2);
  store_.erase("w");
  EXPECT_EQ(store_.addOwned("w", type, ArrayRef<float>{3}), "w");
}

TEST_F(WeightStoreTest, HalfFormatsConvertExactly) {
  // 1, -2, smallest subnormal, largest, infinity.
  TensorData half = read<uint16_t>(builder_.getF16Type(),
                                   {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00});
  std::vector<float> values = half.toF32();
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], -2.0f);
  EXPECT_EQ(values[2], std::ldexp(1.0f, -24));
  EXPECT_EQ(values[3], 65504.0f);
  EXPECT_EQ(values[4], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(
      read<uint16_t>(builder_.getF16Type(), {0x7e00}).toF32().front()));
  EXPECT_EQ(read<uint16_t>(builder_.getBF16Type(), {0xc040}).toF32().front(),
            -3.0f);
}

TEST_F(WeightStoreTest, IntegersKeepTheirSign) {
  EXPECT_EQ(read<uint8_t>(builder_.getI8Type(), {0xff}).get(0), -1);
  EXPECT_EQ(read<uint8_t>(builder_.getIntegerType(8, false), {0xff}).get(0),
            255);
  EXPECT_EQ(read<int64_t>(builder_.getI64Type(), {-7}).get(0), -7);
  EXPECT_EQ(read<uint8_t>(builder_.getI1Type(), {1}).get(0), 1);
}

TEST_F(WeightStoreTest, SizesThatOverflowAreNoSizes) {
  Type f32 = builder_.getF32Type();
  EXPECT_EQ(getTensorBytes({2, 3}, f32), 24u);
  EXPECT_EQ(getTensorBytes({}, f32), 4u);
  EXPECT_EQ(getTensorBytes({INT64_MAX, INT64_MAX, 0}, f32), 0u);
  EXPECT_EQ(getTensorBytes({INT64_MAX}, f32), std::nullopt);
  EXPECT_EQ(getTensorBytes({1ll << 32, 1ll << 32}, f32), std::nullopt);
  EXPECT_EQ(getTensorBytes({-1}, f32), std::nullopt);
}

TEST_F(WeightStoreTest, NonFiniteValuesAreCountedInNameOrder) {
  float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  auto type = RankedTensorType::get({3}, builder_.getF32Type());
  store_.addOwned("z", type, ArrayRef<float>{nan, 1, -inf});
  store_.addOwned("clean", type, ArrayRef<float>{0, 1, 2});
  store_.addOwned("a", type, ArrayRef<float>{nan, nan, inf});
  std::vector<WeightStore::NonFinite> found = store_.findNonFinite();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "a");
  EXPECT_EQ(found[0].nan, 2u);
  EXPECT_EQ(found[0].inf, 1u);
  EXPECT_EQ(found[1].name, "z");
  EXPECT_EQ(found[1].nan, 1u);
  EXPECT_EQ(found[1].inf, 1u);
}

TEST_F(WeightStoreTest, NonFiniteValuesOf16Bits) {
  // -inf, -NaN, NaN, the largest number, inf of each type.
  std::vector<uint16_t> half = {0xfc00, 0xfe01, 0x7c01, 0x7bff, 0x7c00},
                        bfloat = {0xff80, 0xff81, 0x7fc0, 0x7f7f, 0x7f80};
  read<uint16_t>(builder_.getF16Type(), half);
  read<uint16_t>(builder_.getBF16Type(), bfloat);
  auto found = store_.findNonFinite();
  ASSERT_EQ(found.size(), 2u);
  for (const WeightStore::NonFinite &counts : found) {
    EXPECT_EQ(counts.nan, 2u);
    EXPECT_EQ(counts.inf, 2u);
  }
}

TEST_F(WeightStoreTest, WidenedTensorsReadTheSameBytes) {
  std::vector<uint16_t> values = {0x3f80, 0xc000, 0x0000, 0x4040, 0x7fc0, 0};
  std::shared_ptr<MappedFile> file = write<uint16_t>(values);
  auto type = RankedTensorType::get({3, 2}, builder_.getBF16Type());
  ASSERT_FALSE(store_.addView("w", type, file, 0, 12));
  std::optional<std::string> name = store_.addWidened("w", "w");
  ASSERT_EQ(name, "w.1");
  store_.erase("w");
  const TensorData &wide = store_.get("w.1");
  EXPECT_TRUE(wide.isEncoded());
  EXPECT_EQ(wide.bytes.data(), file->bytes().data());
  EXPECT_EQ(wide.type, RankedTensorType::get({3, 2}, builder_.getF32Type()));
  EXPECT_EQ(ArrayRef(wide.toF32()).take_front(4),
            ArrayRef<float>({1, -2, 0, 3}));
  EXPECT_EQ(wide.get(1), -2);
  EXPECT_EQ(wide.at(1).toF32(), std::vector<float>({0, 3}));
  auto found = store_.findNonFinite();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].nan, 1u);
  // Memory that was given back is read from the file again.
  store_.release("w.1");
  file->release(file->bytes());
  EXPECT_EQ(wide.get(3), 3);

  // Of these the bytes are no file's, or no floats of 16 bits.
  auto f32 = RankedTensorType::get({3}, builder_.getF32Type());
  ASSERT_FALSE(store_.addView("f32", f32, file, 0, 12));
  store_.addOwned("owned", type, std::vector<uint8_t>(12));
  for (StringRef other : {"f32", "owned", "w.1"})
    EXPECT_EQ(store_.addWidened("x", other), std::nullopt);
  EXPECT_FALSE(store_.contains("x"));
}

TEST_F(WeightStoreTest, StacksReadTheirParts) {
  std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, std::nanf("")};
  std::shared_ptr<MappedFile> file = write<float>(values);
  auto type = RankedTensorType::get({2, 2}, builder_.getF32Type());
  ASSERT_FALSE(store_.addView("b", type, file, 16, 16));
  ASSERT_FALSE(store_.addView("a", type, file, 0, 16));
  file.reset();
  ASSERT_FALSE(store_.stack("ba", {"b", "a"}));
  EXPECT_FALSE(store_.contains("a") || store_.contains("b"));
  const TensorData &whole = store_.get("ba");
  EXPECT_EQ(whole.type.getShape(), ArrayRef<int64_t>({2, 2, 2}));
  EXPECT_EQ(whole.get(1), 6);
  EXPECT_EQ(whole.get(6), 3);
  EXPECT_EQ(whole.at(1).toF32(), std::vector<float>({1, 2, 3, 4}));
  std::vector<float> floats = whole.toF32();
  EXPECT_EQ(ArrayRef(floats).drop_front(4), ArrayRef<float>({1, 2, 3, 4}));
  std::vector<uint8_t> bytes(32);
  whole.copyTo(bytes);
  EXPECT_EQ(std::memcmp(bytes.data() + 16, values.data(), 16), 0);
  auto found = store_.findNonFinite();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "ba");
  EXPECT_EQ(found[0].nan, 1u);
}

TEST_F(WeightStoreTest, StacksAreOfOneType) {
  auto type = RankedTensorType::get({2}, builder_.getF32Type());
  auto half = RankedTensorType::get({4}, builder_.getF16Type());
  store_.addOwned("a", type, std::vector<uint8_t>(8));
  store_.addOwned("b", half, std::vector<uint8_t>(8));
  EXPECT_EQ(message(store_.stack("ab", {"a", "b"})),
            "tensors 'a' and 'b' must have one type and shape");
  EXPECT_TRUE(store_.contains("a") && store_.contains("b"));
}

} // namespace
} // namespace pare
