//===- SentenceEncoder.h - sentence-transformers folders --------*- C++ -*-===//
#ifndef PARE_FRONTEND_SAFETENSORS_SENTENCEENCODER_H
#define PARE_FRONTEND_SAFETENSORS_SENTENCEENCODER_H

#include "frontend/Importer.h"

namespace pare::safetensors {

/// What a folder's modules.json says.
struct SentenceEncoder {
  std::string transformerFolder; ///< holds config.json and the tensors
  EncoderInfo::Pooling pooling = EncoderInfo::Pooling::None;
  bool normalize = false;
  int64_t maxTokens = 0; ///< sentence_bert_config.json; 0: not given
};

/// Reads modules.json; nullopt where the folder has none. Modules other than
/// one Transformer, one Pooling and Normalize are an error that names them.
llvm::Expected<std::optional<SentenceEncoder>>
readSentenceEncoder(llvm::StringRef folder);

} // namespace pare::safetensors

#endif
