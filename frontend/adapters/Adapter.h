//===- Adapter.h - Adapters that PEFT saved ---------------------*- C++ -*-===//
//
// A folder with adapter_config.json and adapter_model.safetensors, as
// PeftModel.save_pretrained writes it (https://huggingface.co/docs/peft,
// "PEFT checkpoint format").
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_ADAPTERS_ADAPTER_H
#define PARE_FRONTEND_ADAPTERS_ADAPTER_H

#include "frontend/safetensors/Reader.h"

namespace pare::adapters {

/// A layer's update W + scale · B A (Hu et al. 2021, arXiv 2106.09685). With a
/// magnitude m, each output's row of it is then scaled to length m (DoRA, Liu
/// et al. 2024, arXiv 2402.09353).
struct LoraLayer {
  std::string path; ///< of the module: "model.layers.0.self_attn.q_proj"
  /// A is [rank, in], B [out, rank]; of an embedding, where rows are looked
  /// up, [rank, rows] and [width, rank].
  safetensors::Tensor a, b;
  bool isEmbedding = false;
  std::optional<safetensors::Tensor> magnitude; ///< [out]
  double scale = 1;

  int64_t getRank() const { return a.type.getDimSize(0); }
};

struct Adapter {
  std::string folder;
  std::vector<LoraLayer> layers; ///< by path
  /// Tensors that replace the model's (modules_to_save, trained biases), by
  /// their names there: "lm_head.weight".
  std::vector<std::pair<std::string, safetensors::Tensor>> whole;
  /// Vectors that take the place of a sequence's first tokens, [tokens, hidden]
  /// (prompt tuning, Lester et al. 2021, arXiv 2104.08691; p-tuning, Liu et al.
  /// 2021, arXiv 2103.10385, as its encoder gave them).
  std::optional<safetensors::Tensor> prompt;
};

/// Reads a folder. Errors are one line: what is missing, which kind of adapter
/// or option is not supported, which tensors do not fit each other.
llvm::Expected<Adapter> readAdapter(llvm::StringRef folder,
                                    mlir::MLIRContext &context);

/// A tensor's values in f32.
llvm::Expected<std::vector<float>> toF32(const safetensors::Tensor &tensor);

/// Whether a key of rank_pattern or alpha_pattern is about a module: a regular
/// expression, as Python has them, for the whole path or what follows a dot.
/// Fails where it is none that is understood.
llvm::Expected<bool> matchesPattern(llvm::StringRef pattern,
                                    llvm::StringRef path);

} // namespace pare::adapters

#endif
