//===- Config.cpp - config.json -------------------------------------------===//
#include "frontend/safetensors/Architecture.h"

namespace pare::safetensors {

static const llvm::json::Value *find(const llvm::json::Object &object,
                                     llvm::ArrayRef<llvm::StringRef> keys) {
  for (llvm::StringRef key : keys)
    if (const llvm::json::Value *value = object.get(key))
      return value;
  return nullptr;
}

llvm::Expected<int64_t> Config::getInteger(llvm::ArrayRef<llvm::StringRef> keys,
                                           int64_t min, int64_t max) const {
  const llvm::json::Value *value = find(object_, keys);
  if (!value)
    return llvm::createStringError(path_ + ": '" + keys.front() +
                                   "' is missing");
  std::optional<int64_t> integer = value->getAsInteger();
  if (!integer || *integer < min || *integer > max)
    return llvm::createStringError(
        path_ + ": '" + keys.front() + "' must be an integer from " +
        llvm::Twine(min) + " to " + llvm::Twine(max));
  return *integer;
}

double Config::getNumber(llvm::StringRef key, double fallback) const {
  return object_.getNumber(key).value_or(fallback);
}

int64_t Config::getInteger(llvm::StringRef key, int64_t fallback) const {
  return object_.getInteger(key).value_or(fallback);
}

std::string Config::getString(llvm::ArrayRef<llvm::StringRef> keys,
                              llvm::StringRef fallback) const {
  const llvm::json::Value *value = find(object_, keys);
  std::optional<llvm::StringRef> text;
  if (value)
    text = value->getAsString();
  return text.value_or(fallback).str();
}

//===----------------------------------------------------------------------===//
// Registry
//===----------------------------------------------------------------------===//

const Architecture *findArchitecture(llvm::StringRef modelType) {
  const Architecture *const known[] = {&getBertArchitecture()};
  for (const Architecture *architecture : known)
    if (architecture->handles(modelType))
      return architecture;
  return nullptr;
}

llvm::StringRef getKnownModelTypes() {
  return "bert, roberta, xlm-roberta, camembert, electra, distilbert";
}

} // namespace pare::safetensors
