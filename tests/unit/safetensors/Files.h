//===- Files.h - Small model files for tests --------------------*- C++ -*-===//
#ifndef PARE_TESTS_SAFETENSORS_FILES_H
#define PARE_TESTS_SAFETENSORS_FILES_H

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <cstring>
#include <string>
#include <vector>

namespace pare {

/// A folder that goes away with the test.
class TemporaryFolder {
public:
  TemporaryFolder() {
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("pare-test", path_));
  }
  ~TemporaryFolder() { llvm::sys::fs::remove_directories(path_); }

  std::string path() const { return std::string(path_); }
  std::string path(llvm::StringRef name) const {
    llvm::SmallString<128> full(path_);
    llvm::sys::path::append(full, name);
    return std::string(full);
  }
  /// Writes a file, its folders included; returns its path.
  std::string write(llvm::StringRef name, llvm::StringRef text) const {
    std::string full = path(name);
    EXPECT_FALSE(
        llvm::sys::fs::create_directories(llvm::sys::path::parent_path(full)));
    // A new file: overwriting one makes file systems flush it.
    llvm::sys::fs::remove(full);
    std::error_code error;
    llvm::raw_fd_ostream(full, error) << text;
    EXPECT_FALSE(error) << error.message();
    return full;
  }

private:
  llvm::SmallString<128> path_;
};

/// Header length, header, data.
inline std::string makeSafetensors(llvm::StringRef header,
                                   llvm::StringRef data) {
  std::string file(8, '\0');
  llvm::support::endian::write64le(file.data(), header.size());
  return file + header.str() + data.str();
}

/// A file of f32 tensors that hold 0, 1, 2, ….
inline std::string makeSafetensors(
    llvm::ArrayRef<std::pair<std::string, std::vector<int64_t>>> tensors) {
  std::string header = "{", data;
  for (const auto &[name, shape] : tensors) {
    size_t begin = data.size();
    int64_t count = 1;
    std::string sizes;
    for (int64_t size : shape) {
      count *= size;
      sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
    }
    for (int64_t i = 0; i < count; ++i) {
      float value = float(i);
      data.append(reinterpret_cast<const char *>(&value), sizeof(value));
    }
    header += (header.size() > 1 ? ",\"" : "\"") + name +
              R"(":{"dtype":"F32","shape":[)" + sizes +
              R"(],"data_offsets":[)" + std::to_string(begin) + "," +
              std::to_string(data.size()) + "]}";
  }
  return makeSafetensors(header + "}", data);
}

} // namespace pare

#endif
