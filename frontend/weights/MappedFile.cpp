//===- MappedFile.cpp - Read-only memory-mapped files ---------------------===//
#include "frontend/weights/WeightStore.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pare {

static llvm::Error cannotOpen(llvm::StringRef path, llvm::StringRef reason) {
  return llvm::createStringError("cannot read '" + path + "': " + reason);
}

llvm::Expected<std::shared_ptr<MappedFile>>
MappedFile::open(llvm::StringRef path) {
  int fd = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cannotOpen(path, std::strerror(errno));
  struct stat status;
  void *address = nullptr;
  std::string reason;
  if (::fstat(fd, &status) != 0)
    reason = std::strerror(errno);
  else if (!S_ISREG(status.st_mode))
    reason = S_ISDIR(status.st_mode) ? "it is a directory"
                                     : "it is not a regular file";
  else if (status.st_size > 0) {
    address =
        ::mmap(nullptr, size_t(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED)
      reason = std::strerror(errno);
  }
  ::close(fd);
  if (!reason.empty())
    return cannotOpen(path, reason);
  llvm::ArrayRef<uint8_t> bytes(static_cast<const uint8_t *>(address),
                                size_t(status.st_size));
  return std::shared_ptr<MappedFile>(new MappedFile(path, bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty())
    ::munmap(const_cast<uint8_t *>(bytes_.data()), bytes_.size());
}

llvm::Expected<llvm::ArrayRef<uint8_t>>
MappedFile::range(uint64_t offset, uint64_t size, llvm::StringRef what) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset)
    return llvm::createStringError(path_ + ": " + what + " needs " +
                                   llvm::Twine(size) + " bytes at offset " +
                                   llvm::Twine(offset) + ", but the file has " +
                                   llvm::Twine(bytes_.size()) + " bytes");
  return bytes_.slice(offset, size);
}

} // namespace pare
