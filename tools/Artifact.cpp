//===- Artifact.cpp - Compiled models as child processes ------------------===//
#include "tools/Artifact.h"
#include "backends/emit/WeightsObject.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Signals.h"

using namespace llvm;

namespace pare::tools {

bool isArtifact(StringRef path) {
  if (sys::fs::is_directory(path))
    return false;
  auto file = object::ObjectFile::createObjectFile(path);
  if (!file) {
    consumeError(file.takeError());
    return false;
  }
  for (const object::SectionRef &section : file->getBinary()->sections()) {
    Expected<StringRef> name = section.getName();
    if (name && *name == emit::kGraphSection)
      return true;
    consumeError(name.takeError());
  }
  return false;
}

Expected<TemporaryFolder> TemporaryFolder::create() {
  TemporaryFolder folder;
  if (std::error_code error =
          sys::fs::createUniqueDirectory("pare", folder.path))
    return createStringError("cannot make a temporary folder: " +
                             error.message());
  return folder;
}

TemporaryFolder::~TemporaryFolder() {
  if (!path.empty())
    sys::fs::remove_directories(path);
}

std::string TemporaryFolder::file(const Twine &name) const {
  SmallString<128> result(path);
  sys::path::append(result, name);
  // Found by the handler of signals, which cannot walk a folder.
  sys::RemoveFileOnSignal(result);
  return std::string(result);
}

Expected<Artifact> openArtifact(CompileOptions options,
                                const TemporaryFolder &folder,
                                const Twine &name, Console &console) {
  if (isArtifact(options.model))
    return Artifact{options.model, options.model, false};
  options.output = folder.file(name);
  if (Error error = compileModel(options, console).takeError())
    return std::move(error);
  return Artifact{options.output, options.model, true};
}

static std::string readText(const std::string &path) {
  auto buffer = MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

Expected<std::string> runArtifact(const Artifact &artifact,
                                  ArrayRef<std::string> arguments,
                                  const TemporaryFolder &folder) {
  std::string out = folder.file("stdout"), err = folder.file("stderr");
  for (const std::string &path : {out, err}) // redirection does not truncate
    sys::fs::remove(path);
  SmallVector<StringRef> args = {artifact.path};
  args.append(arguments.begin(), arguments.end());
  std::string message;
  int status =
      sys::ExecuteAndWait(artifact.path, args, std::nullopt,
                          {"", StringRef(out), StringRef(err)}, 0, 0, &message);
  if (status == 0)
    return readText(out);
  if (status > 0)
    message = StringRef(readText(err)).rtrim().rsplit('\n').second.str();
  if (status > 0 && message.empty())
    message = StringRef(readText(err)).rtrim().str();
  StringRef cause = StringRef(message).trim();
  // The program's own line starts with its name and "error:".
  if (size_t at = cause.find("error: "); at != StringRef::npos)
    cause = cause.drop_front(at + strlen("error: "));
  return createStringError(artifact.label + ": " +
                           (cause.empty() ? "does not run" : cause));
}

Expected<json::Value> queryArtifact(const Artifact &artifact,
                                    ArrayRef<std::string> arguments,
                                    const TemporaryFolder &folder) {
  Expected<std::string> text = runArtifact(artifact, arguments, folder);
  if (!text)
    return text.takeError();
  Expected<json::Value> value = json::parse(*text);
  if (!value)
    return createStringError(artifact.label + ": gives no JSON for '" +
                             arguments.front() +
                             "': " + toString(value.takeError()));
  return value;
}

} // namespace pare::tools
