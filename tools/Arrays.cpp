//===- Arrays.cpp - Array files and pictures as tensors -------------------===//
#include "tools/Arrays.h"
#include "backends/cpu/DType.h"
#include "backends/runtime/Modules.h"
#include "backends/runtime/Npy.h"
#include "backends/runtime/Zip.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace llvm;

namespace pare::tools {

static mlir::Type getType(uint32_t dtype, mlir::Builder builder) {
  switch (dtype) {
  case PARE_F32:
    return builder.getF32Type();
  case PARE_F16:
    return builder.getF16Type();
  case PARE_BF16:
    return builder.getBF16Type();
  case PARE_F64:
    return builder.getF64Type();
  case PARE_I8:
    return builder.getI8Type();
  case PARE_U8:
    return builder.getIntegerType(8, false);
  case PARE_I16:
    return builder.getI16Type();
  case PARE_U16:
    return builder.getIntegerType(16, false);
  case PARE_I32:
    return builder.getI32Type();
  case PARE_U32:
    return builder.getIntegerType(32, false);
  case PARE_I64:
    return builder.getI64Type();
  case PARE_U64:
    return builder.getIntegerType(64, false);
  default:
    return builder.getI1Type();
  }
}

static Error fail(StringRef path, const rt::Message &cause) {
  return createStringError("'" + path + "' " + cause.c_str());
}

static Expected<std::unique_ptr<MemoryBuffer>> readFile(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return createStringError("cannot read '" + path +
                             "': " + buffer.getError().message());
  return std::move(*buffer);
}

static rt::Str getText(StringRef bytes) { return {bytes.data(), bytes.size()}; }

static Expected<HostTensor> parseArray(rt::Str file, StringRef path,
                                       mlir::MLIRContext &context) {
  rt::NpyView view;
  rt::Message cause;
  if (!rt::parseNpy(file, view, cause))
    return fail(path, cause);
  HostTensor tensor(mlir::RankedTensorType::get(
      ArrayRef(view.tensor.dims, view.tensor.rank),
      getType(view.tensor.dtype, mlir::Builder(&context))));
  rt::copyNpy(view, tensor.bytes().data());
  return tensor;
}

Expected<std::vector<NamedArray>> readArrays(StringRef path,
                                             mlir::MLIRContext &context) {
  auto buffer = readFile(path);
  if (!buffer)
    return buffer.takeError();
  rt::Str file = getText((*buffer)->getBuffer());
  std::vector<NamedArray> arrays;
  if (!file.startsWith("PK")) {
    Expected<HostTensor> tensor = parseArray(file, path, context);
    if (!tensor)
      return tensor.takeError();
    arrays.push_back({"", std::move(*tensor)});
    return std::move(arrays);
  }
  rt::ZipReader archive;
  rt::Message cause;
  if (!archive.open(file, cause))
    return fail(path, cause);
  while (archive.remaining()) {
    rt::ZipEntry entry;
    rt::Bytes member;
    if (!archive.next(entry, cause) || !rt::unpack(entry, member, cause))
      return fail(path, cause);
    StringRef name(entry.name.data, entry.name.size);
    name.consume_back(".npy");
    Expected<HostTensor> tensor = parseArray(member.str(), path, context);
    if (!tensor)
      return tensor.takeError();
    arrays.push_back({name.str(), std::move(*tensor)});
  }
  return std::move(arrays);
}

Error writeArray(StringRef path, const HostTensor &tensor) {
  PareTensor described = {};
  std::optional<PareDType> dtype = cpu::getDType(tensor.element());
  assert(dtype && tensor.shape().size() <= PARE_MAX_RANK);
  described.dtype = *dtype;
  described.rank = tensor.shape().size();
  copy(tensor.shape(), described.dims);
  char header[rt::kNpyHeaderBytes];
  uint64_t headerBytes = rt::npyHeader(described, header);
  rt::OutputFile file;
  rt::Message cause;
  ArrayRef<uint8_t> bytes = tensor.bytes();
  std::string name = path.str();
  if (!file.open(name.c_str(), cause) ||
      !file.write(header, headerBytes, cause) ||
      !file.write(bytes.data(), bytes.size(), cause) || !file.commit(cause))
    return createStringError(cause.c_str());
  return Error::success();
}

bool isPicture(StringRef path) {
  auto start = MemoryBuffer::getFileSlice(path, 4, 0);
  return start && ((*start)->getBuffer() == "\x89PNG" ||
                   (*start)->getBuffer().starts_with("\xff\xd8\xff"));
}

Expected<HostTensor> readPicture(StringRef path, const emit::ImageInput &image,
                                 mlir::Type element, int64_t rank) {
  auto buffer = readFile(path);
  if (!buffer)
    return buffer.takeError();
  rt::Str file = getText((*buffer)->getBuffer());
  PareImageInfo info = emit::getImageInfo(image, /*input=*/0);
  rt::Message cause;
  int64_t width = image.width, height = image.height, ownWidth, ownHeight;
  if (!pare_module_image.size(file, ownWidth, ownHeight, cause))
    return fail(path, cause);
  width = width ? width : ownWidth;
  height = height ? height : ownHeight;
  SmallVector<int64_t> shape;
  if (rank == 4)
    shape.push_back(1);
  if (image.nchw)
    shape.append({image.channels, height, width});
  else
    shape.append({height, width, image.channels});
  HostTensor tensor(mlir::RankedTensorType::get(shape, element));
  if (!pare_module_image.load(file, info, width, height,
                              element.isF32() ? PARE_F32 : PARE_U8,
                              tensor.bytes().data(), cause))
    return fail(path, cause);
  return tensor;
}

} // namespace pare::tools
