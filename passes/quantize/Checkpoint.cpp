//===- Checkpoint.cpp - Finished parts of a long run ----------------------===//
#include "passes/quantize/Checkpoint.h"
#include "frontend/ir/Shape.h"
#include "llvm/Support/EndianStream.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/xxhash.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

using namespace mlir;
namespace endian = llvm::support::endian;
namespace fs = llvm::sys::fs;

namespace pare {

constexpr uint64_t kAlign = 64;
constexpr StringLiteral kSuffix = ".part", kTemporary = ".tmp", kLock = "lock";

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

namespace {
class KeyBuilder {
public:
  void add(ArrayRef<uint8_t> bytes) {
    // A fast hash of what may be the whole model.
    llvm::XXH128_hash_t hash = llvm::xxh3_128bits(bytes);
    for (uint64_t word : {uint64_t(bytes.size()), hash.low64, hash.high64}) {
      uint8_t text[8];
      endian::write64le(text, word);
      hasher.update(ArrayRef<uint8_t>(text));
    }
  }
  void add(StringRef text) { add(llvm::arrayRefFromStringRef(text)); }
  RunKey finish() { return hasher.final(); }

private:
  llvm::SHA256 hasher;
};
} // namespace

RunKey makeRunKey(StringRef identity, ModuleOp module,
                  const WeightStore &weights, StringRef formats,
                  const encode::EncodeOptions &options,
                  ArrayRef<Sample> samples) {
  KeyBuilder key;
  key.add(identity);
  key.add(formats);
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << module;
  static_assert(sizeof(options) == 40, "what decides bytes is added here");
  stream << llvm::formatv("{0} {1} {2} {3} {4} {5} {6}", int(options.method),
                          int(options.scales), options.actOrder,
                          llvm::bit_cast<uint64_t>(options.damping),
                          llvm::bit_cast<uint64_t>(options.asymmetry),
                          options.sweeps, options.iterations);
  key.add(text);
  for (auto weight : module.getOps<nn::WeightOp>()) {
    const TensorData &data = weights.get(weight.getSymName());
    key.add(data.bytes);
    for (ArrayRef<uint8_t> piece : data.pieces)
      key.add(piece);
    weights.release(weight.getSymName());
  }
  for (const Sample &sample : samples)
    for (const HostTensor &tensor : sample) {
      text.clear();
      stream << tensor.type();
      key.add(text);
      key.add(tensor.bytes());
    }
  return key.finish();
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

namespace {
/// Of a part's file, little-endian, before its bytes.
struct Header {
  char magic[8];
  RunKey key;
  uint64_t size, hash, zero;
};
} // namespace
static_assert(sizeof(Header) == kAlign);
constexpr char kMagic[8] = {'P', 'A', 'R', 'E', 'P', 'T', '0', '1'};

uint64_t Checkpoint::Part::offset() { return sizeof(Header); }

ArrayRef<uint8_t> Checkpoint::Part::bytes() const {
  return file->bytes().drop_front(offset());
}

static llvm::Error fail(StringRef path) {
  int error = errno;
  return llvm::createStringError("cannot write '" + path +
                                 "': " + std::strerror(error));
}

/// Calls `visit` with the path of each part, whole or not.
static void forEachPart(StringRef folder,
                        llvm::function_ref<void(StringRef)> visit) {
  std::error_code error;
  std::vector<std::string> paths;
  for (fs::directory_iterator it(folder, error), end; it != end && !error;
       it.increment(error))
    if (StringRef path = it->path();
        path.ends_with(kSuffix) ||
        (path.ends_with(kTemporary) && path.contains(kSuffix)))
      paths.push_back(path.str());
  for (const std::string &path : paths)
    visit(path);
}

static std::string makePath(StringRef folder, const Twine &name) {
  SmallString<256> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

llvm::Expected<std::unique_ptr<Checkpoint>>
Checkpoint::open(const CheckpointOptions &options, const RunKey &key) {
  std::error_code error = fs::create_directory(options.folder);
  if (error || !fs::is_directory(options.folder))
    return llvm::createStringError(
        "cannot keep finished parts in '" + options.folder +
        "': " + (error ? error.message() : "it is not a folder"));
  std::string path = makePath(options.folder, kLock);
  int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0)
    return fail(path);
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(options, key, lock));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0)
    return llvm::createStringError(
        "another run works in '" + options.folder +
        "': let it finish, or give this one another folder (--checkpoints)");

  bool hasOthers = false;
  forEachPart(options.folder, [&](StringRef path) {
    auto file = MappedFile::open(path);
    bool isOwn =
        path.ends_with(kSuffix) && file && (*file)->size() >= sizeof(Header) &&
        std::memcmp(
            &reinterpret_cast<const Header *>((*file)->bytes().data())->key,
            key.data(), key.size()) == 0;
    if (!file)
      llvm::consumeError(file.takeError());
    // One under a temporary name is of this run or another; it is not whole.
    hasOthers |= !isOwn && path.ends_with(kSuffix);
    if (!isOwn)
      fs::remove(path);
  });
  if (hasOthers)
    checkpoint->say("'" + options.folder +
                    "' is of another model, version or set of options: "
                    "starting anew");
  return checkpoint;
}

Checkpoint::~Checkpoint() { ::close(lock); }

void Checkpoint::discard(StringRef folder) {
  std::string path = makePath(folder, kLock);
  int lock = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (lock < 0)
    return; // nothing of ours
  if (::flock(lock, LOCK_EX | LOCK_NB) == 0) {
    forEachPart(folder, [](StringRef part) { fs::remove(part); });
    fs::remove(path);
    fs::remove(folder); // fails where it is not empty
  }
  ::close(lock);
}

std::string Checkpoint::getPath(StringRef name) const {
  return makePath(options.folder, name + kSuffix);
}

void Checkpoint::remove(StringRef name) const { fs::remove(getPath(name)); }

std::optional<Checkpoint::Part> Checkpoint::find(StringRef name) const {
  std::string path = getPath(name);
  if (!fs::exists(path))
    return std::nullopt;
  if (auto file = MappedFile::open(path)) {
    Header header{};
    if ((*file)->size() >= sizeof(header))
      std::memcpy(&header, (*file)->bytes().data(), sizeof(header));
    Part part{*file};
    if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) == 0 &&
        header.key == key && header.zero == 0 &&
        header.size == (*file)->size() - sizeof(header) &&
        header.hash == llvm::xxh3_64bits(part.bytes())) {
      (*file)->release((*file)->bytes());
      return part;
    }
  } else {
    llvm::consumeError(file.takeError());
  }
  say("'" + path + "' is damaged: what it held is made again");
  fs::remove(path);
  return std::nullopt;
}

/// Flushes a folder's list of files to the disk.
static bool flushFolder(StringRef folder) {
  int fd = ::open(folder.str().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return false;
  // Some file systems cannot; they order renames themselves.
  bool done = ::fsync(fd) == 0 || errno == EINVAL;
  ::close(fd);
  return done;
}

llvm::Expected<Checkpoint::Part>
Checkpoint::save(StringRef name,
                 llvm::function_ref<void(llvm::raw_ostream &)> write) const {
  std::string path = getPath(name), temporary = path + kTemporary.str();
  int fd =
      ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return fail(temporary);
  auto finish = [&]() -> llvm::Expected<Part> {
    {
      llvm::raw_fd_ostream out(fd, /*shouldClose=*/false);
      out.write_zeros(sizeof(Header));
      write(out);
      out.flush();
      if (std::error_code error = out.error()) {
        out.clear_error();
        errno = error.value();
        return fail(temporary);
      }
    }
    auto file = MappedFile::open(temporary);
    if (!file)
      return file.takeError();
    Part part{*file};
    Header header{};
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
    header.key = key;
    header.size = part.bytes().size();
    header.hash = llvm::xxh3_64bits(part.bytes());
    if (::pwrite(fd, &header, sizeof(header), 0) != ssize_t(sizeof(header)) ||
        ::fsync(fd) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0 ||
        !flushFolder(options.folder))
      return fail(temporary);
    (*file)->release((*file)->bytes());
    return part;
  };
  llvm::Expected<Part> part = finish();
  ::close(fd);
  if (!part)
    fs::remove(temporary);
  return part;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Before a weight's blocks.
constexpr uint64_t kFactBytes = kAlign;

static std::string getWeightName(size_t index) {
  return llvm::formatv("weight-{0,0+5}", index);
}

std::optional<EncodedWeight> EncodedWeight::find(const Checkpoint &checkpoint,
                                                 size_t index, uint64_t size) {
  auto part = checkpoint.find(getWeightName(index));
  if (!part || part->bytes().size() != kFactBytes + size)
    return std::nullopt;
  const uint8_t *facts = part->bytes().data();
  EncodedWeight weight;
  weight.error = llvm::bit_cast<double>(endian::read64le(facts));
  weight.hasMoments = facts[8] != 0;
  weight.zeros = llvm::bit_cast<double>(endian::read64le(facts + 16));
  weight.part = std::move(part);
  return weight;
}

llvm::Error EncodedWeight::save(const Checkpoint &checkpoint, size_t index) {
  uint8_t facts[kFactBytes] = {};
  endian::write64le(facts, llvm::bit_cast<uint64_t>(error));
  facts[8] = hasMoments;
  endian::write64le(facts + 16, llvm::bit_cast<uint64_t>(zeros));
  auto saved =
      checkpoint.save(getWeightName(index), [&](llvm::raw_ostream &out) {
        out << llvm::toStringRef(ArrayRef<uint8_t>(facts))
            << llvm::toStringRef(bytes);
      });
  if (!saved)
    return saved.takeError();
  part = std::move(*saved);
  bytes = {};
  return llvm::Error::success();
}

llvm::Expected<std::string> EncodedWeight::addTo(WeightStore &store,
                                                 StringRef name,
                                                 RankedTensorType type,
                                                 const BlockStorage *storage) {
  if (!part)
    return storage
               ? store.addOwnedBlocks(name, type, *storage, std::move(bytes))
               : store.addOwned(name, type, std::move(bytes));
  std::string unique = store.getUnusedName(name);
  uint64_t offset = Checkpoint::Part::offset() + kFactBytes,
           size = part->bytes().size() - kFactBytes;
  if (llvm::Error error =
          storage ? store.addBlocks(unique, type, *storage, part->file, offset,
                                    size)
                  : store.addView(unique, type, part->file, offset, size))
    return std::move(error);
  return unique;
}

//===----------------------------------------------------------------------===//
// Values between layers
//===----------------------------------------------------------------------===//

/// Numbers, then zeros up to a multiple of 64 bytes.
static void writeWords(SmallVector<uint64_t> words, llvm::raw_ostream &out) {
  words.resize(llvm::alignTo(words.size() * 8, kAlign) / 8);
  for (uint64_t word : words)
    endian::write(out, word, llvm::endianness::little);
}

/// Tensors one after the other, each at a multiple of 64 bytes.
static void writeTensors(ArrayRef<HostTensor> tensors, llvm::raw_ostream &out) {
  for (const HostTensor &tensor : tensors) {
    SmallVector<uint64_t> shape = {uint64_t(tensor.shape().size())};
    llvm::append_range(shape, tensor.shape());
    writeWords(std::move(shape), out);
    ArrayRef<uint8_t> bytes = tensor.bytes();
    out << llvm::toStringRef(bytes);
    out.write_zeros(llvm::alignTo(bytes.size(), kAlign) - bytes.size());
  }
}

namespace {
/// Reads what writeTensors wrote; false where it is something else.
struct TensorReader {
  ArrayRef<uint8_t> bytes;

  std::optional<ArrayRef<uint8_t>> take(uint64_t size) {
    uint64_t whole = llvm::alignTo(size, kAlign);
    if (whole < size || whole > bytes.size())
      return std::nullopt;
    ArrayRef<uint8_t> taken = bytes.take_front(size);
    bytes = bytes.drop_front(whole);
    return taken;
  }

  bool read(size_t count, Type element, std::vector<HostTensor> &tensors) {
    tensors.clear();
    for (size_t i = 0; i < count; ++i) {
      uint64_t rank =
          bytes.size() < 8 ? UINT64_MAX : endian::read64le(bytes.data());
      auto words = rank > 64 ? std::nullopt : take(8 * (rank + 1));
      if (!words)
        return false;
      SmallVector<int64_t> shape;
      for (uint64_t axis = 1; axis <= rank; ++axis)
        shape.push_back(int64_t(endian::read64le(words->data() + 8 * axis)));
      std::optional<uint64_t> size = getTensorBytes(shape, element);
      auto data = size ? take(*size) : std::nullopt;
      if (!data)
        return false;
      tensors.push_back(HostTensor::view(
          TensorData{RankedTensorType::get(shape, element), *data}));
    }
    return true;
  }
};
} // namespace

/// Whether nothing was changed yet: both are the same tensors.
static bool isSame(const Paths &paths) {
  return llvm::equal(paths.exact, paths.changed,
                     [](const HostTensor &a, const HostTensor &b) {
                       return a.bytes().data() == b.bytes().data();
                     });
}

static std::string getValuesName(size_t layer) {
  return llvm::formatv("layer-{0,0+5}", layer);
}

/// Makes `values` views of `bytes`; false where those are something else.
static bool readValues(ArrayRef<uint8_t> bytes, size_t samples,
                       ArrayRef<Type> elements, ArrayRef<Paths *> values) {
  TensorReader reader{bytes};
  for (auto [element, paths] : llvm::zip_equal(elements, values)) {
    auto flag = reader.take(8);
    if (!flag || !reader.read(samples, element, paths->exact))
      return false;
    if (endian::read64le(flag->data()) != 0)
      paths->changed = paths->exact;
    else if (!reader.read(samples, element, paths->changed))
      return false;
  }
  return reader.bytes.empty();
}

llvm::Expected<Checkpoint::Part> saveValues(const Checkpoint &checkpoint,
                                            size_t layer,
                                            ArrayRef<Paths *> values) {
  size_t samples = 0;
  SmallVector<Type> elements;
  for (const Paths *paths : values) {
    samples = paths->exact.size();
    elements.push_back(paths->exact.front().element());
  }
  auto part =
      checkpoint.save(getValuesName(layer), [&](llvm::raw_ostream &out) {
        for (const Paths *paths : values) {
          writeWords({uint64_t(isSame(*paths))}, out);
          writeTensors(paths->exact, out);
          if (!isSame(*paths))
            writeTensors(paths->changed, out);
        }
      });
  if (!part)
    return part.takeError();
  [[maybe_unused]] bool isRead =
      readValues(part->bytes(), samples, elements, values);
  assert(isRead && "what was written cannot be read");
  return part;
}

std::optional<Checkpoint::Part> loadValues(const Checkpoint &checkpoint,
                                           size_t layer, size_t samples,
                                           ArrayRef<Type> elements,
                                           ArrayRef<Paths *> values) {
  auto part = checkpoint.find(getValuesName(layer));
  if (!part || !readValues(part->bytes(), samples, elements, values))
    return std::nullopt;
  return part;
}

void removeValues(const Checkpoint &checkpoint, size_t layer) {
  checkpoint.remove(getValuesName(layer));
}

} // namespace pare
