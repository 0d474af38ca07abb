//===- Documents.h - Files of data that a user names ------------*- C++ -*-===//
//
// What --calibrate and --data take: a file or a folder, whole or a share of it.
//
//   prose.txt             all of it
//   prose.txt:0%-50%      its first half; :50%-100% is the rest: a text is cut
//                         at the next end of a line, or space where lines are
//                         longer than 4 KiB, so that shares never overlap
//   data.jsonl:90%-100%   the last tenth of its lines
//   photos/:0%-10%        the first tenth of the files, in the order of names
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_DATA_DOCUMENTS_H
#define PARE_TOOLS_DATA_DOCUMENTS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace pare::tools {

/// A path and the share of what is there, begin < end, both in [0, 1].
struct DataPath {
  std::string path;
  double begin = 0, end = 1;
};

/// Reads "PATH" or "PATH:A%-B%"; fails where A% to B% is no share. A file of
/// that whole name is itself.
llvm::Expected<DataPath> parseDataPath(llvm::StringRef text);

/// A file with its share.
struct DataFile : DataPath {
  std::string folder; ///< of the one that the user named, "" at its top:
                      ///< "cats" of photos/cats/1.png

  /// What is in it, by its name; by its first bytes for pictures.
  bool isArrays() const; ///< .npy, .npz
  bool isPicture() const;
  bool isJsonLines() const; ///< .jsonl, .ndjson
  bool isText() const;      ///< none of these
};

/// A file in a folder that says what its pictures show (tools/Eval.h).
inline constexpr llvm::StringLiteral kLabelsFile = "labels.txt";

/// The files of `paths`, in their order. A folder stands for all files in it
/// and in its folders in the order of their names, but for labels and those
/// whose name begins with a dot. Fails for paths that are not there and folders
/// without files.
llvm::Expected<std::vector<DataFile>>
findDataFiles(llvm::ArrayRef<std::string> paths);

/// One text: a file of prose, one line of it, or a conversation.
struct Document {
  std::string text;     ///< of a conversation: its messages, one a line
  std::string messages; ///< JSON, for a chat template; "": plain text
  std::string tools;    ///< JSON, or ""
  std::string where;    ///< "chat.jsonl:12"
};

/// Appends what a text file or file of JSON lines has to `documents`. A text is
/// one document, or with `byLine` one for each line that is not blank. A line
/// of JSON is an object with "text", with "prompt" and "response", or with
/// "messages" (and "tools"), each a document. Fails for files that cannot be
/// read, are empty, hold bytes that are no text, and for the first line that is
/// none of these objects.
llvm::Error readDocuments(const DataFile &file, bool byLine,
                          std::vector<Document> &documents);

} // namespace pare::tools

#endif
