//===- Reader.cpp - safetensors files -------------------------------------===//
#include "frontend/safetensors/Reader.h"
#include "frontend/Json.h"
#include "frontend/weights/Overlap.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <set>

using namespace mlir;

namespace pare::safetensors {

std::string joinPath(StringRef folder, StringRef name) {
  llvm::SmallString<128> full(folder);
  llvm::sys::path::append(full, name);
  return std::string(full);
}

/// Largest header, as the format's own reader allows.
static constexpr uint64_t maxHeaderBytes = 100'000'000;

static Type parseType(StringRef dtype, MLIRContext &context) {
  Builder b(&context);
  return llvm::StringSwitch<Type>(dtype)
      .Case("F64", b.getF64Type())
      .Case("F32", b.getF32Type())
      .Case("F16", b.getF16Type())
      .Case("BF16", b.getBF16Type())
      .Case("F8_E4M3", Float8E4M3FNType::get(&context))
      .Case("F8_E5M2", Float8E5M2Type::get(&context))
      .Case("I64", b.getI64Type())
      .Case("I32", b.getI32Type())
      .Case("I16", b.getIntegerType(16))
      .Case("I8", b.getI8Type())
      .Case("U64", b.getIntegerType(64, false))
      .Case("U32", b.getIntegerType(32, false))
      .Case("U16", b.getIntegerType(16, false))
      .Case("U8", b.getIntegerType(8, false))
      .Case("BOOL", b.getI1Type())
      .Default({});
}

static std::optional<SmallVector<int64_t>>
parseSizes(const llvm::json::Array *array) {
  if (!array)
    return std::nullopt;
  SmallVector<int64_t> sizes;
  for (const llvm::json::Value &value : *array) {
    std::optional<int64_t> size = value.getAsInteger();
    if (!size || *size < 0)
      return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

/// One entry of the header. `data` is where the data starts in the file.
static llvm::Expected<Tensor> parseTensor(const llvm::json::Value &value,
                                          uint64_t data,
                                          std::shared_ptr<MappedFile> file,
                                          StringRef where,
                                          MLIRContext &context) {
  auto fail = [&](const Twine &what) {
    return llvm::createStringError(where + " " + what);
  };
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return fail("is not described by a JSON object");
  std::optional<StringRef> dtype = object->getString("dtype");
  std::optional<SmallVector<int64_t>> shape =
      parseSizes(object->getArray("shape"));
  std::optional<SmallVector<int64_t>> offsets =
      parseSizes(object->getArray("data_offsets"));
  if (!dtype || !shape || !offsets || offsets->size() != 2)
    return fail("needs a dtype, a shape and two data_offsets");
  Type element = parseType(*dtype, context);
  if (!element)
    return fail("has the unknown dtype '" + *dtype + "'");
  uint64_t begin = uint64_t((*offsets)[0]), end = uint64_t((*offsets)[1]);
  if (begin > end || end > file->size() - data)
    return fail("has data_offsets " + Twine(begin) + ".." + Twine(end) +
                ", but the file holds " + Twine(file->size() - data) +
                " bytes of data");
  std::optional<uint64_t> bytes = getTensorBytes(*shape, element);
  if (bytes != end - begin)
    return fail("has " + Twine(end - begin) +
                " bytes, which its shape and dtype " + *dtype + " do not give");
  return Tensor{RankedTensorType::get(*shape, element), std::move(file),
                data + begin, end - begin};
}

/// Checks the tensors of `file` alone.
static llvm::Error checkOverlap(const Tensors &tensors,
                                const MappedFile &file) {
  std::vector<TensorRange> ranges;
  for (const auto &item : tensors)
    if (item.getValue().file.get() == &file)
      ranges.push_back(
          {item.getKey(), item.getValue().offset, item.getValue().size});
  llvm::sort(ranges, [](const TensorRange &a, const TensorRange &b) {
    return a.name < b.name;
  });
  return checkOverlap(file.path(), ranges);
}

llvm::Error readFile(StringRef path, MLIRContext &context, Tensors &tensors) {
  llvm::Expected<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  llvm::Expected<ArrayRef<uint8_t>> prefix =
      (*file)->range(0, 8, "the safetensors header length");
  if (!prefix)
    return prefix.takeError();
  uint64_t length = llvm::support::endian::read64le(prefix->data());
  if (length > maxHeaderBytes || length > (*file)->size() - 8)
    return llvm::createStringError(
        path + ": header length " + Twine(length) + " does not fit the " +
        Twine((*file)->size()) +
        " bytes of the file: not a whole safetensors "
        "file");
  llvm::Expected<llvm::json::Value> header =
      parseJson(llvm::toStringRef((*file)->bytes().slice(8, length)),
                (path + ": safetensors header").str());
  if (!header)
    return header.takeError();
  const llvm::json::Object *object = header->getAsObject();
  if (!object)
    return llvm::createStringError(path +
                                   ": the safetensors header is not an object");
  for (const auto &[key, value] : *object) {
    StringRef name = key;
    if (name == "__metadata__")
      continue;
    std::string where = (path + ": tensor '" + name + "'").str();
    llvm::Expected<Tensor> tensor =
        parseTensor(value, 8 + length, *file, where, context);
    if (!tensor)
      return tensor.takeError();
    if (!tensors.try_emplace(name, std::move(*tensor)).second)
      return llvm::createStringError(where + " is also in another shard");
  }
  return checkOverlap(tensors, **file);
}

llvm::Error readIndex(StringRef path, MLIRContext &context, Tensors &tensors) {
  llvm::Expected<llvm::json::Object> index = readJsonObject(path);
  if (!index)
    return index.takeError();
  const llvm::json::Object *map = index->getObject("weight_map");
  if (!map || map->empty())
    return llvm::createStringError(path + ": has no weight_map");
  std::set<std::string> shards;
  for (const auto &[name, shard] : *map) {
    std::optional<StringRef> file = shard.getAsString();
    if (!file)
      return llvm::createStringError(path + ": the shard of tensor '" +
                                     StringRef(name) + "' is not a file name");
    shards.insert(file->str());
  }
  StringRef folder = llvm::sys::path::parent_path(path);
  for (const std::string &shard : shards) {
    llvm::Expected<std::string> full = resolveInside(folder, shard, path);
    if (!full)
      return full.takeError();
    if (llvm::Error error = readFile(*full, context, tensors))
      return error;
  }
  for (const auto &[name, shard] : *map) {
    auto it = tensors.find(StringRef(name));
    if (it == tensors.end() ||
        llvm::sys::path::filename(it->getValue().file->path()) !=
            llvm::sys::path::filename(*shard.getAsString()))
      return llvm::createStringError(path + ": tensor '" + StringRef(name) +
                                     "' is not in its shard '" +
                                     *shard.getAsString() + "'");
  }
  return llvm::Error::success();
}

llvm::Expected<std::string> findTensorFile(StringRef folder) {
  for (StringRef name : {"model.safetensors", "model.safetensors.index.json"})
    if (std::string file = joinPath(folder, name); llvm::sys::fs::exists(file))
      return file;
  std::vector<std::string> found;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(folder, error), end;
       it != end && !error; it.increment(error))
    if (llvm::sys::path::extension(it->path()) == ".safetensors")
      found.push_back(it->path());
  if (found.size() == 1)
    return found.front();
  return llvm::createStringError(
      folder + ": " +
      (found.empty() ? "has no .safetensors file"
                     : "has several .safetensors files and no "
                       "model.safetensors.index.json; name one of them"));
}

llvm::Error readTensors(StringRef file, MLIRContext &context,
                        Tensors &tensors) {
  return file.ends_with(kIndexSuffix) ? readIndex(file, context, tensors)
                                      : readFile(file, context, tensors);
}

} // namespace pare::safetensors
