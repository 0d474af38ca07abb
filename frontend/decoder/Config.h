//===- Config.h - What a decoder language model is made of ------*- C++ -*-===//
//
// One description for all sources of a model: GGUF metadata and Hugging Face's
// config.json fill it, graph builders read it and nothing else.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_DECODER_CONFIG_H
#define PARE_FRONTEND_DECODER_CONFIG_H

#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <string>
#include <vector>

namespace pare::gguf {
class File;
}

namespace pare::decoder {

enum class Architecture {
  Llama, ///< also Mistral, SmolLM2 and others of the same layers
  Mixtral,
  SmolLM3,
  Qwen2,
  Qwen3,
  Qwen3Moe,
  Gemma2,
  Gemma3,
  Phi3, ///< also Phi-4-mini
  Gpt2,
  GptNeoX,
};

/// "llama", …, as config.json's model_type.
llvm::StringRef getName(Architecture architecture);

enum class NormKind { Rms, Layer };

enum class Activation { Silu, Gelu, GeluTanh, Relu };

/// Which elements of a head rotate together.
enum class RopeStyle {
  Half,        ///< i and i + dims / 2, as transformers has it
  Interleaved, ///< 2 i and 2 i + 1: the rows of Q and K are permuted in GGUF
};

enum class RopeScaling {
  None,
  Linear,   ///< frequencies / factor
  Dynamic,  ///< NTK: the base grows with lengths beyond originalContext
  Llama3,   ///< by wavelength, between lowFrequency and highFrequency
  Yarn,     ///< Peng et al. 2023 (arXiv 2309.00071)
  LongRope, ///< Ding et al. 2024: divisors per frequency, short and long
  Divisors, ///< by the tensor of Role::RopeDivisors (Llama 3 in GGUF)
};

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864).
struct Rope {
  RopeStyle style = RopeStyle::Half;
  int64_t dims = 0; ///< that rotate, of each head; the rest pass
  double base = 10000;
  RopeScaling scaling = RopeScaling::None;
  double factor = 1;
  int64_t originalContext = 0;
  /// Of sine and cosine; 0: as the scaling's paper derives it from `factor`.
  double attentionFactor = 0;
  double lowFrequency = 1, highFrequency = 4; ///< Llama3
  double betaFast = 32, betaSlow = 1;         ///< Yarn
  double mscale = 0, mscaleAllDim = 0;        ///< Yarn; 0: absent
  bool truncate = true;                       ///< Yarn
  /// LongRope, dims / 2 each; empty where they are tensors (GGUF).
  std::vector<double> shortDivisors, longDivisors;
};

/// How the projections of one layer's queries, keys and values are stored.
enum class QkvLayout {
  Separate,
  Concatenated, ///< rows of Q, then K, then V
  PerHead,      ///< q, k, v of head 0, then of head 1, …
};

struct Experts {
  int64_t count = 0; ///< 0: dense
  int64_t used = 0;  ///< per token
  int64_t intermediate = 0;
  bool normalize = true; ///< the used experts' weights sum to one
};

struct Layer {
  int64_t window = 0; ///< tokens that a query sees, itself included; 0: all
  bool hasRope = true;
  bool isSparse = false; ///< experts in place of the dense feed-forward
};

struct DecoderConfig {
  Architecture architecture = Architecture::Llama;
  int64_t vocabulary = 0, context = 0;
  int64_t hidden = 0, intermediate = 0;
  int64_t heads = 0, kvHeads = 0, headDim = 0;
  std::vector<Layer> layers;

  Rope rope;      ///< of layers without a window, and of those with unless:
  Rope localRope; ///< of layers with a window, where hasLocalRope
  bool hasLocalRope = false;
  bool hasPositionEmbeddings = false; ///< learned, added to the tokens'

  NormKind norm = NormKind::Rms;
  double normEpsilon = 1e-6;
  double normOffset = 0;     ///< added to a norm's weight: 1 for Gemma's files
  bool hasQkNorm = false;    ///< an RMS norm over each head's queries and keys
  bool hasPostNorms = false; ///< also after attention and feed-forward

  double queryScale = 0; ///< of scores: 1 / sqrt(headDim) where not said
  double attentionSoftCap = 0, finalSoftCap = 0; ///< 0: none
  double embeddingScale = 1;

  Activation activation = Activation::Silu;
  bool isGated = true;
  Experts experts;

  QkvLayout qkv = QkvLayout::Separate;
  bool hasFusedGateUp = false; ///< rows of gate, then up
  bool hasQkvBias = false, hasOutputBias = false, hasFfnBias = false;
  bool hasTransposedWeights = false; ///< [in, out] (GPT-2's own files)
  bool hasParallelResidual = false;
  bool hasTiedEmbeddings = false;

  /// "llama, 30 layers, hidden 576, …", for people.
  std::string print() const;
};

/// From a GGUF file's metadata and the tensors it has. Errors name the key, or
/// the tensor that contradicts it.
llvm::Expected<DecoderConfig> readConfig(const gguf::File &file);

/// From config.json; `path` is for errors, which name the key. Keys that are
/// absent have the defaults of transformers' class.
llvm::Expected<DecoderConfig> readConfig(const llvm::json::Object &config,
                                         llvm::StringRef path);

/// Whether a model_type, or a general.architecture of GGUF, is known.
bool isKnownModelType(llvm::StringRef modelType);
bool isKnownGgufArchitecture(llvm::StringRef architecture);
/// "llama, mistral, …", for messages.
std::string getKnownModelTypes();
std::string getKnownGgufArchitectures();

} // namespace pare::decoder

#endif
