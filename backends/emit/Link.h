//===- Link.h - Linking in process ------------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_EMIT_LINK_H
#define PARE_BACKENDS_EMIT_LINK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace pare::emit {

/// The folder with the runtime archive and start-up files of a target triple,
/// beside the running program; an error says what is missing and how to get it.
llvm::Expected<std::string> findRuntime(llvm::StringRef triple);

/// Links objects and the runtime into a static executable, with lld in process.
/// `modules` are the optional parts of the runtime that the model uses
/// (backends/runtime/Modules.h). lld resets every llvm::cl option to its
/// default on the way.
llvm::Error linkExecutable(llvm::StringRef triple,
                           llvm::ArrayRef<std::string> objects,
                           llvm::ArrayRef<std::string> modules,
                           llvm::StringRef output);

/// The libraries that an executable with kernels of oneDNN needs beside it, as
/// paths; an error where this build of pare has none.
llvm::Expected<std::vector<std::string>> findOneDnn(llvm::StringRef triple);

/// Links an executable with kernels of oneDNN: dynamic, on libc and on
/// `libraries`, which it looks for in its own folder.
llvm::Error linkWithOneDnn(llvm::StringRef triple,
                           llvm::ArrayRef<std::string> objects,
                           llvm::ArrayRef<std::string> modules,
                           llvm::ArrayRef<std::string> libraries,
                           llvm::StringRef output);

/// Links objects and the runtime into a shared library that needs libc only
/// and exports what the objects' own symbols of default visibility are.
llvm::Error linkShared(llvm::StringRef triple,
                       llvm::ArrayRef<std::string> objects,
                       llvm::ArrayRef<std::string> modules,
                       llvm::StringRef soname, llvm::StringRef output);

/// Makes a static library of two members: `code` with the runtime, in which
/// all but the `exported` symbols are local, so that several models fit one
/// program; and the object `weights`.
llvm::Error makeArchive(llvm::StringRef triple, llvm::StringRef code,
                        llvm::StringRef weights,
                        llvm::ArrayRef<std::string> modules,
                        llvm::ArrayRef<std::string> exported,
                        llvm::StringRef prefix, llvm::StringRef output);

} // namespace pare::emit

#endif
