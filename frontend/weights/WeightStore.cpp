//===- WeightStore.cpp - The bytes of weights, outside the IR -------------===//
#include "frontend/weights/WeightStore.h"
#include "frontend/ir/Shape.h"
#include "frontend/weights/Half.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include <cmath>

using namespace mlir;
namespace endian = llvm::support::endian;

namespace pare {

std::optional<uint64_t> getTensorBytes(ArrayRef<int64_t> shape, Type element) {
  uint64_t bytes = nn::getElementBytes(element);
  bool empty = llvm::is_contained(shape, 0);
  for (int64_t dim : shape) {
    if (dim < 0)
      return std::nullopt;
    if (empty)
      continue;
    if (__builtin_mul_overflow(bytes, uint64_t(dim), &bytes) ||
        bytes > uint64_t(INT64_MAX))
      return std::nullopt;
  }
  return empty ? 0 : bytes;
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

static double readFloat(FloatType type, const uint8_t *p) {
  if (type.isF32())
    return llvm::bit_cast<float>(endian::read32le(p));
  if (type.isF64())
    return llvm::bit_cast<double>(endian::read64le(p));
  if (type.isF16())
    return halfToFloat(endian::read16le(p));
  if (type.isBF16())
    return bfloatToFloat(endian::read16le(p));
  assert(type.getWidth() == 8 && "a float format without a reader");
  llvm::APFloat value(type.getFloatSemantics(), llvm::APInt(8, *p));
  bool lossy;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven,
                &lossy);
  return value.convertToDouble();
}

static double readInteger(IntegerType type, const uint8_t *p) {
  bool isUnsigned = type.isUnsigned();
  switch (type.getWidth()) {
  case 1:
    return *p != 0;
  case 8:
    return isUnsigned ? double(*p) : double(int8_t(*p));
  case 16:
    return isUnsigned ? double(endian::read16le(p))
                      : double(int16_t(endian::read16le(p)));
  case 32:
    return isUnsigned ? double(endian::read32le(p))
                      : double(int32_t(endian::read32le(p)));
  case 64:
    return isUnsigned ? double(endian::read64le(p))
                      : double(int64_t(endian::read64le(p)));
  }
  llvm_unreachable("an integer type without a reader");
}

TensorData TensorData::at(int64_t i) const {
  assert(i >= 0 && i < type.getDimSize(0) && "index out of range");
  TensorData part{RankedTensorType::get(type.getShape().drop_front(),
                                        type.getElementType()),
                  {},
                  storage};
  part.narrow = narrow;
  uint64_t size = bytes.size() / uint64_t(type.getDimSize(0));
  part.bytes = pieces.empty() ? bytes.slice(uint64_t(i) * size, size)
                              : pieces[size_t(i)];
  return part;
}

void TensorData::copyTo(MutableArrayRef<uint8_t> out) const {
  llvm::copy(bytes, out.begin());
  out = out.drop_front(bytes.size());
  for (ArrayRef<uint8_t> piece : pieces) {
    llvm::copy(piece, out.begin());
    out = out.drop_front(piece.size());
  }
  assert(out.empty() && "the output has another size");
}

double TensorData::get(int64_t i) const {
  Type element = type.getElementType();
  assert(i >= 0 && i < type.getNumElements() && "element out of range");
  if (!pieces.empty()) {
    int64_t each = type.getNumElements() / type.getDimSize(0);
    return at(i / each).get(i % each);
  }
  if (storage) {
    std::vector<float> block(storage->elements);
    storage->decode(
        bytes.slice(uint64_t(i) / storage->elements * storage->bytes,
                    storage->bytes),
        block);
    return block[uint64_t(i) % storage->elements];
  }
  if (narrow)
    element = narrow;
  const uint8_t *p = bytes.data() + uint64_t(i) * nn::getElementBytes(element);
  if (auto floating = dyn_cast<FloatType>(element))
    return readFloat(floating, p);
  return readInteger(cast<IntegerType>(element), p);
}

std::vector<float> TensorData::toF32() const {
  std::vector<float> values(type.getNumElements());
  toF32(values);
  return values;
}

void TensorData::toF32(MutableArrayRef<float> out) const {
  assert(int64_t(out.size()) == type.getNumElements());
  Type element = narrow ? narrow : type.getElementType();
  if (!pieces.empty()) {
    size_t each = out.size() / pieces.size();
    for (size_t i = 0; i < pieces.size(); ++i)
      at(int64_t(i)).toF32(out.slice(i * each, each));
  } else if (storage) {
    storage->decode(bytes, out);
  } else if (element.isF32()) {
    if (!out.empty())
      std::memcpy(out.data(), bytes.data(), bytes.size());
  } else if (element.isF16()) {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = halfToFloat(endian::read16le(bytes.data() + 2 * i));
  } else if (element.isBF16()) {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = bfloatToFloat(endian::read16le(bytes.data() + 2 * i));
  } else {
    for (auto [i, value] : llvm::enumerate(out))
      value = float(get(int64_t(i)));
  }
}

//===----------------------------------------------------------------------===//
// Store
//===----------------------------------------------------------------------===//

llvm::Error WeightStore::addView(StringRef name, RankedTensorType type,
                                 std::shared_ptr<MappedFile> file,
                                 uint64_t offset, uint64_t size) {
  std::optional<uint64_t> expected =
      getTensorBytes(type.getShape(), type.getElementType());
  if (expected != size)
    return llvm::createStringError(
        file->path() + ": tensor '" + name + "' at offset " +
        llvm::Twine(offset) + " has " + llvm::Twine(size) +
        " bytes, but its shape and type need " +
        (expected ? llvm::Twine(*expected) : llvm::Twine("more than 2^63")));
  return addData(name, {type, {}}, std::move(file), offset, size);
}

/// Bytes of a tensor in blocks; nullopt where rows are not whole blocks.
static std::optional<uint64_t> getBlockBytes(RankedTensorType type,
                                             const BlockStorage &storage) {
  assert(type.getElementType().isF32() && "blocks decode to f32");
  assert(type.getRank() > 0 && "blocks run along the last dimension");
  std::optional<uint64_t> elements =
      getTensorBytes(type.getShape(), type.getElementType());
  if (!elements || type.getShape().back() % storage.elements != 0)
    return std::nullopt;
  return *elements / sizeof(float) / storage.elements * storage.bytes;
}

llvm::Error WeightStore::addBlocks(StringRef name, RankedTensorType type,
                                   const BlockStorage &storage,
                                   std::shared_ptr<MappedFile> file,
                                   uint64_t offset, uint64_t size) {
  if (getBlockBytes(type, storage) != size)
    return llvm::createStringError(file->path() + ": tensor '" + name +
                                   "' at offset " + llvm::Twine(offset) +
                                   " has " + llvm::Twine(size) +
                                   " bytes, which its shape and blocks of " +
                                   storage.format.name + " do not give");
  return addData(name, {type, {}, &storage}, std::move(file), offset, size);
}

llvm::Error WeightStore::addData(StringRef name, TensorData data,
                                 std::shared_ptr<MappedFile> file,
                                 uint64_t offset, uint64_t size) {
  llvm::Expected<ArrayRef<uint8_t>> bytes =
      file->range(offset, size, ("tensor '" + name + "'").str());
  if (!bytes)
    return bytes.takeError();
  data.bytes = *bytes;
  auto [it, inserted] = tensors_.try_emplace(name);
  if (!inserted)
    return llvm::createStringError(file->path() + ": tensor '" + name +
                                   "' is there twice");
  it->second.data = data;
  it->second.file = std::move(file);
  return llvm::Error::success();
}

std::string WeightStore::addOwned(StringRef name, RankedTensorType type,
                                  std::vector<uint8_t> bytes) {
  assert(getTensorBytes(type.getShape(), type.getElementType()) ==
             bytes.size() &&
         "bytes do not fit the type");
  return addOwnedData(name, {type, {}}, std::move(bytes));
}

std::string WeightStore::addOwnedBlocks(StringRef name, RankedTensorType type,
                                        const BlockStorage &storage,
                                        std::vector<uint8_t> bytes) {
  assert(getBlockBytes(type, storage) == bytes.size() &&
         "bytes do not fit the type");
  return addOwnedData(name, {type, {}, &storage}, std::move(bytes));
}

std::string WeightStore::addOwnedData(StringRef name, TensorData data,
                                      std::vector<uint8_t> bytes) {
  std::string unique = getUnusedName(name);
  Entry &entry = tensors_[unique];
  entry.owned = std::make_unique<std::vector<uint8_t>>(std::move(bytes));
  entry.data = data;
  entry.data.bytes = *entry.owned;
  return unique;
}

std::string WeightStore::addOwned(StringRef name, RankedTensorType type,
                                  ArrayRef<float> values) {
  assert(type.getElementType().isF32() && "values are f32");
  std::vector<uint8_t> bytes(values.size() * sizeof(float));
  if (!bytes.empty())
    std::memcpy(bytes.data(), values.data(), bytes.size());
  return addOwned(name, type, std::move(bytes));
}

std::string WeightStore::getUnusedName(StringRef name) const {
  std::string unique = name.str();
  for (unsigned i = 1; tensors_.contains(unique); ++i)
    unique = (name + "." + llvm::Twine(i)).str();
  return unique;
}

std::optional<std::string> WeightStore::addWidened(StringRef name,
                                                   StringRef of) {
  const Entry &from = tensors_.find(of)->second;
  Type element = from.data.type.getElementType();
  if (!from.file || from.data.isEncoded() || !from.data.pieces.empty() ||
      !(element.isF16() || element.isBF16()))
    return std::nullopt;
  TensorData data = from.data;
  data.type = RankedTensorType::get(data.type.getShape(),
                                    Float32Type::get(element.getContext()));
  data.narrow = element;
  std::string unique = getUnusedName(name);
  Entry &entry = tensors_[unique];
  entry.data = std::move(data);
  entry.file = from.file; // entries stay where they are
  return unique;
}

llvm::Error WeightStore::stack(StringRef name, ArrayRef<std::string> parts) {
  assert(!parts.empty() && !contains(name) && "a new tensor of some");
  const TensorData &first = get(parts[0]);
  SmallVector<int64_t> shape{int64_t(parts.size())};
  llvm::append_range(shape, first.type.getShape());
  Entry whole;
  whole.data = {RankedTensorType::get(shape, first.type.getElementType()),
                {},
                first.storage};
  whole.data.narrow = first.narrow;
  for (const std::string &part : parts) {
    const TensorData &data = get(part);
    assert(data.pieces.empty() && "stacks are not stacked again");
    if (data.type != first.type || data.storage != first.storage ||
        data.narrow != first.narrow)
      return llvm::createStringError("tensors '" + parts[0] + "' and '" + part +
                                     "' must have one type and shape");
    whole.data.pieces.push_back(data.bytes);
  }
  for (const std::string &part : parts) {
    auto it = tensors_.find(part);
    whole.parts.push_back(std::move(it->second));
    tensors_.erase(it);
  }
  tensors_[name] = std::move(whole);
  return llvm::Error::success();
}

const TensorData &WeightStore::get(StringRef name) const {
  auto it = tensors_.find(name);
  assert(it != tensors_.end() && "no such weight");
  return it->second.data;
}

void WeightStore::Entry::release() const {
  if (file)
    file->release(data.bytes);
  for (const Entry &part : parts)
    part.release();
}

void WeightStore::release(StringRef name) const {
  tensors_.find(name)->second.release();
}

void WeightStore::erase(StringRef name) { tensors_.erase(name); }

/// Counts NaN and infinite values of a float tensor.
static void countNonFinite(const TensorData &data, uint64_t &nan,
                           uint64_t &inf) {
  Type element = data.narrow ? data.narrow : data.type.getElementType();
  if (!data.pieces.empty()) {
    for (int64_t i = 0; i < data.type.getDimSize(0); ++i)
      countNonFinite(data.at(i), nan, inf);
  } else if (data.storage) {
    for (float value : data.toF32()) {
      nan += std::isnan(value);
      inf += std::isinf(value);
    }
  } else if (element.isF32()) {
    for (size_t i = 0; i < data.bytes.size(); i += 4) {
      uint32_t bits = endian::read32le(data.bytes.data() + i);
      if ((bits & 0x7f800000u) == 0x7f800000u)
        ++(bits & 0x7fffffu ? nan : inf);
    }
  } else if (element.isF16() || element.isBF16()) {
    uint16_t exponent = element.isF16() ? 0x7c00 : 0x7f80;
    uint64_t special = 0;
    for (size_t i = 0; i < data.bytes.size(); i += 2) {
      uint16_t bits = endian::read16le(data.bytes.data() + i);
      special += (bits & exponent) == exponent;
    }
    for (size_t i = 0; special && i < data.bytes.size(); i += 2) {
      uint16_t bits = endian::read16le(data.bytes.data() + i);
      if ((bits & exponent) == exponent)
        ++(bits & ~exponent & 0x7fff ? nan : inf);
    }
  } else {
    for (int64_t i = 0, e = data.type.getNumElements(); i < e; ++i) {
      double value = data.get(i);
      nan += std::isnan(value);
      inf += std::isinf(value);
    }
  }
}

std::vector<WeightStore::NonFinite> WeightStore::findNonFinite() const {
  std::vector<NonFinite> found;
  for (const auto &item : tensors_) {
    const TensorData &data = item.getValue().data;
    NonFinite counts{item.getKey().str(), 0, 0};
    if (!isa<FloatType>(data.type.getElementType()))
      continue;
    countNonFinite(data, counts.nan, counts.inf);
    item.getValue().release();
    if (counts.nan || counts.inf)
      found.push_back(std::move(counts));
  }
  llvm::sort(found, [](const NonFinite &a, const NonFinite &b) {
    return a.name < b.name;
  });
  return found;
}

} // namespace pare
