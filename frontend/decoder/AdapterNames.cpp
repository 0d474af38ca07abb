//===- AdapterNames.cpp - What adapters call a decoder's tensors ----------===//
#include "frontend/decoder/AdapterNames.h"

namespace pare::decoder {

using adapters::Place;

static bool isNorm(Role role) {
  switch (role) {
  case Role::OutputNorm:
  case Role::AttentionNorm:
  case Role::QueryNorm:
  case Role::KeyNorm:
  case Role::PostAttentionNorm:
  case Role::FfnNorm:
  case Role::PostFfnNorm:
    return true;
  default:
    return false;
  }
}

/// Where converters to GGUF put transformers' rows: neighbours of a head that
/// rotate together lie side by side (Llama), or all queries, keys and values
/// (GPT-NeoX, which has them by head).
std::vector<int64_t> AdapterNames::getRows(Role role) const {
  if (source.getNaming() != Naming::Gguf)
    return {};
  int64_t size = config.headDim;
  std::vector<int64_t> rows;
  if (config.rope.style == RopeStyle::Interleaved &&
      (role == Role::Query || role == Role::Key)) {
    int64_t heads = role == Role::Query ? config.heads : config.kvHeads;
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < size; ++i)
        rows.push_back(head * size + i % 2 * (size / 2) + i / 2);
  } else if (config.architecture == Architecture::GptNeoX &&
             role == Role::Qkv) {
    for (int64_t part = 0; part < 3; ++part)
      for (int64_t head = 0; head < config.heads; ++head)
        for (int64_t i = 0; i < size; ++i)
          rows.push_back((head * 3 + part) * size + i);
  }
  return rows;
}

std::optional<Place> AdapterNames::find(llvm::StringRef name) const {
  std::optional<TensorName> tensor =
      parseTensorName(name, Naming::HuggingFace, config.architecture);
  if (!tensor)
    return std::nullopt;
  Place place;
  Role role = tensor->role;
  if (config.hasTiedEmbeddings && role == Role::Output) {
    tensor->role = Role::TokenEmbedding;
    place.uses = Place::Uses::Products;
  } else if (config.hasTiedEmbeddings && role == Role::TokenEmbedding) {
    place.uses = Place::Uses::Lookups;
  }
  std::optional<std::string> own = source.find(*tensor);
  if (!own)
    return std::nullopt;
  place.tensor = std::move(*own);
  place.rows = getRows(role);
  if (source.getNaming() == Naming::Gguf) {
    bool isGemma = config.architecture == Architecture::Gemma2 ||
                   config.architecture == Architecture::Gemma3;
    place.offset = isGemma && isNorm(role) ? 1 : 0;
    bool isMatrix = tensor->layer >= 0 && !isNorm(role) && !tensor->isBias;
    if (config.architecture == Architecture::Gpt2 && isMatrix)
      place.whyNotWhole = "GGUF has the weight transposed";
  }
  return place;
}

/// Gemma 3 scales embeddings as it looks them up, so that prompts come scaled;
/// Gemma 2 scales whatever it is given.
std::optional<adapters::Names::TokenTable> AdapterNames::getTokenTable() const {
  std::optional<std::string> tensor = source.find({Role::TokenEmbedding});
  if (!tensor)
    return std::nullopt;
  bool isScaled = config.architecture == Architecture::Gemma3;
  return TokenTable{*tensor, context,
                    isScaled ? float(1 / config.embeddingScale) : 1.0f};
}

} // namespace pare::decoder
