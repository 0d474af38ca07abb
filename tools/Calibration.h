//===- Calibration.h - The --calibrate option -------------------*- C++ -*-===//
#ifndef PARE_TOOLS_CALIBRATION_H
#define PARE_TOOLS_CALIBRATION_H

#include "backends/emit/ModelInfo.h"
#include "tools/data/TextSamples.h"

namespace pare::tools {

/// What is read, and how much of it.
struct CalibrationOptions {
  /// Files and folders, whole or in part (tools/data/Documents.h).
  std::vector<std::string> paths;
  uint64_t tokens = 32768; ///< of a language model, in all samples together
  uint64_t chunk = 512;    ///< its tokens in one sample
  /// Rows of a chunk whose logits are wanted, evenly spaced, the last one among
  /// them; layers behind the last attention compute no others. As many as an
  /// artifact gives in one run; the interpreter takes any number.
  uint64_t outputs = 64;
  uint64_t texts = 256; ///< of a sentence encoder
  uint64_t seed = 0;    ///< of which chunks and texts
};

struct CalibrationData {
  std::vector<Sample> samples;
  std::vector<std::string> warnings; ///< one line each
  uint64_t tokens = 0;               ///< in all samples; 0: not of texts
};

/// Reads calibration samples for `model`.
///
/// Texts and conversations (.jsonl), for models with a tokenizer:
/// - a language model's tokens are cut into chunks, each one sample of one
///   sequence that begins as texts of the tokenizer do (and with the model's
///   prompt tokens): `tokens` and `positions` [T], `sequences` of zeros, and
///   `outputs`. Where there are more than `options.tokens`, chunks are drawn
///   evenly over the whole.
/// - a sentence encoder takes each line as a text, cut as `embed` does it and
///   as long as it is where the length may vary; a fixed batch holds several.
///
/// Arrays and pictures, for all: a .npz (one sample: all inputs by name) or,
/// for a model with one input, a .npy or picture; pictures are prepared as
/// `images` say. Where the input's first axis is fixed and the array's is a
/// multiple of it, each part is a sample. Wrong names, shapes and element
/// types, and NaN or infinite values are errors.
///
/// Errors are one line with the file's name; `listener` hears of files. Equal
/// files and options give equal samples.
llvm::Expected<CalibrationData>
readCalibration(const CalibrationOptions &options, Model &model,
                llvm::ArrayRef<emit::ImageInput> images,
                const ProgressFn &listener = nullptr);

} // namespace pare::tools

#endif
