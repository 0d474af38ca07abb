//===- Json.cpp -----------------------------------------------------------===//
#include "frontend/tokenizer/Json.h"
#include "frontend/tokenizer/Description.h"

#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::tokenizer {

static bool nestsTooDeep(StringRef text) {
  unsigned depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > 64)
        return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

Expected<json::Value> parseJsonObject(StringRef text, StringRef path) {
  if (nestsTooDeep(text))
    return tokenizerError(path, "JSON nested deeper than 64 levels");
  Expected<json::Value> root = json::parse(text);
  if (!root)
    return tokenizerError(path,
                          "not valid JSON: " + toString(root.takeError()));
  if (!root->getAsObject())
    return tokenizerError(path, "not a JSON object");
  return root;
}

} // namespace pare::tokenizer
