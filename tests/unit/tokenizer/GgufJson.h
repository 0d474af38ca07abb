//===- GgufJson.h - A GgufVocabulary as JSON, for tests ---------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_TOKENIZER_GGUFJSON_H
#define PARE_TESTS_UNIT_TOKENIZER_GGUFJSON_H

#include "frontend/Json.h"
#include "frontend/tokenizer/Gguf.h"

#include "llvm/Support/Base64.h"

namespace pare::tokenizer::test {

/// Reads {"model", "pre", "tokens", "scores", "types", "merges", "bos", …},
/// with "charsmap" in base64.
inline llvm::Expected<GgufVocabulary> readGgufJson(llvm::StringRef path) {
  llvm::Expected<llvm::json::Object> object = readJsonObject(path);
  if (!object)
    return object.takeError();
  GgufVocabulary v;
  v.model = object->getString("model").value_or("").str();
  v.pre = object->getString("pre").value_or("").str();
  auto each = [&](llvm::StringRef key, auto take) {
    if (const llvm::json::Array *list = object->getArray(key))
      for (const llvm::json::Value &value : *list)
        take(value);
  };
  each("tokens", [&](const llvm::json::Value &value) {
    v.tokens.push_back(value.getAsString().value_or("").str());
  });
  each("merges", [&](const llvm::json::Value &value) {
    v.merges.push_back(value.getAsString().value_or("").str());
  });
  each("scores", [&](const llvm::json::Value &value) {
    v.scores.push_back(float(value.getAsNumber().value_or(0)));
  });
  each("types", [&](const llvm::json::Value &value) {
    v.types.push_back(int32_t(value.getAsInteger().value_or(1)));
  });
  for (auto [key, id] : {std::pair("bos", &v.bos), std::pair("eos", &v.eos),
                         std::pair("unk", &v.unk), std::pair("sep", &v.sep),
                         std::pair("pad", &v.pad), std::pair("cls", &v.cls)})
    *id = object->getInteger(key).value_or(-1);
  v.addBos = object->getBoolean("add_bos");
  v.addEos = object->getBoolean("add_eos");
  v.addSpacePrefix = object->getBoolean("add_space_prefix");
  v.removeExtraWhitespaces = object->getBoolean("remove_extra_whitespaces");
  std::vector<char> charsmap;
  if (auto text = object->getString("charsmap"))
    if (llvm::Error error = llvm::decodeBase64(*text, charsmap))
      return std::move(error);
  v.precompiledCharsmap.assign(charsmap.begin(), charsmap.end());
  return v;
}

} // namespace pare::tokenizer::test

#endif
