//===- Json.cpp - Reading JSON from files that may be damaged -------------===//
#include "frontend/Json.h"
#include "frontend/weights/WeightStore.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace pare {

/// Deepest nesting of brackets outside strings.
static unsigned measureNesting(llvm::StringRef text) {
  unsigned depth = 0, deepest = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      i += c == '\\';
      inString = c != '"';
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text,
                                            llvm::StringRef where) {
  constexpr unsigned maxNesting = 128;
  if (measureNesting(text) > maxNesting)
    return llvm::createStringError(where + ": JSON nested deeper than " +
                                   llvm::Twine(maxNesting) + " levels");
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (!value)
    return llvm::createStringError(
        where + ": not valid JSON: " + llvm::toString(value.takeError()));
  return value;
}

llvm::Expected<llvm::json::Object> readJsonObject(llvm::StringRef path) {
  llvm::Expected<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  llvm::Expected<llvm::json::Value> value =
      parseJson(llvm::toStringRef((*file)->bytes()), path);
  if (!value)
    return value.takeError();
  if (llvm::json::Object *object = value->getAsObject())
    return std::move(*object);
  return llvm::createStringError(path + ": expected a JSON object");
}

llvm::Expected<std::string> resolveInside(llvm::StringRef folder,
                                          llvm::StringRef relative,
                                          llvm::StringRef what) {
  namespace path = llvm::sys::path;
  auto refuse = [&](llvm::StringRef why) {
    return llvm::createStringError(what + " names the file '" + relative +
                                   "', which " + why);
  };
  if (relative.empty() || relative.contains('\0'))
    return refuse("is not a file name");
  if (path::is_absolute(relative))
    return refuse("is an absolute path; only files in the model's folder are "
                  "read");
  for (auto it = path::begin(relative), e = path::end(relative); it != e; ++it)
    if (*it == "..")
      return refuse("leaves the model's folder");

  llvm::SmallString<128> base(folder.empty() ? "." : folder), full(base);
  path::append(full, relative);
  llvm::SmallString<128> realBase, realFull;
  if (llvm::sys::fs::real_path(base, realBase) ||
      llvm::sys::fs::real_path(full, realFull))
    return refuse(("does not exist in '" + base + "'").str());
  llvm::StringRef rest = realFull;
  if (!rest.consume_front(realBase) ||
      (!realBase.ends_with("/") && !rest.starts_with("/")))
    return refuse("is a link that leaves the model's folder");
  return std::string(full);
}

} // namespace pare
