//===- EntryPoints.h - The C interface of one model -------------*- C++ -*-===//
//
// A library has one function per purpose, named after the model, with one
// parameter per symbolic dimension, input and output:
//
//   minilm_context *minilm_create(options, error, error_bytes);
//   int minilm_run(context, batch, sequence, input_ids, …, hidden);
//
// Here they are described once, and written as LLVM IR and as a header.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_EMIT_ENTRYPOINTS_H
#define PARE_BACKENDS_EMIT_ENTRYPOINTS_H

#include "backends/emit/ModelInfo.h"
#include "frontend/ir/NN.h"
#include "llvm/IR/Module.h"

namespace pare::emit {

class EntryPoints {
public:
  /// `fileName` gives the prefix of all names: "lib" and the extension are
  /// dropped and what is left made a C identifier. `hasGenerator`: a language
  /// model with a tokenizer.
  EntryPoints(llvm::StringRef fileName, mlir::ModuleOp graph,
              bool hasGenerator = false);

  const std::string &prefix() const { return prefix_; }
  /// Names of the functions that a library exports.
  std::vector<std::string> symbols() const;
  /// A symbol of the weights that no other model's library has.
  std::string weightsSymbol() const { return prefix_ + "_weights_data"; }

  /// Defines the functions in the module that defines `pare_model`, which
  /// becomes internal to it.
  void define(llvm::Module &module) const;

  /// The text of the header. `target` is what the library was compiled for.
  std::string header(const ModelInfo &info, llvm::StringRef target) const;

private:
  struct Parameter {
    std::string source; ///< name in the model
    std::string name;   ///< C identifier
    mlir::RankedTensorType type;
  };
  struct Dimension {
    std::string name;
    int64_t min, max;
  };
  std::string formatDim(nn::Dim dim) const;
  std::string formatType(const Parameter &parameter) const;

  std::string prefix_;
  std::vector<Dimension> dims;
  std::vector<Parameter> inputs, outputs;
  bool hasCaches = false; ///< a language model
  bool hasGenerator = false;
};

} // namespace pare::emit

#endif
