//===- Calibration.cpp - The --calibrate option ---------------------------===//
#include "tools/Calibration.h"
#include "passes/reference/Interpreter.h"
#include "tools/Arrays.h"
#include <cmath>

using namespace llvm;

namespace pare::tools {

namespace {
class Reader {
public:
  Reader(const CalibrationOptions &options, Model &model,
         ArrayRef<emit::ImageInput> images, const ProgressFn &listener)
      : options(options), model(model), entry(nn::getEntry(*model.module)),
        images(images), listener(listener) {}
  Error read(ArrayRef<DataFile> files);
  CalibrationData data;

private:
  Error readTexts(ArrayRef<Document> documents);
  Error chunkTexts(ArrayRef<Document> documents,
                   const TextTokenizer &tokenizer);
  Error drawTexts(std::vector<Document> documents,
                  const TextTokenizer &tokenizer);
  Error readSamples(const DataFile &file);
  Expected<std::vector<NamedArray>> readArraysOf(const DataFile &file);
  void split(Sample sample, std::vector<Sample> &samples);
  Error check(const Sample &sample);

  const CalibrationOptions &options;
  Model &model;
  mlir::func::FuncOp entry;
  ArrayRef<emit::ImageInput> images;
  const ProgressFn &listener;
};
} // namespace

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

/// Language models: samples of `options.chunk` tokens.
Error Reader::chunkTexts(ArrayRef<Document> documents,
                         const TextTokenizer &tokenizer) {
  const DecoderInfo &decoder = *model.decoder;
  Expected<uint64_t> most = getMaxChunk(entry, decoder);
  if (!most)
    return most.takeError();
  uint64_t size = std::clamp<uint64_t>(options.chunk, 2, *most);
  Expected<TokenStream> stream =
      encodeAll(documents, tokenizer, decoder.vocabulary, listener);
  if (!stream)
    return stream.takeError();
  if (std::optional<std::string> strange = stream->findStrange())
    data.warnings.push_back(std::move(*strange));
  auto chunks = cutChunks(stream->tokens, size, tokenizer.getBegin(),
                          /*keepsRest=*/true);
  uint64_t wanted = std::max<uint64_t>(1, options.tokens / size);
  for (size_t index : drawSpread(chunks.size(), wanted, options.seed)) {
    data.tokens += chunks[index].size();
    data.samples.push_back(
        makeDecoderSample(entry, decoder, chunks[index], options.outputs));
  }
  return Error::success();
}

/// Sentence encoders: samples of the smallest batch.
Error Reader::drawTexts(std::vector<Document> documents,
                        const TextTokenizer &tokenizer) {
  Expected<EncoderShape> shape = getEncoderShape(entry, *model.encoder);
  if (!shape)
    return shape.takeError();
  TokenStream stream;
  std::vector<std::vector<int32_t>> texts;
  for (size_t index :
       drawSpread(documents.size(), options.texts, options.seed)) {
    const Document &document = documents[index];
    Expected<uint64_t> count =
        stream.add(document, tokenizer, shape->maxTokens);
    if (!count)
      return createStringError(document.where + ": " +
                               toString(count.takeError()));
    texts.push_back(ArrayRef(stream.tokens).take_back(*count).vec());
  }
  data.tokens = stream.tokens.size();
  if (std::optional<std::string> strange = stream.findStrange())
    data.warnings.push_back(std::move(*strange));
  auto batch = size_t(std::max<int64_t>(1, shape->batch.low));
  for (ArrayRef<std::vector<int32_t>> rest = texts; !rest.empty();
       rest = rest.drop_front(std::min(batch, rest.size())))
    data.samples.push_back(
        makeEncoderSample(entry, *shape, rest.take_front(batch), tokenizer));
  return Error::success();
}

Error Reader::readTexts(ArrayRef<Document> documents) {
  const std::vector<uint8_t> &table =
      model.decoder ? model.decoder->tokenizer : model.encoder->tokenizer;
  if (table.empty())
    return createStringError("texts need a tokenizer, which " + model.name +
                             " has not: give .npz files");
  Expected<TextTokenizer> tokenizer =
      TextTokenizer::open(table,
                          model.decoder ? ArrayRef(model.decoder->chatTemplate)
                                        : ArrayRef<uint8_t>(),
                          model.name);
  if (!tokenizer)
    return tokenizer.takeError();
  return model.decoder ? chunkTexts(documents, *tokenizer)
                       : drawTexts(documents, *tokenizer);
}

//===----------------------------------------------------------------------===//
// Arrays and pictures
//===----------------------------------------------------------------------===//

Expected<std::vector<NamedArray>> Reader::readArraysOf(const DataFile &file) {
  StringRef path = file.path;
  if (!file.isPicture())
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
void Reader::split(Sample sample, std::vector<Sample> &samples) {
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

/// Shapes within the entry's, and numbers that are numbers.
Error Reader::check(const Sample &sample) {
  if (Error error = bindSymbols(entry, sample).takeError())
    return error;
  for (auto [arg, tensor] : zip_equal(entry.getArguments(), sample)) {
    std::string name = ("input '" + nn::getValueName(arg) + "'").str();
    for (auto [axis, dim] : enumerate(nn::getShape(arg.getType()))) {
      DimBounds bounds = getBounds(entry, dim);
      int64_t size = tensor.shape()[axis];
      if (size < bounds.low || size > bounds.high)
        return createStringError(
            name + " has size " + Twine(size) + " on axis " + Twine(axis) +
            ", expected " + Twine(bounds.low) + " to " + Twine(bounds.high));
    }
    if (!mlir::isa<mlir::FloatType>(tensor.element()))
      continue;
    auto bad = count_if(tensor.read<float>(),
                        [](float value) { return !std::isfinite(value); });
    if (bad)
      return createStringError(name + " has " + Twine(bad) +
                               " values that are NaN or infinite");
  }
  return Error::success();
}

Error Reader::readSamples(const DataFile &file) {
  Expected<std::vector<NamedArray>> arrays = readArraysOf(file);
  if (!arrays)
    return arrays.takeError();
  auto fail = [&](const Twine &message) {
    return createStringError("'" + file.path + "' " + message);
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
    if (it->tensor.size() == 0)
      return fail("array '" + name + "' is empty");
    sample.push_back(it->tensor);
  }
  std::vector<Sample> samples;
  split(std::move(sample), samples);
  auto begin = size_t(file.begin * double(samples.size())),
       end = size_t(file.end * double(samples.size()));
  if (begin == end)
    return createStringError("this share of '" + file.path +
                             "' has no samples");
  for (Sample &part : MutableArrayRef(samples).slice(begin, end - begin)) {
    if (Error error = check(part))
      return fail(toString(std::move(error)));
    data.samples.push_back(std::move(part));
  }
  return Error::success();
}

Error Reader::read(ArrayRef<DataFile> files) {
  std::vector<Document> documents;
  bool readsTexts = model.decoder || model.encoder;
  {
    PhaseProgress progress(listener, "read samples", files.size());
    for (const DataFile &file : files) {
      bool isText = file.isText() || file.isJsonLines();
      if (isText && !readsTexts)
        return createStringError(
            "'" + file.path +
            "' is no array or picture, and the model has no tokenizer for "
            "texts: give .npz, .npy, PNG or JPEG files");
      if (Error error =
              isText ? readDocuments(file, bool(model.encoder), documents)
                     : readSamples(file))
        return error;
      progress.finish();
    }
  }
  return documents.empty() ? Error::success() : readTexts(documents);
}

Expected<CalibrationData> readCalibration(const CalibrationOptions &options,
                                          Model &model,
                                          ArrayRef<emit::ImageInput> images,
                                          const ProgressFn &listener) {
  auto fail = [](Error error) {
    return createStringError("--calibrate: " + toString(std::move(error)));
  };
  Expected<std::vector<DataFile>> files = findDataFiles(options.paths);
  if (!files)
    return fail(files.takeError());
  Reader reader(options, model, images, listener);
  if (Error error = reader.read(*files))
    return fail(std::move(error));
  return std::move(reader.data);
}

} // namespace pare::tools
