//===- ModelInfo.h - What an artifact says of itself ------------*- C++ -*-===//
#ifndef PARE_BACKENDS_EMIT_MODELINFO_H
#define PARE_BACKENDS_EMIT_MODELINFO_H

#include "backends/runtime/Abi.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pare::emit {

/// Preprocessing of an image input (`--image`).
struct ImageInput {
  std::string input; ///< name
  uint32_t width = 0, height = 0, channels = 3;
  bool nchw = true, bgr = false;
  std::vector<float> mean, std; ///< empty: 0 and 1
};

/// The runtime's form of `image`, which is of input number `input`.
PareImageInfo getImageInfo(const ImageInput &image, uint32_t input);

/// What the compiler knows of a model beyond its graph.
struct ModelInfo {
  std::string name;
  std::string metadata; ///< JSON for `info`
  unsigned threads = 0; ///< 0: decided at start
  std::vector<ImageInput> images;

  struct Encoder {
    std::vector<uint8_t> tokenizer;
    ParePooling pooling = PARE_POOL_NONE;
    bool normalize = false;
    uint32_t maxTokens = 0;
  };
  std::optional<Encoder> encoder;

  struct Decoder {
    std::vector<uint8_t> tokenizer, chatTemplate;
    uint32_t context = 0, vocabulary = 0, promptTokens = 0;
    std::vector<int32_t> stops;
    float temperature = 0, topP = 0, minP = 0, repetitionPenalty = 0;
    uint32_t topK = 0;
  };
  std::optional<Decoder> decoder;
};

} // namespace pare::emit

#endif
