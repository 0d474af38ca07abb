//===- Apply.h - Puts adapters into a model ---------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_ADAPTERS_APPLY_H
#define PARE_FRONTEND_ADAPTERS_APPLY_H

#include "frontend/Importer.h"

namespace pare::adapters {

/// Where a tensor that transformers names is in a model.
struct Place {
  std::string tensor; ///< in the weight store
  /// Which of its uses: tied embeddings are two modules' one tensor.
  enum class Uses { All, Lookups, Products } uses = Uses::All;
  /// Row i of the model's tensor is row rows[i] of transformers'; empty: in
  /// the same order.
  std::vector<int64_t> rows = {};
  float offset = 0; ///< that the model's file adds to transformers' values
  /// Why no tensor of an adapter can stand in for it; empty: it can.
  std::string whyNotWhole = {};
};

/// What transformers calls a model's tensors.
class Names {
public:
  virtual ~Names() = default;
  /// The place of "model.layers.0.self_attn.q_proj.weight"; nullopt: the model
  /// has no such tensor.
  virtual std::optional<Place> find(llvm::StringRef name) const = 0;

  /// Where a language model looks its tokens up.
  struct TokenTable {
    std::string tensor; ///< in the weight store
    int64_t context;    ///< positions that the model was compiled for
    /// What vectors that take the place of rows are multiplied by.
    float scale = 1;
  };
  /// nullopt: no language model.
  virtual std::optional<TokenTable> getTokenTable() const {
    return std::nullopt;
  }
};

/// Puts the adapters of `options` into a model: products and lookups of the
/// weights that they update, in the way that options.adapterMode says, and the
/// tensors that they replace. Every tensor of an adapter must find its place;
/// errors name the one that does not. Vectors of prompt tuning become rows that
/// tokens from the vocabulary's size on look up; `promptTokens` receives how
/// many, which belong before each sequence.
llvm::Error applyAdapters(const ImportOptions &options, const Names &names,
                          Model &model, int64_t &promptTokens);

} // namespace pare::adapters

#endif
