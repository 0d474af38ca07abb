//===- Encode.h - Weights of a matrix to codes of a format ------*- C++ -*-===//
//
// One matrix [outputs, inputs] becomes planes of a BlockFormat. What is done
// rests on the fields of the format alone.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_ENCODE_H
#define PARE_PASSES_QUANTIZE_ENCODE_ENCODE_H

#include "frontend/weights/BlockFormat.h"

namespace pare::encode {

/// How codes are chosen.
enum class RoundMethod : uint8_t {
  /// The value nearest to the weight.
  Nearest,
  /// Half-quadratic quantization (Badri and Shaji 2023): the minimum, or zero
  /// point, is the one under which few weights are far off (‖·‖_p, p = 0.7).
  /// Needs no inputs. Formats that have neither are rounded to nearest.
  Hqq,
  /// What the rounding of an input's weights did to the output is corrected in
  /// the weights that follow (Frantar et al. 2022), computed as LDLQ (Chee et
  /// al. 2023, theorem 6: the same codes without an inverse of H). With cross
  /// moments also what inputs differ by from those of the float model (GPTAQ,
  /// Li et al. 2025).
  Gptq,
  /// GPTQ, then cyclic coordinate descent on the output's error, as in
  /// QuantEase (Behdin et al. 2023), with least-squares scales in between.
  GptqDescent,
  /// Offsets of the rounding and factors of the scales by signed gradient
  /// descent (AutoRound, Cheng et al. 2023) on the layer's output error.
  AutoRound,
};

/// How scales are chosen before codes are.
enum class ScaleSearch : uint8_t {
  MaxAbs, ///< no weight is clipped
  /// The least squared error of rounding to nearest, weighted by Σx² where it
  /// is known, over a grid of clipping with a least-squares fit at each point.
  Mse,
  /// As Mse by the error of the group's part of the output, e H_g eᵀ; this is
  /// the search for clipping of AWQ (Lin et al. 2023, section 3.2).
  Output,
};

struct EncodeOptions {
  RoundMethod method = RoundMethod::Gptq;
  ScaleSearch scales = ScaleSearch::Mse;
  /// GPTQ: inputs in order of falling Σx², scales of all groups chosen before.
  /// Else from left to right, the scales of a group chosen when its first
  /// input is reached, of weights as they are by then.
  bool actOrder = true;
  double damping = 0.01;     ///< GPTQ: added to H, times its mean diagonal
  double asymmetry = 1;      ///< share of cross moments that is corrected for
  unsigned sweeps = 4;       ///< GptqDescent: at most
  unsigned iterations = 200; ///< AutoRound
  unsigned threads = 1;      ///< does not change results
};

/// Sums over the rows x of a matrix's inputs.
struct InputMoments {
  int64_t size; ///< inputs
  /// H = Σ x xᵀ, [size, size]. Empty where only Σx² is known; then no method
  /// corrects anything, and importance weights the choice of scales.
  llvm::ArrayRef<double> products;
  llvm::ArrayRef<double> importance; ///< Σ x², [size]; where no products are
  /// C = Σ (x_float - x) xᵀ, [size, size] or empty: inputs x of the quantized
  /// model beside those of the float model for the same data.
  llvm::ArrayRef<double> cross;
};

/// Weights [rows, columns] that also make up for what the sums lack which their
/// product is added to: W + share · D (H + ridge · diag H)⁻¹, the least squares
/// of ‖ŝ - s - ΔW x‖² with a ridge. `lack` is D = Σ (ŝ - s) xᵀ, [rows,
/// columns], with s what the quantized model sums up with W itself, and ŝ the
/// float model: errors of earlier layers are not handed on where these inputs
/// show them (after Arai and Ichikawa 2025, Quantization Error Propagation, who
/// correct for a layer's own inputs). `moments` must have products.
std::vector<float> makeUpFor(llvm::ArrayRef<double> lack,
                             llvm::ArrayRef<float> weights, int64_t rows,
                             const InputMoments &moments, double share,
                             double ridge);

struct EncodedMatrix {
  BlockPlanes planes;
  /// Relative error with E = W - Ŵ: √(tr(E H Eᵀ) / tr(W H Wᵀ)), of H the
  /// diagonal or the identity where no more is known. 0 for zeros.
  double error = 0;
  double norm = 0; ///< tr(W H Wᵀ), by which the square is relative
};

/// Whether a weight can be exactly 0 whatever its group's scale is.
bool hasExactZero(const BlockFormat &format);

/// Codes of weights [rows, columns] (row-major, finite), groups along columns.
/// `columns` is a multiple of format.scaleGroup(); `moments` may be null. The
/// same bytes for any number of threads and on every CPU.
///
/// `mask`, [rows, columns] or empty, is 0 for weights that become exactly 0;
/// the format hasExactZero. What they did is lost as a rounding error is, so
/// that methods which correct those make up for it too (SparseGPT, Frantar and
/// Alistarh 2023, section 3.5).
EncodedMatrix encodeMatrix(llvm::ArrayRef<float> weights, int64_t rows,
                           int64_t columns, const BlockFormat &format,
                           const EncodeOptions &options,
                           const InputMoments *moments = nullptr,
                           llvm::ArrayRef<uint8_t> mask = {});

/// EncodedMatrix::error of any weights [rows, columns] in place of others.
double getRelativeError(llvm::ArrayRef<float> weights,
                        llvm::ArrayRef<float> changed, int64_t rows,
                        int64_t columns, const InputMoments *moments = nullptr,
                        unsigned threads = 1);

} // namespace pare::encode

#endif
