//===- Builder.h - The graph of a decoder language model --------*- C++ -*-===//
//
// One builder for all architectures and sources: what differs is in the
// config. The entry's contract with the runtime is PareDecoderInfo's
// (backends/runtime/Abi.h).
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_DECODER_BUILDER_H
#define PARE_FRONTEND_DECODER_BUILDER_H

#include "frontend/GraphBuilder.h"
#include "frontend/decoder/TensorNames.h"

namespace pare::decoder {

/// Tokens that one run takes at most, and rows of logits that it gives.
constexpr int64_t maxRows = 512, maxOutputs = 64;

/// A source's tensors by what they are for.
class TensorSource {
public:
  virtual ~TensorSource() = default;
  /// Puts a tensor into the store that the graph is built on; returns its name
  /// there. Fails where it is missing or has another shape, by name.
  virtual llvm::Expected<std::string> load(const TensorName &tensor,
                                           llvm::ArrayRef<int64_t> shape) = 0;
  /// The name that load would return for a tensor; nullopt where the source
  /// does not have it.
  virtual std::optional<std::string> find(const TensorName &tensor) const = 0;
  virtual Naming getNaming() const = 0;
  virtual llvm::StringRef getPath() const = 0;
  /// Names of the tensors that load was not asked for.
  virtual std::vector<std::string> findUnused() const = 0;

  /// The matrices of all experts, [experts, out, in], as one tensor of `store`:
  /// the source's own, or a stack of what it has for each expert.
  llvm::Expected<std::string> loadExperts(const TensorName &tensor,
                                          llvm::ArrayRef<int64_t> shape,
                                          WeightStore &store);
};

/// Builds the entry: inputs `tokens`, `positions`, `sequences` (i32 [tokens])
/// and `outputs` (i32 [outputs], rows whose logits are wanted); result
/// `logits` [outputs, vocabulary]. Checks the options and fills the model's
/// module, warnings and DecoderInfo, but for what the tokenizer and its
/// neighbours say.
llvm::Error importDecoder(const DecoderConfig &config,
                          const ImportOptions &options, TensorSource &source,
                          GraphBuilder &builder, Model &model);

} // namespace pare::decoder

#endif
