//===- AdapterNames.h - What adapters call a decoder's tensors --*- C++ -*-===//
#ifndef PARE_FRONTEND_DECODER_ADAPTERNAMES_H
#define PARE_FRONTEND_DECODER_ADAPTERNAMES_H

#include "frontend/adapters/Apply.h"
#include "frontend/decoder/Builder.h"

namespace pare::decoder {

/// transformers' names of a decoder's tensors, whatever its source calls them
/// and in whichever order it has their rows.
class AdapterNames : public adapters::Names {
public:
  /// `context`: positions that the model is compiled for.
  AdapterNames(const DecoderConfig &config, const TensorSource &source,
               int64_t context)
      : config(config), source(source), context(context) {}

  std::optional<adapters::Place> find(llvm::StringRef name) const override;
  std::optional<TokenTable> getTokenTable() const override;

private:
  std::vector<int64_t> getRows(Role role) const;

  const DecoderConfig &config;
  const TensorSource &source;
  int64_t context;
};

} // namespace pare::decoder

#endif
