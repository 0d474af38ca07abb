#include "backends/runtime/Inflate.h"
#include "backends/runtime/Npy.h"
#include "backends/runtime/Zip.h"

#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace pare::rt;

namespace {

std::string dataPath(const std::string &name) {
  return std::string(TOY_DATA "/") + name;
}

/// The bytes of a test file, or of a text, that end at an inaccessible page:
/// reading beyond them ends the test.
class Guarded {
public:
  explicit Guarded(Str text) {
    EXPECT_TRUE(buffer.allocate(text.size, 1));
    memcpy(buffer.data, text.data, text.size);
    size = text.size;
  }
  ~Guarded() { buffer.release(); }
  Str str() const { return {static_cast<const char *>(buffer.data), size}; }

private:
  GuardedBuffer buffer;
  uint64_t size;
};

std::string readData(const std::string &name) {
  Bytes bytes;
  Message error;
  EXPECT_TRUE(readFile(dataPath(name).c_str(), bytes, error)) << error.c_str();
  return std::string(bytes.str().data, bytes.size);
}

Str strOf(const std::string &text) { return {text.data(), text.size()}; }

template <typename T> std::vector<T> valuesOf(const NpyView &view) {
  std::vector<T> values(view.tensor.bytes / sizeof(T));
  copyNpy(view, values.data());
  return values;
}

std::vector<int64_t> shapeOf(const NpyView &view) {
  return {view.tensor.dims, view.tensor.dims + view.tensor.rank};
}

NpyView parsed(const std::string &file) {
  NpyView view = {};
  Message error;
  EXPECT_TRUE(parseNpy(strOf(file), view, error)) << error.c_str();
  return view;
}

std::string errorOf(const std::string &file) {
  NpyView view;
  Message error;
  EXPECT_FALSE(parseNpy(strOf(file), view, error));
  return error.c_str();
}

/// All members of an archive; empty with `error` if it is damaged.
std::map<std::string, std::string> membersOf(Str file, Message &error) {
  std::map<std::string, std::string> members;
  ZipReader archive;
  if (!archive.open(file, error))
    return {};
  while (archive.remaining()) {
    ZipEntry entry;
    Bytes bytes;
    if (!archive.next(entry, error) || !unpack(entry, bytes, error))
      return {};
    members[std::string(entry.name.data, entry.name.size)] =
        std::string(bytes.str().data, bytes.size);
  }
  return members;
}

} // namespace

TEST(Npy, FilesThatNumPyWrote) {
  std::string file = readData("f32.npy");
  NpyView view = parsed(file);
  EXPECT_EQ(view.tensor.dtype, uint32_t(PARE_F32));
  EXPECT_EQ(shapeOf(view), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(valuesOf<float>(view),
            (std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1, 1.25f}));

  file = readData("fortran.npy");
  view = parsed(file);
  EXPECT_TRUE(view.fortran);
  EXPECT_EQ(shapeOf(view), (std::vector<int64_t>{2, 3, 4}));
  std::vector<int16_t> counting(24);
  std::iota(counting.begin(), counting.end(), int16_t(0));
  EXPECT_EQ(valuesOf<int16_t>(view), counting);

  file = readData("v2.npy");
  EXPECT_EQ(valuesOf<int64_t>(parsed(file)), (std::vector<int64_t>{1, -2, 3}));
  file = readData("v3.npy");
  view = parsed(file);
  EXPECT_EQ(view.tensor.dtype, uint32_t(PARE_BOOL));
  EXPECT_EQ(valuesOf<uint8_t>(view), (std::vector<uint8_t>{1, 0}));
  file = readData("scalar.npy");
  view = parsed(file);
  EXPECT_EQ(view.tensor.rank, 0u);
  EXPECT_EQ(valuesOf<double>(view), std::vector<double>{2.5});
  file = readData("empty.npy");
  view = parsed(file);
  EXPECT_EQ(shapeOf(view), (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(view.tensor.bytes, 0u);
}

TEST(Npy, RefusesWhatItCannotHold) {
  EXPECT_EQ(errorOf(readData("big_endian.npy")),
            "has elements of type '>f4', expected little-endian numbers");
  EXPECT_EQ(errorOf(readData("text.npy")),
            "has elements of type '<U2', expected little-endian numbers");
  EXPECT_EQ(errorOf(readData("structured.npy")),
            "holds structured records, not numbers");
  EXPECT_EQ(errorOf("PNG"), "is not a .npy file");
  EXPECT_EQ(errorOf(readData("f32.npy") + "x"),
            "is damaged: 25 bytes of data, its shape needs 24");
}

TEST(Npy, CutAnywhere) {
  for (const char *name : {"f32.npy", "v2.npy", "v3.npy", "fortran.npy"}) {
    std::string file = readData(name);
    for (size_t size = 0; size < file.size(); ++size) {
      Guarded cut({file.data(), size});
      NpyView view;
      Message error;
      EXPECT_FALSE(parseNpy(cut.str(), view, error)) << name << ' ' << size;
      EXPECT_FALSE(error.empty());
    }
  }
}

TEST(Npy, AnyByteChanged) {
  std::string file = readData("v2.npy");
  for (size_t at = 0; at < file.size(); ++at)
    for (char value : {'\0', '\1', '\'', '(', ',', '9', 'L', '\x7f', '\xff'}) {
      std::string changed = file;
      changed[at] = value;
      Guarded guarded(strOf(changed));
      NpyView view;
      Message error;
      if (parseNpy(guarded.str(), view, error))
        valuesOf<uint8_t>(view);
      else
        EXPECT_FALSE(error.empty());
    }
}

TEST(Npy, ShapesThatOverflow) {
  auto withShape = [](const std::string &shape) {
    std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       shape + "), }\n";
    std::string file("\x93NUMPY\x01\x00", 8);
    file += char(dict.size());
    file += '\0';
    return file + dict;
  };
  EXPECT_EQ(errorOf(withShape("4611686018427387904, 4")),
            "has a shape too large to hold");
  EXPECT_EQ(errorOf(withShape("99999999999999999999,")),
            "has a damaged shape, or one of more than 8 axes");
  EXPECT_EQ(errorOf(withShape("-1,")),
            "has a damaged shape, or one of more than 8 axes");
  EXPECT_EQ(errorOf(withShape("1,1,1,1,1,1,1,1,1")),
            "has a damaged shape, or one of more than 8 axes");
  EXPECT_EQ(errorOf(withShape("1")), "is cut short: 0 bytes of data, its shape "
                                     "needs 4");
}

TEST(Npy, HeaderEqualsNumPys) {
  std::string file = readData("f32.npy");
  NpyView view = parsed(file);
  char header[kNpyHeaderBytes];
  uint64_t size = npyHeader(view.tensor, header);
  EXPECT_EQ(std::string(header, size), file.substr(0, size));
  EXPECT_EQ(size + view.tensor.bytes, file.size());
}

TEST(Npy, HeaderRoundTripsEveryType) {
  for (uint32_t dtype = PARE_F32; dtype <= PARE_BOOL; ++dtype)
    for (uint32_t rank = 0; rank <= PARE_MAX_RANK; ++rank) {
      PareTensor tensor = {};
      tensor.dtype = dtype;
      tensor.rank = rank;
      for (uint32_t i = 0; i < rank; ++i)
        tensor.dims[i] = i == 0 ? 3 : 1;
      char header[kNpyHeaderBytes];
      uint64_t size = npyHeader(tensor, header);
      EXPECT_EQ(size % 64, 0u);
      std::string file(header, size);
      file.append((rank ? 3 : 1) * pare_dtype_bytes(dtype), '\0');
      NpyView view = parsed(file);
      EXPECT_EQ(view.tensor.dtype, dtype);
      EXPECT_EQ(view.tensor.rank, rank);
    }
}

TEST(Zip, FilesThatNumPyWrote) {
  Message error;
  std::string file = readData("stored.npz");
  auto members = membersOf(strOf(file), error);
  ASSERT_EQ(members.size(), 2u) << error.c_str();
  EXPECT_EQ(members["x.npy"], readData("f32.npy"));
  EXPECT_EQ(valuesOf<int64_t>(parsed(members["ids.npy"])),
            (std::vector<int64_t>{5, 6}));

  file = readData("deflated.npz");
  members = membersOf(strOf(file), error);
  ASSERT_EQ(members.size(), 2u) << error.c_str();
  std::vector<int32_t> x = valuesOf<int32_t>(parsed(members["x.npy"]));
  ASSERT_EQ(x.size(), 2000u);
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(x[i], int32_t(i % 17));
}

TEST(Zip, CutAnywhere) {
  for (const char *name : {"stored.npz", "deflated.npz"}) {
    std::string file = readData(name);
    for (size_t size = 0; size < file.size(); ++size) {
      Guarded cut({file.data(), size});
      Message error;
      EXPECT_TRUE(membersOf(cut.str(), error).empty()) << name << ' ' << size;
      EXPECT_FALSE(error.empty());
    }
  }
}

TEST(Zip, AnyByteChanged) {
  std::mt19937 random(3);
  for (const char *name : {"stored.npz", "deflated.npz"}) {
    std::string file = readData(name);
    for (size_t at = 0; at < file.size(); ++at)
      for (int round = 0; round < 6; ++round) {
        std::string changed = file;
        changed[at] = char(round == 0 ? 0xff : random());
        Guarded guarded(strOf(changed));
        Message error;
        for (auto &[member, bytes] : membersOf(guarded.str(), error)) {
          NpyView view;
          Message cause;
          parseNpy(strOf(bytes), view, cause);
        }
      }
  }
}

TEST(Inflate, RandomStreams) {
  std::mt19937 random(11);
  std::vector<uint8_t> out(300);
  for (int round = 0; round < 20000; ++round) {
    std::string stream(1 + random() % 60, '\0');
    for (char &c : stream)
      c = char(random());
    // A dynamic block more often than chance has it.
    if (round % 2)
      stream[0] = char((stream[0] & ~7) | 5);
    inflate(strOf(stream), out.data(), out.size());
  }
}

TEST(Inflate, Crc) {
  EXPECT_EQ(crc32(0, "123456789", 9), 0xcbf43926u);
  EXPECT_EQ(crc32(crc32(0, "1234", 4), "56789", 5), 0xcbf43926u);
}

namespace {
class OutputTest : public testing::Test {
protected:
  std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                 ("pare-output-" + std::to_string(getpid()));
  Message error;
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  size_t filesLeft() {
    return size_t(std::distance(std::filesystem::directory_iterator(folder),
                                std::filesystem::directory_iterator()));
  }
};
} // namespace

TEST_F(OutputTest, ArchiveRoundTrip) {
  std::vector<float> values(10000);
  std::iota(values.begin(), values.end(), 0.5f);
  PareTensor tensor = {};
  tensor.data = values.data();
  tensor.bytes = values.size() * sizeof(float);
  tensor.rank = 2;
  tensor.dims[0] = 100;
  tensor.dims[1] = 100;
  std::string contents[2];
  for (int round = 0; round < 2; ++round) {
    std::string path = (folder / "out.npz").string();
    OutputFile file;
    ZipWriter archive(file);
    ASSERT_TRUE(file.open(path.c_str(), error) &&
                archive.add("layer/y", tensor, error) &&
                archive.add("z", tensor, error) && archive.finish(error));
    if (round == 0) {
      EXPECT_FALSE(std::filesystem::exists(path)); // not before commit
    }
    ASSERT_TRUE(file.commit(error));
    EXPECT_EQ(filesLeft(), 1u);
    Bytes bytes;
    ASSERT_TRUE(readFile(path.c_str(), bytes, error));
    contents[round] = std::string(bytes.str().data, bytes.size);
  }
  EXPECT_EQ(contents[0], contents[1]);
  auto members = membersOf(strOf(contents[0]), error);
  ASSERT_EQ(members.size(), 2u) << error.c_str();
  NpyView view = parsed(members["layer/y.npy"]);
  EXPECT_EQ(shapeOf(view), (std::vector<int64_t>{100, 100}));
  EXPECT_EQ(valuesOf<float>(view), values);
}

TEST_F(OutputTest, NothingIsLeftWithoutCommit) {
  std::string path = (folder / "out").string();
  {
    OutputFile file;
    ASSERT_TRUE(file.open(path.c_str(), error));
    ASSERT_TRUE(file.write("abc", 3, error));
    EXPECT_EQ(filesLeft(), 1u);
  }
  EXPECT_EQ(filesLeft(), 0u);
}

TEST_F(OutputTest, Failures) {
  OutputFile missing;
  std::string path = (folder / "no/such").string();
  EXPECT_FALSE(missing.open(path.c_str(), error));
  EXPECT_NE(std::string(error.c_str()).find("no such file or folder"),
            std::string::npos);
  OutputFile isFolder;
  EXPECT_FALSE(isFolder.open(folder.c_str(), error));
  EXPECT_NE(std::string(error.c_str()).find("is a folder"), std::string::npos);

  OutputFile full;
  ASSERT_TRUE(full.open("/dev/full", error)) << error.c_str();
  EXPECT_TRUE(full.write("abc", 3, error));
  EXPECT_FALSE(full.commit(error));
  EXPECT_NE(std::string(error.c_str()).find("no space left"),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}
