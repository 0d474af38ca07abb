//===- Layout.cpp - The files of one GGUF model ---------------------------===//
#include "frontend/gguf/Layout.h"
#include "frontend/gguf/File.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <map>

namespace pare::gguf {

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;
using llvm::StringRef;

static constexpr unsigned maxFiles = 10'000;

/// `stem` + number + … of a shard or part.
struct NumberedName {
  StringRef stem;
  unsigned number = 0, count = 0; ///< `count` of shards only
};

/// "model-00002-of-00003.gguf".
static std::optional<NumberedName> parseShardName(StringRef name) {
  NumberedName result;
  if (!name.consume_back(".gguf"))
    return std::nullopt;
  auto [first, count] = name.rsplit("-of-");
  auto [stem, number] = first.rsplit('-');
  if (number.size() != 5 || count.size() != 5 ||
      number.getAsInteger(10, result.number) ||
      count.getAsInteger(10, result.count))
    return std::nullopt;
  result.stem = stem;
  return result;
}

/// "model.gguf.part02".
static std::optional<NumberedName> parsePartName(StringRef name) {
  NumberedName result;
  StringRef stem = name.rtrim("0123456789");
  StringRef digits = name.drop_front(stem.size());
  result.stem = stem;
  if (!(stem.ends_with(".part") || stem.ends_with(".part-")) ||
      digits.empty() || digits.size() > 6 ||
      digits.getAsInteger(10, result.number))
    return std::nullopt;
  return result;
}

bool isGgufName(StringRef file) {
  StringRef name = path::filename(file);
  return name.ends_with(".gguf") ||
         (name.contains(".gguf") && parsePartName(name));
}

std::string getShardName(StringRef stem, unsigned index, unsigned count) {
  return llvm::formatv("{0}-{1,0+5}-of-{2,0+5}.gguf", stem, index + 1, count);
}

static llvm::Expected<Layout> findShards(const NumberedName &name,
                                         StringRef file) {
  if (name.count == 0 || name.count > maxFiles || name.number == 0 ||
      name.number > name.count)
    return llvm::createStringError(
        file + ": shard " + llvm::Twine(name.number) + " of " +
        llvm::Twine(name.count) + " is not a possible number");
  Layout layout;
  std::string missing;
  for (unsigned i = 0; i < name.count; ++i) {
    layout.shards.push_back(getShardName(name.stem, i, name.count));
    if (!fs::exists(layout.shards.back()))
      missing += (missing.empty() ? "" : ", ") + layout.shards.back();
  }
  if (!missing.empty())
    return llvm::createStringError(file + ": missing shards: " + missing);
  return layout;
}

/// The names in a folder, in order.
static std::vector<std::string> list(StringRef folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder.empty() ? "." : folder, error), end;
       it != end && !error; it.increment(error))
    names.push_back(path::filename(it->path()).str());
  llvm::sort(names);
  return names;
}

static llvm::Expected<Layout> findParts(const NumberedName &name,
                                        StringRef file) {
  StringRef folder = path::parent_path(file);
  std::map<unsigned, std::string> found;
  for (const std::string &other : list(folder))
    if (auto part = parsePartName(other))
      if (part->stem == path::filename(name.stem)) {
        llvm::SmallString<128> full(folder);
        path::append(full, other);
        found.emplace(part->number, full.str());
      }
  Layout layout;
  std::string missing;
  unsigned next = std::min(found.empty() ? 0 : found.begin()->first, 1u);
  for (const auto &[number, full] : found) {
    if (number > maxFiles)
      return llvm::createStringError(full + ": part " + llvm::Twine(number) +
                                     " is not a possible number");
    for (; next < number; ++next)
      missing += (missing.empty() ? "" : ", ") +
                 (name.stem + llvm::utostr(next)).str();
    ++next;
    layout.parts.push_back(full);
  }
  if (!missing.empty())
    return llvm::createStringError(file + ": missing parts: " + missing);
  return layout;
}

static llvm::Expected<std::string> findInFolder(StringRef folder) {
  // Shards and parts count once, by what they have in common.
  std::map<std::string, std::string> models;
  for (const std::string &name : list(folder)) {
    if (!isGgufName(name))
      continue;
    std::string stem = name;
    if (auto shard = parseShardName(name))
      stem = shard->stem.str();
    else if (auto part = parsePartName(name))
      stem = part->stem.str();
    models.emplace(stem, name);
  }
  if (models.size() != 1)
    return llvm::createStringError(
        folder + ": " +
        (models.empty()
             ? "has no .gguf file"
             : "has several GGUF models; name one of them: " +
                   llvm::join(llvm::make_second_range(models), ", ")));
  llvm::SmallString<128> full(folder);
  path::append(full, models.begin()->second);
  return std::string(full);
}

llvm::Expected<Layout> findLayout(StringRef file) {
  std::string name = file.str();
  if (fs::is_directory(file)) {
    llvm::Expected<std::string> inside = findInFolder(file);
    if (!inside)
      return inside.takeError();
    name = *inside;
  }
  if (std::optional<NumberedName> shard = parseShardName(name))
    return findShards(*shard, name);
  if (std::optional<NumberedName> part = parsePartName(name))
    if (fs::exists(name))
      return findParts(*part, name);
  Layout layout;
  layout.shards.push_back(name);
  return layout;
}

} // namespace pare::gguf
