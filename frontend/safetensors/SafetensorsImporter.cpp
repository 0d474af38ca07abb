//===- SafetensorsImporter.cpp - safetensors with config.json -------------===//
#include "frontend/safetensors/SafetensorsImporter.h"
#include "frontend/Json.h"
#include "frontend/adapters/Apply.h"
#include "frontend/decoder/Config.h"
#include "frontend/safetensors/Architecture.h"
#include "frontend/safetensors/LanguageModel.h"
#include "frontend/safetensors/SentenceEncoder.h"
#include "frontend/tokenizer/Tokenizer.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace pare {
namespace {

namespace path = llvm::sys::path;
using namespace safetensors;

/// The files of a model.
struct Layout {
  std::string folder;  ///< of the model: modules.json
  std::string tensors; ///< .safetensors or its index
  std::string config;
  std::optional<SentenceEncoder> encoder;
};

llvm::Expected<Layout> findLayout(StringRef model) {
  Layout layout;
  bool isFolder = llvm::sys::fs::is_directory(model);
  layout.folder = isFolder ? model.str() : path::parent_path(model).str();
  auto encoder = readSentenceEncoder(layout.folder);
  if (!encoder)
    return encoder.takeError();
  layout.encoder = std::move(*encoder);
  std::string folder = layout.encoder && isFolder
                           ? layout.encoder->transformerFolder
                           : layout.folder;
  layout.tensors = model.str();
  if (isFolder) {
    llvm::Expected<std::string> tensors = findTensorFile(folder);
    if (!tensors)
      return tensors.takeError();
    layout.tensors = *tensors;
  }
  layout.config = joinPath(folder, "config.json");
  return layout;
}

llvm::Expected<Config> readConfig(const Layout &layout) {
  if (!llvm::sys::fs::exists(layout.config))
    return llvm::createStringError(layout.tensors +
                                   ": needs the model's config.json beside it");
  llvm::Expected<llvm::json::Object> object = readJsonObject(layout.config);
  if (!object)
    return object.takeError();
  return Config(layout.config, std::move(*object));
}

std::string getModelType(const Config &config) {
  return config.getString({"model_type"}, "");
}

llvm::Expected<std::vector<Unsupported>>
findUnsupportedIn(const Config &config) {
  std::string type = getModelType(config);
  if (const Architecture *architecture = findArchitecture(type))
    return architecture->findUnsupported(config);
  if (decoder::isKnownModelType(type)) {
    if (llvm::Error error = checkLanguageModel(config))
      return std::move(error);
    return std::vector<Unsupported>();
  }
  return std::vector<Unsupported>{
      {"model_type '" + type + "'", 1,
       ("known are " + getKnownModelTypes() + ", ").str() +
           decoder::getKnownModelTypes()}};
}

/// Adds the tokenizer's table; a folder without one gives a warning, since the
/// graph itself does not need it.
llvm::Error addTokenizer(StringRef folder, Model &model) {
  if (!llvm::sys::fs::exists(joinPath(folder, "tokenizer.json")) &&
      !llvm::sys::fs::exists(joinPath(folder, "vocab.txt"))) {
    model.warnings.push_back((folder + ": has neither tokenizer.json nor "
                                       "vocab.txt; the artifact cannot embed "
                                       "text")
                                 .str());
    return llvm::Error::success();
  }
  llvm::Expected<std::vector<uint8_t>> table = buildTokenizerTable(folder);
  if (!table)
    return table.takeError();
  model.encoder->tokenizer = std::move(*table);
  return llvm::Error::success();
}

/// What of an encoder's tensors the graph does not use, but for the pooler of
/// pre-training, which no pooling of sentence encoders reads.
std::vector<std::string> findUnused(const Tensors &tensors,
                                    const WeightStore &weights) {
  std::vector<std::string> unused;
  for (StringRef name : tensors.keys())
    if (!weights.contains(name) && !name.contains("pooler.dense."))
      unused.push_back(name.str());
  return unused;
}

/// An encoder's tensors have transformers' names, but for the prefix that the
/// class with or without a head adds.
class EncoderNames : public adapters::Names {
public:
  explicit EncoderNames(const WeightStore &weights) : weights(weights) {}

  std::optional<adapters::Place> find(StringRef name) const override {
    StringRef stem = name;
    for (StringRef prefix : encoderPrefixes)
      if (!prefix.empty() && stem.consume_front(prefix))
        break;
    for (StringRef prefix : encoderPrefixes)
      if (std::string own = (prefix + stem).str(); weights.contains(own))
        return adapters::Place{own};
    return std::nullopt;
  }

private:
  const WeightStore &weights;
};

class SafetensorsImporter : public Importer {
public:
  StringRef name() const override { return "safetensors"; }

  bool recognizes(StringRef model) const override {
    if (llvm::sys::fs::is_directory(model))
      return llvm::sys::fs::exists(joinPath(model, "config.json")) ||
             llvm::sys::fs::exists(joinPath(model, "modules.json")) ||
             llvm::sys::fs::exists(joinPath(model, "model.safetensors"));
    if (path::extension(model) == ".safetensors" ||
        model.ends_with(kIndexSuffix))
      return true;
    llvm::Expected<std::shared_ptr<MappedFile>> file = MappedFile::open(model);
    if (!file) {
      llvm::consumeError(file.takeError());
      return false;
    }
    ArrayRef<uint8_t> bytes = (*file)->bytes();
    return bytes.size() > 9 && bytes[7] == 0 && bytes[8] == '{' &&
           bytes[9] == '"';
  }

  llvm::Expected<std::vector<Unsupported>>
  findUnsupported(StringRef path) const override {
    llvm::Expected<Layout> layout = findLayout(path);
    if (!layout)
      return layout.takeError();
    llvm::Expected<Config> config = readConfig(*layout);
    if (!config)
      return config.takeError();
    return findUnsupportedIn(*config);
  }

  llvm::Expected<Model> import(StringRef path, const ImportOptions &options,
                               MLIRContext &context) const override;
};

llvm::Expected<Model> SafetensorsImporter::import(StringRef file,
                                                  const ImportOptions &options,
                                                  MLIRContext &context) const {
  llvm::Expected<Layout> layout = findLayout(file);
  if (!layout)
    return layout.takeError();
  llvm::Expected<Config> config = readConfig(*layout);
  if (!config)
    return config.takeError();
  llvm::Expected<std::vector<Unsupported>> unsupported =
      findUnsupportedIn(*config);
  if (!unsupported)
    return onOneLine(unsupported.takeError());
  if (!unsupported->empty())
    return onOneLine(makeUnsupportedError(layout->config, *unsupported));

  Tensors tensors;
  if (llvm::Error error = readTensors(layout->tensors, context, tensors))
    return onOneLine(std::move(error));
  Model model;
  model.name = getModelName(layout->encoder || llvm::sys::fs::is_directory(file)
                                ? StringRef(layout->folder)
                                : file);
  model.format = name().str();
  model.weights = std::make_shared<WeightStore>();
  GraphBuilder builder(context, model.weights);
  const Architecture *architecture = findArchitecture(getModelType(*config));
  if (!architecture) {
    if (llvm::Error error =
            importLanguageModel(path::parent_path(layout->config), *config,
                                tensors, options, builder, model))
      return onOneLine(std::move(error));
    return model;
  }
  builder.setScope(layout->tensors);
  int64_t maxTokens = 0;
  Source source{*config, tensors, options,
                layout->encoder ? layout->encoder->maxTokens : 0};
  auto module = architecture->build(source, builder, maxTokens);
  if (!module)
    return onOneLine(module.takeError());
  model.module = std::move(*module);
  if (auto warning =
          warnOfUnused(layout->tensors, findUnused(tensors, *model.weights)))
    model.warnings.push_back(*warning);
  int64_t promptTokens;
  if (llvm::Error error = adapters::applyAdapters(
          options, EncoderNames(*model.weights), model, promptTokens))
    return onOneLine(std::move(error));
  if (layout->encoder) {
    model.encoder.emplace();
    model.encoder->pooling = layout->encoder->pooling;
    model.encoder->normalize = layout->encoder->normalize;
    model.encoder->maxTokens = maxTokens;
    if (llvm::Error error =
            addTokenizer(layout->encoder->transformerFolder, model))
      return error;
  }
  return model;
}

} // namespace

const Importer &getSafetensorsImporter() {
  static const SafetensorsImporter importer;
  return importer;
}

} // namespace pare
