//===- Artifact.h - Compiled models as child processes ----------*- C++ -*-===//
#ifndef PARE_TOOLS_ARTIFACT_H
#define PARE_TOOLS_ARTIFACT_H

#include "tools/CompileModel.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/JSON.h"

namespace pare::tools {

/// True if `path` is an executable that pare has made.
bool isArtifact(llvm::StringRef path);

/// A folder for this process's files, removed with all that is in it.
class TemporaryFolder {
public:
  static llvm::Expected<TemporaryFolder> create();
  TemporaryFolder(TemporaryFolder &&other) { std::swap(path, other.path); }
  ~TemporaryFolder();
  std::string file(const llvm::Twine &name) const;

private:
  TemporaryFolder() = default;
  llvm::SmallString<128> path;
};

/// An artifact, or a model that was compiled to one in a temporary folder.
struct Artifact {
  std::string path;
  std::string label; ///< what the user named
  bool compiled = false;
};

/// `options.model` itself if it is an artifact; else it is compiled as the
/// options say.
llvm::Expected<Artifact> openArtifact(CompileOptions options,
                                      const TemporaryFolder &folder,
                                      const llvm::Twine &name,
                                      Console &console);

/// Runs a command of an artifact and returns its standard output. Fails with
/// the artifact's own error line. `input`: a file that is its standard input.
llvm::Expected<std::string> runArtifact(const Artifact &artifact,
                                        llvm::ArrayRef<std::string> arguments,
                                        const TemporaryFolder &folder,
                                        llvm::StringRef input = "");

/// The same where standard output is JSON.
llvm::Expected<llvm::json::Value>
queryArtifact(const Artifact &artifact, llvm::ArrayRef<std::string> arguments,
              const TemporaryFolder &folder);

/// What an artifact says of itself (`info --json`).
llvm::Expected<llvm::json::Object> readInfo(const Artifact &artifact,
                                            const TemporaryFolder &folder);

/// A command of an artifact whose standard output is read while it runs: it
/// waits where nobody reads.
class ArtifactStream {
public:
  /// `name` is a file in `folder` that no other stream has.
  static llvm::Expected<ArtifactStream>
  start(const Artifact &artifact, llvm::ArrayRef<std::string> arguments,
        const TemporaryFolder &folder, const llvm::Twine &name);
  ArtifactStream(ArtifactStream &&other);
  /// Ends the command where it is.
  ~ArtifactStream();

  /// Fills `bytes`; fails with the artifact's own error line if it ends before.
  llvm::Error read(llvm::MutableArrayRef<char> bytes);
  /// Waits for the command's end, which must be without errors and output.
  llvm::Error finish();

private:
  ArtifactStream() = default;
  llvm::Error fail(llvm::StringRef cause);
  int wait();

  std::string label, errors; ///< file of its standard error
  int descriptor = -1, process = -1;
};

} // namespace pare::tools

#endif
