//===- LanguageModel.cpp - Folders of decoder language models -------------===//
#include "frontend/safetensors/LanguageModel.h"
#include "frontend/Json.h"
#include "frontend/chat/Template.h"
#include "frontend/decoder/Builder.h"
#include "frontend/tokenizer/Tokenizer.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;

namespace pare::safetensors {

namespace {

/// The tensors of a folder by what they are for.
class FolderSource : public decoder::TensorSource {
public:
  FolderSource(StringRef path, const Tensors &tensors,
               decoder::Architecture architecture, GraphBuilder &builder)
      : path(path), tensors(tensors), architecture(architecture),
        builder(builder) {
    for (const auto &entry : tensors)
      if (auto name = decoder::parseTensorName(
              entry.getKey(), decoder::Naming::HuggingFace, architecture))
        found[getKey(*name)] = &entry;
  }

  llvm::Expected<std::string> load(const decoder::TensorName &name,
                                   ArrayRef<int64_t> shape) override {
    auto it = found.find(getKey(name));
    if (it == found.end()) {
      auto getText = [&](const decoder::TensorName &wanted) {
        return decoder::getTensorName(wanted, decoder::Naming::HuggingFace,
                                      architecture);
      };
      std::optional<std::string> text = getText(name);
      if (!text) // Experts have a tensor each.
        text = getText({name.role, name.layer, /*expert=*/0, name.isBias});
      return llvm::createStringError(
          path + ": tensor '" +
          text.value_or(decoder::getName(name.role).str()) + "' is missing");
    }
    std::string text = it->second->getKey().str();
    loaded.insert(text);
    const Tensor &tensor = it->second->getValue();
    if (tensor.type.getShape() != shape)
      return llvm::createStringError(
          path + ": tensor '" + text + "' has shape " +
          printShape(tensor.type.getShape()) + ", config.json expects " +
          printShape(shape));
    if (!isa<FloatType>(tensor.type.getElementType()))
      return llvm::createStringError(path + ": tensor '" + text +
                                     "' must hold floats");
    if (!builder.getStore().contains(text))
      if (llvm::Error error = builder.getStore().addView(
              text, tensor.type, tensor.file, tensor.offset, tensor.size))
        return std::move(error);
    return text;
  }

  std::optional<std::string>
  find(const decoder::TensorName &name) const override {
    auto it = found.find(getKey(name));
    return it == found.end() ? std::nullopt
                             : std::optional(it->second->getKey().str());
  }

  decoder::Naming getNaming() const override {
    return decoder::Naming::HuggingFace;
  }

  StringRef getPath() const override { return path; }

  std::vector<std::string> findUnused() const override {
    std::vector<std::string> unused;
    for (StringRef name : tensors.keys())
      if (!loaded.contains(name))
        unused.push_back(name.str());
    return unused;
  }

private:
  using Key = std::tuple<decoder::Role, int64_t, int64_t, bool>;
  static Key getKey(const decoder::TensorName &name) {
    return {name.role, name.layer, name.expert, name.isBias};
  }

  StringRef path;
  const Tensors &tensors;
  decoder::Architecture architecture;
  GraphBuilder &builder;
  llvm::StringSet<> loaded;
  std::map<Key, const llvm::StringMapEntry<Tensor> *> found;
};

/// An id or a list of ids.
void addStops(const llvm::json::Object &object, int64_t vocabulary,
              std::vector<int32_t> &stops) {
  auto add = [&](const llvm::json::Value &value) {
    std::optional<int64_t> id = value.getAsInteger();
    if (id && *id >= 0 && *id < vocabulary &&
        !llvm::is_contained(stops, int32_t(*id)))
      stops.push_back(int32_t(*id));
  };
  const llvm::json::Value *value = object.get("eos_token_id");
  if (!value)
    return;
  if (const llvm::json::Array *list = value->getAsArray())
    llvm::for_each(*list, add);
  else
    add(*value);
}

/// What generation_config.json advises.
llvm::Error readGeneration(StringRef folder, DecoderInfo &info) {
  std::string path = joinPath(folder, "generation_config.json");
  if (!llvm::sys::fs::exists(path))
    return llvm::Error::success();
  llvm::Expected<llvm::json::Object> object = readJsonObject(path);
  if (!object)
    return object.takeError();
  addStops(*object, info.vocabulary, info.stops);
  auto number = [&](StringRef key) {
    double value = object->getNumber(key).value_or(0);
    return std::isfinite(value) && value > 0 ? float(value) : 0;
  };
  info.temperature = number("temperature");
  info.topP = number("top_p");
  info.minP = number("min_p");
  info.repetitionPenalty = number("repetition_penalty");
  int64_t topK = object->getInteger("top_k").value_or(0);
  info.topK = topK > 0 && topK <= info.vocabulary ? topK : 0;
  return llvm::Error::success();
}

/// A special token of tokenizer_config.json: text, or an object with it.
std::optional<StringRef> getTokenText(const llvm::json::Value *value) {
  if (!value)
    return std::nullopt;
  if (const llvm::json::Object *object = value->getAsObject())
    return object->getString("content");
  return value->getAsString();
}

/// The text of a folder's template: chat_template.jinja, or of
/// tokenizer_config.json, where a list may have several by name.
std::string findTemplate(StringRef folder, const llvm::json::Object &config) {
  auto file =
      llvm::MemoryBuffer::getFile(joinPath(folder, "chat_template.jinja"));
  if (file)
    return (*file)->getBuffer().str();
  const llvm::json::Value *value = config.get("chat_template");
  if (!value)
    return "";
  if (const llvm::json::Array *named = value->getAsArray()) {
    for (const llvm::json::Value &item : *named)
      if (const llvm::json::Object *object = item.getAsObject())
        if (object->getString("name") == "default")
          return object->getString("template").value_or("").str();
    return "";
  }
  return value->getAsString().value_or("").str();
}

/// The table of the folder's chat template; empty where it has none.
llvm::Expected<std::vector<uint8_t>> buildChatTemplate(StringRef folder) {
  std::string path = joinPath(folder, "tokenizer_config.json");
  llvm::json::Object config;
  if (llvm::sys::fs::exists(path)) {
    llvm::Expected<llvm::json::Object> object = readJsonObject(path);
    if (!object)
      return object.takeError();
    config = std::move(*object);
  }
  std::string source = findTemplate(folder, config);
  if (source.empty())
    return std::vector<uint8_t>();
  chat::Variables variables;
  for (StringRef name : {"bos_token", "eos_token", "unk_token", "sep_token",
                         "pad_token", "cls_token"})
    if (std::optional<StringRef> text = getTokenText(config.get(name)))
      variables.push_back({name.str(), text->str()});
  return chat::compileTemplate(source, folder.str() + ": chat_template",
                               variables);
}

} // namespace

llvm::Error checkLanguageModel(const Config &config) {
  return decoder::readConfig(config.object(), config.path()).takeError();
}

llvm::Error importLanguageModel(StringRef folder, const Config &config,
                                const Tensors &tensors,
                                const ImportOptions &options,
                                GraphBuilder &builder, Model &model) {
  llvm::Expected<decoder::DecoderConfig> decoder =
      decoder::readConfig(config.object(), config.path());
  if (!decoder)
    return decoder.takeError();
  FolderSource source(folder, tensors, decoder->architecture, builder);
  if (llvm::Error error =
          decoder::importDecoder(*decoder, options, source, builder, model))
    return error;
  if (llvm::none_of(ArrayRef<StringRef>{"tokenizer.json", "tokenizer.model"},
                    [&](StringRef name) {
                      return llvm::sys::fs::exists(joinPath(folder, name));
                    })) {
    model.warnings.push_back(folder.str() +
                             ": has neither tokenizer.json nor "
                             "tokenizer.model; the artifact cannot generate "
                             "text");
    return llvm::Error::success();
  }
  llvm::Expected<std::vector<uint8_t>> tokenizer =
      buildTokenizerTable(folder, {.decodes = true});
  if (!tokenizer)
    return tokenizer.takeError();
  model.decoder->tokenizer = std::move(*tokenizer);
  llvm::Expected<std::vector<uint8_t>> chatTemplate = buildChatTemplate(folder);
  if (chatTemplate)
    model.decoder->chatTemplate = std::move(*chatTemplate);
  else
    model.warnings.push_back(llvm::toString(chatTemplate.takeError()) +
                             "; `chat` will use ChatML's");
  if (llvm::Error error = readGeneration(folder, *model.decoder))
    return error;
  if (model.decoder->stops.empty())
    addStops(config.object(), model.decoder->vocabulary, model.decoder->stops);
  return llvm::Error::success();
}

} // namespace pare::safetensors
