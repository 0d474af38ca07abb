//===- Calibration.cpp - The --calibrate option ---------------------------===//
#include "tools/Calibration.h"
#include "tools/Arrays.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace pare::tools {

/// Files of the given files and folders.
static Expected<std::vector<std::string>>
listFiles(ArrayRef<std::string> paths) {
  std::vector<std::string> files;
  for (const std::string &path : paths) {
    if (!sys::fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> members;
    std::error_code error;
    for (sys::fs::directory_iterator it(path, error), end; it != end && !error;
         it.increment(error))
      if (!sys::path::filename(it->path()).starts_with(".") &&
          sys::fs::is_regular_file(it->path()))
        members.push_back(it->path());
    if (error)
      return createStringError("--calibrate: cannot read '" + path +
                               "': " + error.message());
    if (members.empty())
      return createStringError("--calibrate: no files in '" + path + "'");
    llvm::sort(members);
    files.insert(files.end(), members.begin(), members.end());
  }
  return std::move(files);
}

namespace {
class Reader {
public:
  Reader(mlir::func::FuncOp entry, ArrayRef<emit::ImageInput> images)
      : entry(entry), images(images) {}
  Error read(StringRef path);
  std::vector<Sample> samples;

private:
  Expected<std::vector<NamedArray>> readArraysOf(StringRef path);
  void split(Sample sample);

  mlir::func::FuncOp entry;
  ArrayRef<emit::ImageInput> images;
};
} // namespace

Expected<std::vector<NamedArray>> Reader::readArraysOf(StringRef path) {
  if (!isPicture(path))
    return readArrays(path, *entry.getContext());
  if (images.empty())
    return createStringError("'" + path +
                             "' is a picture: say with --image how it becomes "
                             "an input");
  const emit::ImageInput &image = images.front();
  mlir::RankedTensorType type;
  for (mlir::BlockArgument arg : entry.getArguments())
    if (nn::getValueName(arg) == image.input)
      type = mlir::cast<mlir::RankedTensorType>(arg.getType());
  Expected<HostTensor> tensor =
      readPicture(path, image, type.getElementType(), type.getRank());
  if (!tensor)
    return tensor.takeError();
  return std::vector<NamedArray>{{image.input, std::move(*tensor)}};
}

/// Adds `sample`, in parts where its arrays hold several of a fixed batch.
void Reader::split(Sample sample) {
  int64_t parts = 0;
  for (auto [arg, tensor] : zip_equal(entry.getArguments(), sample)) {
    nn::Shape shape = nn::getShape(arg.getType());
    std::optional<int64_t> batch =
        shape.empty() ? std::nullopt : nn::getConstant(shape.front());
    if (!batch || tensor.shape().empty() || *batch == 0 ||
        tensor.shape().front() % *batch != 0 ||
        (parts && tensor.shape().front() / *batch != parts)) {
      samples.push_back(std::move(sample));
      return;
    }
    parts = tensor.shape().front() / *batch;
  }
  for (int64_t part = 0; part < parts; ++part) {
    Sample slice;
    for (const HostTensor &tensor : sample) {
      SmallVector<int64_t> shape(tensor.shape());
      shape.front() /= parts;
      HostTensor piece(mlir::RankedTensorType::get(shape, tensor.element()));
      size_t bytes = piece.bytes().size();
      llvm::copy(tensor.bytes().slice(part * bytes, bytes),
                 piece.bytes().begin());
      slice.push_back(std::move(piece));
    }
    samples.push_back(std::move(slice));
  }
}

Error Reader::read(StringRef path) {
  Expected<std::vector<NamedArray>> arrays = readArraysOf(path);
  if (!arrays)
    return createStringError("--calibrate: " + toString(arrays.takeError()));
  auto fail = [&](const Twine &message) {
    return createStringError("--calibrate: '" + path + "' " + message);
  };
  if (arrays->size() == 1 && arrays->front().name.empty()) {
    if (entry.getNumArguments() != 1)
      return fail("holds one array, the model has " +
                  Twine(entry.getNumArguments()) +
                  " inputs: give a .npz with one array per input");
    arrays->front().name = nn::getValueName(entry.getArgument(0)).str();
  }
  Sample sample;
  for (mlir::BlockArgument arg : entry.getArguments()) {
    StringRef name = nn::getValueName(arg);
    auto it =
        find_if(*arrays, [&](const NamedArray &a) { return a.name == name; });
    if (it == arrays->end())
      return fail("has no array '" + name + "'");
    mlir::Type element =
        mlir::cast<mlir::RankedTensorType>(arg.getType()).getElementType();
    if (it->tensor.element() != element) {
      std::string expected;
      raw_string_ostream(expected) << element;
      return fail("array '" + name + "' is not " + expected);
    }
    sample.push_back(it->tensor);
  }
  split(std::move(sample));
  return Error::success();
}

Expected<std::vector<Sample>> readCalibration(ArrayRef<std::string> paths,
                                              mlir::func::FuncOp entry,
                                              ArrayRef<emit::ImageInput> images,
                                              const ProgressFn &listener) {
  Expected<std::vector<std::string>> files = listFiles(paths);
  if (!files)
    return files.takeError();
  Reader reader(entry, images);
  PhaseProgress progress(listener, "read samples", files->size());
  for (const std::string &file : *files) {
    if (Error error = reader.read(file))
      return std::move(error);
    progress.finish();
  }
  return std::move(reader.samples);
}

} // namespace pare::tools
