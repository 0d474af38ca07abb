//===- ShapeSpec.h - Input shapes as users write them -----------*- C++ -*-===//
//
//   1x3x48x320                   all fixed
//   batch:1..16x3x48xwidth:8..2048   named dimensions with bounds stay dynamic
//   batch,128                    `,` separates as well; a name without bounds
//                                ends there, since names may hold an x; names
//                                are of letters, digits, `_`, `.` and `-` and
//                                start with a letter or `_`
//   ?x128                        `?` keeps what the model says
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_SHAPESPEC_H
#define PARE_FRONTEND_SHAPESPEC_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace pare {

/// One dimension of a shape option: a size, a symbol, or neither (`?`).
struct DimSpec {
  std::optional<int64_t> size; ///< ≥ 1
  std::string name;            ///< of a symbol
  int64_t min = 0, max = 0;    ///< inclusive; 0: the importer's default
};

/// Parses a shape option; the error names `input` and shows the syntax.
llvm::Expected<std::vector<DimSpec>> parseShapeSpec(llvm::StringRef text,
                                                    llvm::StringRef input);

} // namespace pare

#endif
