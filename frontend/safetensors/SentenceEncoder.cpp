//===- SentenceEncoder.cpp - sentence-transformers folders ----------------===//
#include "frontend/safetensors/SentenceEncoder.h"
#include "frontend/Json.h"
#include "frontend/safetensors/Reader.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"

namespace pare::safetensors {

static llvm::Error readPooling(llvm::StringRef config,
                               SentenceEncoder &encoder) {
  llvm::Expected<llvm::json::Object> object = readJsonObject(config);
  if (!object)
    return object.takeError();
  using Pooling = EncoderInfo::Pooling;
  const std::pair<llvm::StringRef, Pooling> supported[] = {
      {"pooling_mode_cls_token", Pooling::Cls},
      {"pooling_mode_mean_tokens", Pooling::Mean},
      {"pooling_mode_max_tokens", Pooling::Max}};
  unsigned modes = 0;
  for (const auto &[key, value] : *object) {
    llvm::StringRef name = key;
    if (!name.starts_with("pooling_mode_") ||
        !value.getAsBoolean().value_or(false))
      continue;
    ++modes;
    encoder.pooling = Pooling::None;
    for (auto [mode, pooling] : supported)
      if (name == mode)
        encoder.pooling = pooling;
    if (encoder.pooling == Pooling::None)
      return llvm::createStringError(config + ": " + name +
                                     " is not supported; cls, mean and max "
                                     "pooling are");
  }
  if (modes != 1)
    return llvm::createStringError(
        config + ": exactly one pooling mode must be true, not " +
        llvm::Twine(modes));
  return llvm::Error::success();
}

static llvm::Expected<llvm::json::Array> readModules(llvm::StringRef file) {
  llvm::Expected<std::shared_ptr<MappedFile>> mapped = MappedFile::open(file);
  if (!mapped)
    return mapped.takeError();
  llvm::Expected<llvm::json::Value> value =
      parseJson(llvm::toStringRef((*mapped)->bytes()), file);
  if (!value)
    return value.takeError();
  if (llvm::json::Array *array = value->getAsArray())
    return std::move(*array);
  return llvm::createStringError(file + ": expected a JSON array");
}

llvm::Expected<std::optional<SentenceEncoder>>
readSentenceEncoder(llvm::StringRef folder) {
  std::string file = joinPath(folder, "modules.json");
  if (!llvm::sys::fs::exists(file))
    return std::nullopt;
  llvm::Expected<llvm::json::Array> modules = readModules(file);
  if (!modules)
    return modules.takeError();

  SentenceEncoder encoder;
  for (const llvm::json::Value &value : *modules) {
    const llvm::json::Object *module = value.getAsObject();
    std::optional<llvm::StringRef> type, relative;
    if (module) {
      type = module->getString("type");
      relative = module->getString("path");
    }
    if (!type || !relative)
      return llvm::createStringError(file +
                                     ": every module needs a type and a path");
    llvm::StringRef kind = type->rsplit('.').second;
    if (kind == "Normalize") {
      encoder.normalize = true;
      continue;
    }
    std::string moduleFolder = folder.str();
    if (!relative->empty()) {
      llvm::Expected<std::string> inside =
          resolveInside(folder, *relative, file);
      if (!inside)
        return inside.takeError();
      moduleFolder = *inside;
    }
    if (kind == "Transformer" && encoder.transformerFolder.empty()) {
      encoder.transformerFolder = moduleFolder;
    } else if (kind == "Pooling" &&
               encoder.pooling == EncoderInfo::Pooling::None) {
      if (llvm::Error error =
              readPooling(joinPath(moduleFolder, "config.json"), encoder))
        return error;
    } else {
      return llvm::createStringError(
          file + ": module '" + *type +
          "' is not supported; a Transformer, Pooling and Normalize are");
    }
  }
  if (encoder.transformerFolder.empty() ||
      encoder.pooling == EncoderInfo::Pooling::None)
    return llvm::createStringError(
        file + ": needs a Transformer and a Pooling module");

  std::string limits =
      joinPath(encoder.transformerFolder, "sentence_bert_config.json");
  if (llvm::sys::fs::exists(limits)) {
    llvm::Expected<llvm::json::Object> object = readJsonObject(limits);
    if (!object)
      return object.takeError();
    // null: as the model.
    encoder.maxTokens = object->getInteger("max_seq_length").value_or(0);
    if (encoder.maxTokens < 0)
      return llvm::createStringError(limits +
                                     ": max_seq_length must be positive");
  }
  return encoder;
}

} // namespace pare::safetensors
