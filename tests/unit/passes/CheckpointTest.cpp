//===- CheckpointTest.cpp - Parts of a run that are whole or absent -------===//
#include "passes/quantize/Checkpoint.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

using namespace mlir;

namespace pare {
namespace {

namespace fs = llvm::sys::fs;

class CheckpointTest : public ::testing::Test {
protected:
  CheckpointTest() {
    EXPECT_FALSE(fs::createUniqueDirectory("checkpoint", folder));
    options.folder = (folder + "/parts").str();
    options.say = [this](const Twine &line) { said.push_back(line.str()); };
  }
  ~CheckpointTest() override { fs::remove_directories(folder); }

  std::unique_ptr<Checkpoint> open(uint8_t key = 1) {
    return llvm::cantFail(Checkpoint::open(options, RunKey{key}));
  }
  static void save(const Checkpoint &checkpoint, StringRef name,
                   StringRef text) {
    llvm::cantFail(
        checkpoint.save(name, [&](llvm::raw_ostream &out) { out << text; }));
  }
  static std::string find(const Checkpoint &checkpoint, StringRef name) {
    auto part = checkpoint.find(name);
    return part ? llvm::toStringRef(part->bytes()).str() : "nothing";
  }
  std::string path(StringRef name) const {
    return options.folder + "/" + name.str();
  }
  std::string read(StringRef name) const {
    return (*llvm::MemoryBuffer::getFile(path(name)))->getBuffer().str();
  }
  void write(StringRef name, StringRef bytes) const {
    std::error_code error;
    llvm::raw_fd_ostream(path(name), error) << bytes;
    ASSERT_FALSE(error);
  }

  llvm::SmallString<128> folder;
  CheckpointOptions options;
  std::vector<std::string> said;
};

TEST_F(CheckpointTest, PartsAreThereForTheSameRun) {
  save(*open(), "a", "first");
  {
    auto checkpoint = open();
    EXPECT_EQ(find(*checkpoint, "a"), "first");
    EXPECT_EQ(find(*checkpoint, "b"), "nothing");
    save(*checkpoint, "a", "second");
    EXPECT_EQ(find(*checkpoint, "a"), "second");
    checkpoint->remove("a");
    EXPECT_EQ(find(*checkpoint, "a"), "nothing");
    save(*checkpoint, "b", "");
    EXPECT_EQ(find(*checkpoint, "b"), "");
  }
  EXPECT_TRUE(said.empty());
  Checkpoint::discard(options.folder);
  EXPECT_FALSE(fs::exists(options.folder));
}

TEST_F(CheckpointTest, AnyChangedByteIsFound) {
  auto checkpoint = open();
  save(*checkpoint, "a", "some bytes");
  std::string whole = read("a.part");
  ASSERT_EQ(whole.size(), 64u + 10u);
  unsigned damaged = 0;
  auto check = [&](StringRef bytes) {
    write("a.part", bytes);
    said.clear();
    EXPECT_EQ(find(*checkpoint, "a"), "nothing");
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(said[0], "'" + path("a.part") +
                           "' is damaged: what it held is made again");
    EXPECT_FALSE(fs::exists(path("a.part")));
    ++damaged;
  };
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] ^= 4;
    check(changed);
  }
  for (size_t size : {0, 10, 63, 64, 73})
    check(StringRef(whole).take_front(size));
  check(whole + "x");
  EXPECT_EQ(damaged, 74u + 6u);
  write("a.part", whole);
  EXPECT_EQ(find(*checkpoint, "a"), "some bytes");
}

TEST_F(CheckpointTest, PartsOfOtherRunsAndHalfWrittenOnesAreRemoved) {
  save(*open(1), "a", "of another run");
  write("b.part.tmp", "half");
  write("notes.txt", "of the user");
  auto checkpoint = open(2);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "'" + options.folder +
                         "' is of another model, version or set of options: "
                         "starting anew");
  EXPECT_EQ(find(*checkpoint, "a"), "nothing");
  EXPECT_FALSE(fs::exists(path("b.part.tmp")));
  save(*checkpoint, "a", "of this run");
  // A run that works in it.
  Checkpoint::discard(options.folder);
  EXPECT_EQ(find(*checkpoint, "a"), "of this run");
  checkpoint.reset();
  Checkpoint::discard(options.folder);
  EXPECT_FALSE(fs::exists(path("a.part")));
  EXPECT_TRUE(fs::exists(path("notes.txt")));
}

TEST_F(CheckpointTest, OneRunAtATime) {
  auto first = open();
  auto second = Checkpoint::open(options, RunKey{1});
  ASSERT_FALSE(bool(second));
  EXPECT_EQ(llvm::toString(second.takeError()),
            "another run works in '" + options.folder +
                "': let it finish, or give this one another folder "
                "(--checkpoints)");
  first.reset();
  open();
}

TEST_F(CheckpointTest, ValuesBetweenLayersComeBack) {
  MLIRContext context;
  Builder builder(&context);
  Type f32 = builder.getF32Type(), i64 = builder.getI64Type();
  auto make = [&](ArrayRef<int64_t> shape, ArrayRef<float> values) {
    return HostTensor(RankedTensorType::get(shape, f32), values);
  };
  // Two samples of different lengths; the second value was not changed yet.
  Paths x{{make({2, 1}, {1, 2}), make({1, 1}, {3})},
          {make({2, 1}, {4, 5}), make({1, 1}, {6})}};
  HostTensor same(RankedTensorType::get({}, i64), ArrayRef<int64_t>{7}),
      empty(RankedTensorType::get({0, 5}, i64));
  Paths y{{same, empty}, {same, empty}};
  const uint8_t *before = x.exact[0].bytes().data();
  auto checkpoint = open();
  auto part = llvm::cantFail(saveValues(*checkpoint, 3, {&x, &y}));
  EXPECT_NE(x.exact[0].bytes().data(), before);

  Paths a, b;
  EXPECT_FALSE(loadValues(*checkpoint, 2, 2, {f32, i64}, {&a, &b}));
  auto loaded = loadValues(*checkpoint, 3, 2, {f32, i64}, {&a, &b});
  ASSERT_TRUE(loaded);
  for (const auto &[got, want] : {std::pair(&a, &x), std::pair(&b, &y)})
    for (auto path : {&Paths::exact, &Paths::changed}) {
      ASSERT_EQ((got->*path).size(), 2u);
      for (int i : {0, 1}) {
        EXPECT_EQ((got->*path)[i].type(), (want->*path)[i].type());
        EXPECT_EQ((got->*path)[i].bytes(), (want->*path)[i].bytes());
      }
    }
  EXPECT_EQ(a.changed[0].read<float>(), std::vector<float>({4, 5}));
  EXPECT_EQ(b.exact[0].bytes().data(), b.changed[0].bytes().data());
  // Of fewer or more samples they are something else.
  EXPECT_FALSE(loadValues(*checkpoint, 3, 1, {f32, i64}, {&a, &b}));
  EXPECT_FALSE(loadValues(*checkpoint, 3, 3, {f32, i64}, {&a, &b}));
  removeValues(*checkpoint, 3);
  EXPECT_FALSE(loadValues(*checkpoint, 3, 2, {f32, i64}, {&a, &b}));
}

} // namespace
} // namespace pare
