//===- TextSamples.h - Tokens as a model's inputs ---------------*- C++ -*-===//
#ifndef PARE_TOOLS_DATA_TEXTSAMPLES_H
#define PARE_TOOLS_DATA_TEXTSAMPLES_H

#include "frontend/Importer.h"
#include "passes/reference/HostTensor.h"
#include "tools/data/Tokens.h"

namespace pare::tools {

using Sample = std::vector<HostTensor>; ///< one tensor per input of the entry

/// What a dimension of the entry's inputs may be; low == high: fixed.
struct DimBounds {
  int64_t low, high;
};
DimBounds getBounds(mlir::func::FuncOp entry, nn::Dim dim);

/// How many tokens of text one run of a language model takes.
llvm::Expected<uint64_t> getMaxChunk(mlir::func::FuncOp entry,
                                     const DecoderInfo &decoder);

/// A chunk of tokens as the inputs that frontend/decoder/Builder.h lists:
/// sequence 0 from its start, after the model's prompt tokens. Logits of
/// `outputs` of the rows are wanted, evenly spaced, the last one among them.
Sample makeDecoderSample(mlir::func::FuncOp entry, const DecoderInfo &decoder,
                         llvm::ArrayRef<int32_t> tokens, uint64_t outputs);

/// The encoder's batch and length.
struct EncoderShape {
  DimBounds batch, length;
  uint64_t maxTokens; ///< of a text, special ones included
};
/// Fails where the entry has no token ids of shape [batch, tokens], or an input
/// that no text gives.
llvm::Expected<EncoderShape> getEncoderShape(mlir::func::FuncOp entry,
                                             const EncoderInfo &encoder);

/// Texts' tokens, up to the smallest batch of them, as the encoder's inputs,
/// filled as `embed` does it: padded to the longest or the fixed length, rows
/// beyond the last text repeat it.
Sample makeEncoderSample(mlir::func::FuncOp entry, const EncoderShape &shape,
                         llvm::ArrayRef<std::vector<int32_t>> texts,
                         const TextTokenizer &tokenizer);

} // namespace pare::tools

#endif
