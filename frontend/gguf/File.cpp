//===- File.cpp - GGUF files ----------------------------------------------===//
#include "frontend/gguf/File.h"
#include "frontend/Importer.h"
#include "frontend/gguf/Layout.h"
#include "frontend/weights/Overlap.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

namespace endian = llvm::support::endian;
using llvm::ArrayRef;
using llvm::StringRef;
using llvm::Twine;

namespace pare::gguf {

/// Reads one GGUF file from the front. Every length and count is compared with
/// what is left before it is used.
class Reader {
public:
  explicit Reader(std::shared_ptr<MappedFile> file)
      : file_(std::move(file)), rest_(file_->bytes()),
        metadata_(file_->path().str()) {}

  llvm::Error read();

  Metadata &metadata() { return metadata_; }
  std::vector<Tensor> &tensors() { return tensors_; }
  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }

private:
  llvm::Error fail(const Twine &what) const {
    return llvm::createStringError(file_->path() + ": " + what);
  }
  /// The file ends, or is nonsense, within `what`.
  llvm::Error cut(const Twine &what) const {
    return fail("not a whole GGUF file: " + what + " at offset " +
                Twine(file_->size() - rest_.size()) + " does not fit the " +
                Twine(file_->size()) + " bytes of the file");
  }
  template <typename T> std::optional<T> take() {
    if (rest_.size() < sizeof(T))
      return std::nullopt;
    T value = endian::read<T, llvm::endianness::little>(rest_.data());
    rest_ = rest_.drop_front(sizeof(T));
    return value;
  }
  std::optional<StringRef> takeString() {
    std::optional<Value> value = Value::read(ValueType::String, rest_);
    return value ? value->getString() : std::nullopt;
  }
  llvm::Error readVersion();
  llvm::Error readMetadata(uint64_t count);
  llvm::Error readTensor(uint64_t index);
  llvm::Error placeTensors();

  std::shared_ptr<MappedFile> file_;
  ArrayRef<uint8_t> rest_;
  Metadata metadata_;
  std::vector<Tensor> tensors_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
};

llvm::Error Reader::readVersion() {
  constexpr uint32_t magic = 0x46554747; // "GGUF"
  if (take<uint32_t>() != magic)
    return fail("not a GGUF file: it does not start with GGUF");
  std::optional<uint32_t> version = take<uint32_t>();
  if (!version)
    return cut("the version");
  if (*version == 2 || *version == 3) {
    version_ = *version;
    return llvm::Error::success();
  }
  if (*version == 1)
    return fail("GGUF version 1 is not read; convert the model again");
  uint32_t swapped = llvm::byteswap(*version);
  if (swapped >= 1 && swapped <= 3)
    return fail("a big-endian GGUF file; convert it with gguf-convert-endian");
  return fail("GGUF version " + Twine(*version) +
              " is unknown; 2 and 3 are read");
}

llvm::Error Reader::readMetadata(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    std::optional<StringRef> key = takeString();
    if (!key)
      return cut("metadata key " + Twine(i) + " of " + Twine(count));
    std::optional<uint32_t> type = take<uint32_t>();
    if (!type)
      return cut("the value of metadata key '" + *key + "'");
    if (*type > uint32_t(ValueType::F64))
      return fail("metadata key '" + *key + "' has the unknown type " +
                  Twine(*type));
    std::optional<Value> value = Value::read(ValueType(*type), rest_);
    if (!value)
      return cut("the value of metadata key '" + *key + "'");
    if (!metadata_.add(*key, *value))
      return fail("metadata key '" + *key + "' is there twice");
  }
  constexpr int64_t maxAlignment = 1 << 30;
  llvm::Expected<int64_t> alignment =
      metadata_.getInteger("general.alignment", 1, maxAlignment, 32);
  if (!alignment)
    return alignment.takeError();
  if (!llvm::isPowerOf2_64(uint64_t(*alignment)))
    return fail("metadata key 'general.alignment' is " + Twine(*alignment) +
                ", which is not a power of two");
  alignment_ = uint64_t(*alignment);
  return llvm::Error::success();
}

/// One description; the offset is still relative to the data.
llvm::Error Reader::readTensor(uint64_t index) {
  constexpr uint32_t maxRank = 4;
  Tensor tensor{};
  std::optional<StringRef> name = takeString();
  if (!name)
    return cut("the name of tensor " + Twine(index));
  tensor.name = *name;
  std::string what = ("tensor '" + *name + "'").str();
  std::optional<uint32_t> rank = take<uint32_t>();
  if (!rank)
    return cut(what);
  if (*rank > maxRank)
    return fail(what + " has " + Twine(*rank) +
                " dimensions; GGUF allows 4 at most");
  for (uint32_t i = 0; i < *rank; ++i) {
    std::optional<uint64_t> dim = take<uint64_t>();
    if (!dim)
      return cut(what);
    if (*dim > uint64_t(INT64_MAX))
      return fail(what + " has a dimension of " + Twine(*dim));
    tensor.shape.insert(tensor.shape.begin(), int64_t(*dim));
  }
  std::optional<uint32_t> type = take<uint32_t>();
  std::optional<uint64_t> offset = take<uint64_t>();
  if (!type || !offset)
    return cut(what);
  tensor.type = findTensorType(*type);
  if (!tensor.type)
    return fail(what + " has the unknown type " + Twine(*type));
  std::optional<uint64_t> size = tensor.type->getBytes(tensor.shape);
  if (!size) {
    if (!tensor.shape.empty() &&
        tensor.shape.back() % tensor.type->elements != 0)
      return fail(what + " has rows of " + Twine(tensor.shape.back()) +
                  " elements, which are not whole blocks of " +
                  tensor.type->name + " (" + Twine(tensor.type->elements) +
                  " elements)");
    return fail(what + " has a size beyond 2^63 bytes");
  }
  tensor.offset = *offset;
  tensor.size = *size;
  tensor.file = file_;
  tensors_.push_back(std::move(tensor));
  return llvm::Error::success();
}

/// Makes offsets absolute and checks them.
llvm::Error Reader::placeTensors() {
  uint64_t data = llvm::alignTo(file_->size() - rest_.size(), alignment_);
  for (Tensor &tensor : tensors_) {
    std::string what = ("tensor '" + tensor.name + "'").str();
    if (tensor.offset % alignment_ != 0)
      return fail(what + " is at offset " + Twine(tensor.offset) +
                  " of the data, which is not a multiple of the alignment " +
                  Twine(alignment_));
    if (__builtin_add_overflow(tensor.offset, data, &tensor.offset))
      return fail(what + " has an offset beyond 2^64");
    if (tensor.size == 0)
      tensor.offset = 0;
    llvm::Expected<ArrayRef<uint8_t>> bytes =
        file_->range(tensor.offset, tensor.size, what);
    if (!bytes)
      return bytes.takeError();
  }
  return llvm::Error::success();
}

llvm::Error Reader::read() {
  if (llvm::Error error = readVersion())
    return error;
  std::optional<uint64_t> tensors = take<uint64_t>();
  std::optional<uint64_t> keys = take<uint64_t>();
  if (!tensors || !keys)
    return cut("the counts of tensors and metadata keys");
  // A key takes 13 bytes at least, a tensor 24.
  if (*keys > rest_.size() / 13)
    return fail("claims " + Twine(*keys) + " metadata keys, more than its " +
                Twine(file_->size()) + " bytes can hold");
  if (llvm::Error error = readMetadata(*keys))
    return error;
  if (*tensors > rest_.size() / 24)
    return fail("claims " + Twine(*tensors) + " tensors, more than its " +
                Twine(file_->size()) + " bytes can hold");
  for (uint64_t i = 0; i < *tensors; ++i)
    if (llvm::Error error = readTensor(i))
      return error;
  if (llvm::Error error = placeTensors())
    return error;
  std::vector<TensorRange> ranges;
  for (const Tensor &tensor : tensors_)
    ranges.push_back({tensor.name, tensor.offset, tensor.size});
  return checkOverlap(file_->path(), ranges);
}

//===----------------------------------------------------------------------===//
// File
//===----------------------------------------------------------------------===//

uint64_t Tensor::getNumElements() const {
  uint64_t count = 1;
  for (int64_t dim : shape)
    count *= uint64_t(dim);
  return count;
}

const Tensor *File::find(StringRef name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

/// Checks the split.* keys of shard `index` of `count`.
static llvm::Error checkShard(const Metadata &metadata, size_t index,
                              size_t count) {
  llvm::Expected<int64_t> claimed =
      metadata.getInteger("split.count", 0, INT64_MAX, count == 1 ? 1 : 0);
  if (!claimed)
    return claimed.takeError();
  llvm::Expected<int64_t> number =
      metadata.getInteger("split.no", 0, INT64_MAX, count == 1 ? 0 : INT64_MAX);
  if (!number)
    return number.takeError();
  if (count == 1 && *claimed <= 1)
    return llvm::Error::success();
  if (uint64_t(*claimed) != count || uint64_t(*number) != index)
    return llvm::createStringError(
        metadata.path() +
        ": its keys split.no and split.count do not say that "
        "it is shard " +
        Twine(index + 1) + " of " + Twine(count) +
        ", as its name does (NAME-00001-of-00003.gguf)");
  return llvm::Error::success();
}

llvm::Error File::addShard(std::shared_ptr<MappedFile> file, size_t count) {
  Reader reader(file);
  if (llvm::Error error = reader.read())
    return error;
  if (llvm::Error error = checkShard(reader.metadata(), files_.size(), count))
    return error;
  for (Tensor &tensor : reader.tensors()) {
    if (!index_.try_emplace(tensor.name, tensors_.size()).second)
      return llvm::createStringError(file->path() + ": tensor '" + tensor.name +
                                     "' is there twice");
    tensors_.push_back(std::move(tensor));
  }
  if (files_.empty()) {
    metadata_ = std::move(reader.metadata());
    version_ = reader.version();
    alignment_ = reader.alignment();
  }
  files_.push_back(std::move(file));
  return llvm::Error::success();
}

llvm::Error File::addShards(StringRef path) {
  llvm::Expected<Layout> layout = findLayout(path);
  if (!layout)
    return layout.takeError();
  if (!layout->parts.empty()) {
    llvm::Expected<std::shared_ptr<MappedFile>> mapped =
        MappedFile::openParts(layout->parts);
    return mapped ? addShard(std::move(*mapped), 1) : mapped.takeError();
  }
  for (const std::string &shard : layout->shards) {
    llvm::Expected<std::shared_ptr<MappedFile>> mapped =
        MappedFile::open(shard);
    if (!mapped)
      return mapped.takeError();
    if (llvm::Error error = addShard(std::move(*mapped), layout->shards.size()))
      return error;
  }
  llvm::Expected<int64_t> total = metadata_.getInteger(
      "split.tensors.count", 0, INT64_MAX, int64_t(tensors_.size()));
  if (!total)
    return total.takeError();
  if (uint64_t(*total) != tensors_.size())
    return llvm::createStringError(metadata_.path() +
                                   ": metadata key 'split.tensors.count' is " +
                                   Twine(*total) + ", but the shards have " +
                                   Twine(tensors_.size()) + " tensors");
  return llvm::Error::success();
}

llvm::Expected<File> File::open(StringRef path) {
  File file(path.str());
  if (llvm::Error error = file.addShards(path))
    return onOneLine(std::move(error));
  return file;
}

llvm::Error File::addTo(WeightStore &store, const Tensor &tensor,
                        mlir::MLIRContext &context) const {
  if (!tensor.type->isSupported())
    return llvm::createStringError(path() + ": tensor '" + tensor.name +
                                   "' has the type " + tensor.type->name +
                                   ", which is not supported");
  auto type = mlir::RankedTensorType::get(tensor.shape,
                                          tensor.type->getElementType(context));
  if (tensor.type->storage)
    return store.addBlocks(tensor.name, type, *tensor.type->storage,
                           tensor.file, tensor.offset, tensor.size);
  return store.addView(tensor.name, type, tensor.file, tensor.offset,
                       tensor.size);
}

} // namespace pare::gguf
