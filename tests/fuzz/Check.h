//===- Check.h - What must hold of every input ------------------*- C++ -*-===//
#ifndef PARE_TESTS_FUZZ_CHECK_H
#define PARE_TESTS_FUZZ_CHECK_H

#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>

namespace pare::fuzz {

/// Ends the run as a failure that the fuzzer keeps the input of.
inline void check(bool holds, const char *what) {
  if (holds)
    return;
  llvm::errs() << "does not hold: " << what << "\n";
  std::abort();
}

/// An error is fine, but it is one line.
inline void checkError(llvm::Error error) {
  std::string message = llvm::toString(std::move(error));
  check(llvm::StringRef(message).find('\n') == llvm::StringRef::npos,
        "an error is one line");
}

} // namespace pare::fuzz

#endif
