//===- Artifact.cpp - Compiled models as child processes ------------------===//
#include "tools/Artifact.h"
#include "backends/emit/WeightsObject.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Signals.h"
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

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

/// Of a program that failed: what its standard error, a file, says; or `cause`.
static Error failOf(StringRef label, const std::string &errors,
                    StringRef cause) {
  std::string text = readText(errors);
  StringRef line = StringRef(text).rtrim().rsplit('\n').second;
  if (line.empty())
    line = StringRef(text).rtrim();
  if (!line.empty())
    cause = line;
  // The program's own line starts with its name and "error:".
  if (size_t at = cause.find("error: "); at != StringRef::npos)
    cause = cause.drop_front(at + strlen("error: "));
  cause = cause.trim();
  return createStringError(label + ": " +
                           (cause.empty() ? "does not run" : cause));
}

Expected<std::string> runArtifact(const Artifact &artifact,
                                  ArrayRef<std::string> arguments,
                                  const TemporaryFolder &folder,
                                  StringRef input) {
  std::string out = folder.file("stdout"), err = folder.file("stderr");
  for (const std::string &path : {out, err}) // redirection does not truncate
    sys::fs::remove(path);
  SmallVector<StringRef> args = {artifact.path};
  args.append(arguments.begin(), arguments.end());
  std::string message;
  int status = sys::ExecuteAndWait(artifact.path, args, std::nullopt,
                                   {input, StringRef(out), StringRef(err)}, 0,
                                   0, &message);
  if (status == 0)
    return readText(out);
  if (status < 0) // it did not start, or a signal ended it
    sys::fs::remove(err);
  return failOf(artifact.label, err, message);
}

Expected<json::Object> readInfo(const Artifact &artifact,
                                const TemporaryFolder &folder) {
  Expected<json::Value> info =
      queryArtifact(artifact, {"info", "--json"}, folder);
  if (!info)
    return info.takeError();
  json::Object *object = info->getAsObject();
  return object ? std::move(*object) : json::Object();
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

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

ArtifactStream::ArtifactStream(ArtifactStream &&other)
    : label(std::move(other.label)), errors(std::move(other.errors)),
      descriptor(std::exchange(other.descriptor, -1)),
      process(std::exchange(other.process, -1)) {}

ArtifactStream::~ArtifactStream() {
  if (process > 0)
    kill(process, SIGKILL);
  wait();
}

/// The command's exit status as waitpid gives it; 0 after the first time.
int ArtifactStream::wait() {
  if (descriptor >= 0)
    close(descriptor);
  int status = 0;
  if (process > 0)
    while (waitpid(process, &status, 0) < 0 && errno == EINTR)
      ;
  descriptor = process = -1;
  return status;
}

Expected<ArtifactStream> ArtifactStream::start(const Artifact &artifact,
                                               ArrayRef<std::string> arguments,
                                               const TemporaryFolder &folder,
                                               const Twine &name) {
  ArtifactStream stream;
  stream.label = artifact.label;
  stream.errors = folder.file(name);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return createStringError(artifact.label +
                             ": cannot make a pipe: " + strerror(errno));
  stream.descriptor = ends[0];
  std::vector<char *> argv = {const_cast<char *>(artifact.path.c_str())};
  for (const std::string &argument : arguments)
    argv.push_back(const_cast<char *>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, stream.errors.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  int error = posix_spawn(&stream.process, artifact.path.c_str(), &actions,
                          nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error) {
    stream.process = -1;
    return createStringError(artifact.label + ": " + strerror(error));
  }
  return std::move(stream);
}

Error ArtifactStream::fail(StringRef cause) {
  int status = wait();
  if (WIFSIGNALED(status))
    return createStringError(label + ": ended by signal " +
                             Twine(WTERMSIG(status)));
  return failOf(label, errors, cause);
}

Error ArtifactStream::read(MutableArrayRef<char> bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::read(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return fail("gives less than expected");
    bytes = bytes.drop_front(size_t(n));
  }
  return Error::success();
}

Error ArtifactStream::finish() {
  char byte;
  ssize_t n = ::read(descriptor, &byte, 1);
  if (n > 0)
    return createStringError(label + ": gives more than expected");
  if (int status = wait())
    return WIFSIGNALED(status)
               ? createStringError(label + ": ended by signal " +
                                   Twine(WTERMSIG(status)))
               : failOf(label, errors, "");
  return Error::success();
}

} // namespace pare::tools
