//===- MappedFile.cpp - Read-only memory-mapped files ---------------------===//
#include "frontend/weights/WeightStore.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Path.h"
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

/// An open regular file.
struct Descriptor {
  int fd;
  uint64_t size;
  explicit Descriptor(int fd) : fd(fd), size(0) {}
  Descriptor(Descriptor &&other)
      : fd(std::exchange(other.fd, -1)), size(other.size) {}
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};

static llvm::Expected<Descriptor> openRegular(llvm::StringRef path) {
  Descriptor file(::open(path.str().c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0)
    return cannotOpen(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    return cannotOpen(path, S_ISDIR(status.st_mode)
                                ? "it is a directory"
                                : "it is not a regular file");
  file.size = uint64_t(status.st_size);
  return file;
}

llvm::Expected<std::shared_ptr<MappedFile>>
MappedFile::open(llvm::StringRef path) {
  llvm::Expected<Descriptor> file = openRegular(path);
  if (!file)
    return file.takeError();
  void *address = nullptr;
  if (file->size > 0) {
    address = ::mmap(nullptr, file->size, PROT_READ, MAP_PRIVATE, file->fd, 0);
    if (address == MAP_FAILED)
      return cannotOpen(path, std::strerror(errno));
  }
  llvm::ArrayRef<uint8_t> bytes(static_cast<const uint8_t *>(address),
                                file->size);
  return std::shared_ptr<MappedFile>(new MappedFile(path, bytes));
}

/// Fills [to, to + size) with the file's bytes; false on an error in errno.
static bool readWhole(int fd, uint8_t *to, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    ssize_t count = ::pread(fd, to + done, size - done, off_t(done));
    if (count == 0)
      errno = EIO; // it shrank
    if (count == 0 || (count < 0 && errno != EINTR))
      return false;
    done += count > 0 ? uint64_t(count) : 0;
  }
  return true;
}

llvm::Expected<std::shared_ptr<MappedFile>>
MappedFile::openParts(llvm::ArrayRef<std::string> paths) {
  const uint64_t page = uint64_t(::sysconf(_SC_PAGESIZE));
  std::vector<Descriptor> files;
  uint64_t size = 0;
  bool onPages = true;
  for (const std::string &path : paths) {
    llvm::Expected<Descriptor> file = openRegular(path);
    if (!file)
      return file.takeError();
    onPages &= size % page == 0;
    if (__builtin_add_overflow(size, file->size, &size))
      return cannotOpen(path, "the parts are too large together");
    files.push_back(std::move(*file));
  }
  std::string all = paths.front();
  if (paths.size() > 1)
    all += " to " + llvm::sys::path::filename(paths.back()).str();
  if (size == 0)
    return std::shared_ptr<MappedFile>(new MappedFile(all, {}));

  void *address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    return cannotOpen(all, std::strerror(errno));
  auto *bytes = static_cast<uint8_t *>(address);
  std::shared_ptr<MappedFile> mapped(
      new MappedFile(all, llvm::ArrayRef<uint8_t>(bytes, size)));
  mapped->isCopy_ = !onPages;
  for (auto [path, file] : llvm::zip_equal(paths, files)) {
    bool read =
        file.size == 0 ||
        (onPages ? ::mmap(bytes, file.size, PROT_READ, MAP_PRIVATE | MAP_FIXED,
                          file.fd, 0) != MAP_FAILED
                 : readWhole(file.fd, bytes, file.size));
    if (!read)
      return cannotOpen(path, std::strerror(errno));
    bytes += file.size;
  }
  ::mprotect(address, size, PROT_READ);
  return mapped;
}

void MappedFile::release(llvm::ArrayRef<uint8_t> part) const {
  assert((part.empty() ||
          (part.begin() >= bytes_.begin() && part.end() <= bytes_.end())) &&
         "not of this file");
  if (part.empty() || isCopy_)
    return;
  auto page = uintptr_t(::sysconf(_SC_PAGESIZE));
  uintptr_t begin = reinterpret_cast<uintptr_t>(part.begin()) & ~(page - 1),
            end = reinterpret_cast<uintptr_t>(part.end());
  ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
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
