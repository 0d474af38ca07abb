//===- ProgramTest.h - Running programs in tests ----------------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_RUNTIME_PROGRAMTEST_H
#define PARE_TESTS_UNIT_RUNTIME_PROGRAMTEST_H

#include "backends/runtime/Npy.h"
#include "backends/runtime/Zip.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace pare::rt;

struct Ran {
  int code;
  std::string out, error;
};

class ProgramTest : public testing::Test {
protected:
  std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                 ("pare-program-" + std::to_string(getpid()));
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string path(const std::string &name) { return (folder / name).string(); }

  static std::string readText(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  /// Runs a shell command line that starts with a program's name.
  Ran run(const std::string &line) {
    std::string command =
        TOY_PROGRAMS "/" + line + " >" + path("out") + " 2>" + path("err");
    int status = system(command.c_str());
    Ran ran{WIFEXITED(status) ? WEXITSTATUS(status) : -1, readText(path("out")),
            readText(path("err"))};
    std::filesystem::remove(path("out"));
    std::filesystem::remove(path("err"));
    return ran;
  }

  /// Expects exit code 1, nothing on standard output and one line of error.
  void expectError(const std::string &line, const std::string &message) {
    Ran ran = run(line);
    EXPECT_EQ(ran.code, 1) << line;
    EXPECT_EQ(ran.out, "") << line;
    EXPECT_EQ(ran.error,
              line.substr(0, line.find(' ')) + ": error: " + message + "\n");
  }

  template <typename T>
  void writeNpy(const std::string &name, uint32_t dtype,
                const std::vector<int64_t> &shape, const std::vector<T> &data) {
    PareTensor tensor = {};
    tensor.dtype = dtype;
    tensor.rank = uint32_t(shape.size());
    std::copy(shape.begin(), shape.end(), tensor.dims);
    char header[kNpyHeaderBytes];
    uint64_t size = npyHeader(tensor, header);
    std::ofstream file(path(name), std::ios::binary);
    file.write(header, std::streamsize(size));
    file.write(reinterpret_cast<const char *>(data.data()),
               std::streamsize(data.size() * sizeof(T)));
  }

  std::map<std::string, std::string> readNpz(const std::string &path) {
    std::string text = readText(path);
    std::map<std::string, std::string> members;
    ZipReader archive;
    Message error;
    EXPECT_TRUE(archive.open({text.data(), text.size()}, error));
    while (archive.remaining()) {
      ZipEntry entry;
      Bytes bytes;
      bool good = archive.next(entry, error) && unpack(entry, bytes, error);
      EXPECT_TRUE(good) << error.c_str();
      if (!good)
        break;
      members[std::string(entry.name.data, entry.name.size)] =
          std::string(bytes.str().data, bytes.size);
    }
    return members;
  }
  template <typename T> std::vector<T> valuesOf(const std::string &npy) {
    NpyView view;
    Message error;
    EXPECT_TRUE(parseNpy({npy.data(), npy.size()}, view, error))
        << error.c_str();
    std::vector<T> values(view.tensor.bytes / sizeof(T));
    copyNpy(view, values.data());
    return values;
  }
};

inline bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

#endif
