//===- GgufImporter.cpp - GGUF models -------------------------------------===//
#include "frontend/gguf/GgufImporter.h"
#include "frontend/decoder/Builder.h"
#include "frontend/gguf/File.h"
#include "frontend/gguf/Vocabulary.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include <map>

namespace pare {
namespace {

using llvm::StringRef;

/// Types of blocks that cannot be taken apart, and an unknown architecture.
llvm::Expected<std::vector<Unsupported>> list(const gguf::File &file) {
  std::map<StringRef, unsigned> types;
  for (const gguf::Tensor &tensor : file.tensors())
    if (!tensor.type->isSupported())
      ++types[tensor.type->name];
  std::vector<Unsupported> unsupported;
  for (auto [name, count] : types)
    unsupported.push_back(
        {("tensor type " + name).str(), count, "no decoder of its blocks"});
  llvm::Expected<StringRef> architecture =
      file.metadata().getString("general.architecture");
  if (!architecture)
    return architecture.takeError();
  std::string name = ("architecture '" + *architecture + "'").str();
  if (!decoder::isKnownGgufArchitecture(*architecture)) {
    unsupported.push_back(
        {name, 1, "known are " + decoder::getKnownGgufArchitectures()});
    return unsupported;
  }
  if (llvm::Error error = decoder::readConfig(file).takeError())
    return std::move(error);
  return unsupported;
}

class GgufSource : public decoder::TensorSource {
public:
  GgufSource(const gguf::File &file, decoder::Architecture architecture,
             GraphBuilder &builder)
      : file(file), architecture(architecture), builder(builder) {}

  llvm::Expected<std::string> load(const decoder::TensorName &name,
                                   llvm::ArrayRef<int64_t> shape) override {
    std::string text =
        *getTensorName(name, decoder::Naming::Gguf, architecture);
    const gguf::Tensor *tensor = file.find(text);
    if (!tensor)
      return llvm::createStringError(file.path() + ": tensor '" + text +
                                     "' is missing");
    if (tensor->shape != shape)
      return llvm::createStringError(
          file.path() + ": tensor '" + text + "' has shape " +
          printShape(tensor->shape) + ", expected " + printShape(shape));
    loaded.insert(text);
    if (!builder.getStore().contains(text))
      if (llvm::Error error =
              file.addTo(builder.getStore(), *tensor, *builder.getContext()))
        return std::move(error);
    return text;
  }

  std::optional<std::string>
  find(const decoder::TensorName &name) const override {
    std::optional<std::string> text =
        getTensorName(name, decoder::Naming::Gguf, architecture);
    return text && file.find(*text) ? text : std::nullopt;
  }

  decoder::Naming getNaming() const override { return decoder::Naming::Gguf; }

  StringRef getPath() const override { return file.path(); }

  std::vector<std::string> findUnused() const override {
    std::vector<std::string> unused;
    for (const gguf::Tensor &tensor : file.tensors())
      if (!loaded.contains(tensor.name))
        unused.push_back(tensor.name.str());
    return unused;
  }

private:
  const gguf::File &file;
  decoder::Architecture architecture;
  GraphBuilder &builder;
  llvm::StringSet<> loaded;
};

/// Builds the graph of a file that list() has nothing against.
llvm::Expected<Model> build(const gguf::File &file,
                            const ImportOptions &options,
                            mlir::MLIRContext &context) {
  llvm::Expected<decoder::DecoderConfig> config = decoder::readConfig(file);
  if (!config)
    return config.takeError();
  llvm::Expected<std::vector<uint8_t>> tokenizer =
      gguf::buildTokenizerTable(file.metadata(), {/*decodes=*/true});
  if (!tokenizer)
    return tokenizer.takeError();
  Model model;
  model.weights = std::make_shared<WeightStore>();
  model.name = getModelName(file.path());
  model.format = "gguf";
  GraphBuilder builder(context, model.weights);
  GgufSource source(file, config->architecture, builder);
  if (llvm::Error error =
          decoder::importDecoder(*config, options, source, builder, model))
    return std::move(error);
  model.decoder->tokenizer = std::move(*tokenizer);
  // Without it the model still generates.
  llvm::Expected<std::vector<uint8_t>> chatTemplate =
      gguf::buildChatTemplate(file.metadata());
  if (chatTemplate)
    model.decoder->chatTemplate = std::move(*chatTemplate);
  else
    model.warnings.push_back(llvm::toString(chatTemplate.takeError()) +
                             "; `chat` will use ChatML's");
  llvm::Expected<std::vector<int32_t>> stops = gguf::readStops(file.metadata());
  if (!stops)
    return stops.takeError();
  model.decoder->stops = std::move(*stops);
  return model;
}

class GgufImporter : public Importer {
public:
  StringRef name() const override { return "gguf"; }

  bool recognizes(StringRef path) const override {
    if (llvm::sys::fs::is_directory(path)) {
      std::error_code error;
      for (llvm::sys::fs::directory_iterator it(path, error), end;
           it != end && !error; it.increment(error))
        if (gguf::isGgufName(it->path()))
          return true;
      return false;
    }
    if (gguf::isGgufName(path))
      return true;
    llvm::Expected<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
    if (!file) {
      llvm::consumeError(file.takeError());
      return false;
    }
    return llvm::toStringRef((*file)->bytes()).starts_with("GGUF");
  }

  llvm::Expected<Model> import(StringRef path, const ImportOptions &options,
                               mlir::MLIRContext &context) const override {
    llvm::Expected<gguf::File> file = gguf::File::open(path);
    if (!file)
      return file.takeError();
    llvm::Expected<std::vector<Unsupported>> unsupported = list(*file);
    if (!unsupported)
      return onOneLine(unsupported.takeError());
    if (!unsupported->empty())
      return onOneLine(makeUnsupportedError(path, *unsupported));
    llvm::Expected<Model> model = build(*file, options, context);
    if (!model)
      return onOneLine(model.takeError());
    return model;
  }

  llvm::Expected<std::vector<Unsupported>>
  findUnsupported(StringRef path) const override {
    llvm::Expected<gguf::File> file = gguf::File::open(path);
    if (!file)
      return file.takeError();
    llvm::Expected<std::vector<Unsupported>> unsupported = list(*file);
    if (!unsupported)
      return onOneLine(unsupported.takeError());
    return unsupported;
  }

  llvm::Expected<std::optional<FileContents>>
  describe(StringRef path) const override {
    llvm::Expected<gguf::File> file = gguf::File::open(path);
    if (!file)
      return file.takeError();
    FileContents contents;
    contents.format = "GGUF version " + std::to_string(file->version());
    if (file->numShards() > 1)
      contents.format += ", " + std::to_string(file->numShards()) + " shards";
    for (const gguf::Metadata::Entry &entry : file->metadata().entries())
      contents.metadata.emplace_back(onOneLine(entry.key), entry.value.print());
    for (const gguf::Tensor &tensor : file->tensors())
      contents.tensors.push_back(
          {onOneLine(tensor.name), tensor.type->name.str(),
           std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end()),
           tensor.getNumElements(), tensor.size});
    if (llvm::Expected<decoder::DecoderConfig> config =
            decoder::readConfig(*file))
      contents.summary = config->print();
    else
      llvm::consumeError(config.takeError());
    return contents;
  }
};

} // namespace

const Importer &getGgufImporter() {
  static const GgufImporter importer;
  return importer;
}

} // namespace pare
