//===- Documents.cpp - Files of data that a user names --------------------===//
#include "tools/data/Documents.h"
#include "tools/Arrays.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace pare::tools {

//===----------------------------------------------------------------------===//
// Paths
//===----------------------------------------------------------------------===//

/// "12.5%" as 0.125.
static bool parseShare(StringRef text, double &share) {
  if (!text.consume_back("%") || text.empty() || text.getAsDouble(share))
    return false;
  share /= 100;
  return true;
}

Expected<DataPath> parseDataPath(StringRef text) {
  auto [path, range] = text.rsplit(':');
  auto [begin, end] = range.split('-');
  DataPath result{path.str()};
  if (path.empty() || !range.ends_with("%") || sys::fs::exists(text) ||
      !parseShare(begin, result.begin) || !parseShare(end, result.end))
    return DataPath{text.str()};
  if (!(0 <= result.begin && result.begin < result.end && result.end <= 1))
    return createStringError("'" + text +
                             "': expected a share such as :0%-50%, with the "
                             "smaller number first and both in 0% to 100%");
  return result;
}

bool DataFile::isArrays() const {
  StringRef name = path;
  return name.ends_with(".npz") || name.ends_with(".npy");
}
bool DataFile::isPicture() const { return tools::isPicture(path); }
bool DataFile::isJsonLines() const {
  StringRef name = path;
  return name.ends_with(".jsonl") || name.ends_with(".ndjson");
}
bool DataFile::isText() const {
  return !isArrays() && !isJsonLines() && !isPicture();
}

/// The members of the range [begin, end) of n.
template <typename T>
static void keepShare(std::vector<T> &members, double begin, double end) {
  size_t n = members.size();
  size_t first = size_t(begin * double(n)), last = size_t(end * double(n));
  members.erase(members.begin() + last, members.end());
  members.erase(members.begin(), members.begin() + first);
}

static Error addFolder(const DataPath &folder, std::vector<DataFile> &files) {
  std::vector<std::string> members;
  std::error_code error;
  for (sys::fs::recursive_directory_iterator it(folder.path, error), end;
       it != end && !error; it.increment(error)) {
    if (sys::path::filename(it->path()).starts_with(".")) {
      it.no_push();
      continue;
    }
    if (sys::fs::is_regular_file(it->path()) &&
        sys::path::filename(it->path()) != kLabelsFile)
      members.push_back(it->path());
  }
  if (error)
    return createStringError("cannot read '" + folder.path +
                             "': " + error.message());
  if (members.empty())
    return createStringError("no files in '" + folder.path + "'");
  llvm::sort(members);
  keepShare(members, folder.begin, folder.end);
  if (members.empty())
    return createStringError("no files in this share of '" + folder.path + "'");
  StringRef root = StringRef(folder.path).rtrim('/');
  for (std::string &member : members) {
    DataFile file;
    StringRef parent = sys::path::parent_path(member);
    parent.consume_front(root);
    file.folder = parent.ltrim('/').str();
    file.path = std::move(member);
    files.push_back(std::move(file));
  }
  return Error::success();
}

Expected<std::vector<DataFile>> findDataFiles(ArrayRef<std::string> paths) {
  std::vector<DataFile> files;
  for (const std::string &text : paths) {
    Expected<DataPath> path = parseDataPath(text);
    if (!path)
      return path.takeError();
    if (sys::fs::is_directory(path->path)) {
      if (Error error = addFolder(*path, files))
        return std::move(error);
      continue;
    }
    if (!sys::fs::exists(path->path))
      return createStringError("cannot read '" + path->path +
                               "': no such file or folder");
    files.push_back({std::move(*path), ""});
  }
  return std::move(files);
}

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

/// Where the share of a text ends: the next place at or after it where a line
/// begins, or a word in lines that are long.
static size_t findCut(StringRef text, double share) {
  constexpr size_t longLine = 4096;
  auto at = size_t(share * double(text.size()));
  if (at == 0 || at >= text.size())
    return std::min(at, text.size());
  for (char separator : {'\n', ' '}) {
    size_t found = text.find(separator, at - 1);
    if (found != StringRef::npos && found - at + 1 < longLine)
      return found + 1;
  }
  while (at < text.size() && (uint8_t(text[at]) & 0xc0) == 0x80)
    ++at; // not within a character
  return at;
}

static std::string onLine(StringRef path, size_t line) {
  return (path + ":" + Twine(line)).str();
}

/// The first of `keys` that `object` has as a text; "" where one is of another
/// type.
static Expected<StringRef> getText(const json::Object &object, StringRef key) {
  if (std::optional<StringRef> text = object.getString(key))
    return *text;
  return createStringError("\"" + key + "\" is not a text");
}

static Error parseMessages(const json::Value &value, Document &document) {
  const json::Array *messages = value.getAsArray();
  if (!messages || messages->empty())
    return createStringError("\"messages\" is not a list of messages");
  for (const json::Value &message : *messages) {
    const json::Object *object = message.getAsObject();
    if (!object || !object->getString("role"))
      return createStringError("a message is not an object with a \"role\"");
    if (std::optional<StringRef> content = object->getString("content"))
      document.text += (content->rtrim('\n') + "\n").str();
  }
  document.messages = formatv("{0}", value).str();
  return Error::success();
}

static Expected<Document> parseLine(StringRef line) {
  Expected<json::Value> value = json::parse(line);
  if (!value)
    return createStringError("not JSON: " + toString(value.takeError()));
  Document document;
  const json::Object *object = value->getAsObject();
  auto has = [&](StringRef key) { return object && object->get(key); };
  if (has("messages")) {
    if (Error error = parseMessages(*object->get("messages"), document))
      return std::move(error);
    if (const json::Value *tools = object->get("tools"))
      document.tools = formatv("{0}", *tools).str();
    return std::move(document);
  }
  if (has("prompt") && has("response")) {
    json::Array messages;
    for (auto [key, role] :
         {std::pair("prompt", "user"), std::pair("response", "assistant")}) {
      Expected<StringRef> text = getText(*object, key);
      if (!text)
        return text.takeError();
      messages.push_back(json::Object{{"role", role}, {"content", *text}});
    }
    if (Error error = parseMessages(json::Value(std::move(messages)), document))
      return std::move(error);
    return std::move(document);
  }
  if (has("text")) {
    Expected<StringRef> text = getText(*object, "text");
    if (!text)
      return text.takeError();
    document.text = text->str();
    return std::move(document);
  }
  return createStringError("expected an object with \"text\", with \"prompt\" "
                           "and \"response\", or with \"messages\"");
}

static Error readJsonLines(const DataFile &file, StringRef bytes,
                           std::vector<Document> &documents) {
  std::vector<std::pair<size_t, StringRef>> lines;
  for (size_t number = 1; !bytes.empty(); ++number) {
    StringRef line;
    std::tie(line, bytes) = bytes.split('\n');
    if (!line.trim().empty())
      lines.push_back({number, line.trim()});
  }
  keepShare(lines, file.begin, file.end);
  for (auto [number, line] : lines) {
    Expected<Document> document = parseLine(line);
    std::string where = onLine(file.path, number);
    if (!document)
      return createStringError(where + ": " + toString(document.takeError()));
    document->where = std::move(where);
    documents.push_back(std::move(*document));
  }
  return Error::success();
}

static void readLines(const DataFile &file, StringRef before, StringRef text,
                      std::vector<Document> &documents) {
  for (size_t number = 1 + before.count('\n'); !text.empty(); ++number) {
    StringRef line;
    std::tie(line, text) = text.split('\n');
    line.consume_back("\r");
    if (!line.trim().empty())
      documents.push_back({line.str(), "", "", onLine(file.path, number)});
  }
}

Error readDocuments(const DataFile &file, bool byLine,
                    std::vector<Document> &documents) {
  auto buffer = MemoryBuffer::getFile(file.path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return createStringError("cannot read '" + file.path +
                             "': " + buffer.getError().message());
  StringRef bytes = (*buffer)->getBuffer();
  if (bytes.trim().empty())
    return createStringError("'" + file.path + "' is empty");
  if (size_t zero = bytes.find('\0'); zero != StringRef::npos)
    return createStringError("'" + file.path + "' is not a text: byte " +
                             Twine(zero) + " is zero");
  size_t before = documents.size();
  if (file.isJsonLines()) {
    if (Error error = readJsonLines(file, bytes, documents))
      return error;
  } else {
    size_t begin = findCut(bytes, file.begin), end = findCut(bytes, file.end);
    StringRef text = bytes.slice(begin, end);
    if (byLine)
      readLines(file, bytes.take_front(begin), text, documents);
    else if (!text.trim().empty())
      documents.push_back({text.str(), "", "", file.path});
  }
  if (documents.size() == before)
    return createStringError("this share of '" + file.path + "' is empty");
  return Error::success();
}

} // namespace pare::tools
