//===- BenchDecoder.h - pare bench of language models -----------*- C++ -*-===//
#ifndef PARE_TOOLS_BENCHDECODER_H
#define PARE_TOOLS_BENCHDECODER_H

#include "tools/Artifact.h"

namespace pare::tools {

/// How language models are measured.
struct DecoderBenchOptions {
  std::vector<std::string> arguments; ///< of the artifacts' own `bench`
  unsigned rounds = 1;                ///< times that each is measured, in turns
  bool profile = false, json = false;
};

/// True if the `bench` of the artifact that says `info` of itself counts
/// tokens: it is a language model that has its tokenizer.
bool isLanguageModel(const llvm::json::Object &info);

/// Measures one language model, or two in turns, and prints tokens per second:
/// of one its own table, of two a table with ratios.
llvm::Error benchDecoders(llvm::ArrayRef<Artifact> artifacts,
                          const DecoderBenchOptions &options,
                          const TemporaryFolder &folder, Console &console);

} // namespace pare::tools

#endif
