//===- Panel.h - What methods work on ---------------------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_PANEL_H
#define PARE_PASSES_QUANTIZE_ENCODE_PANEL_H

#include "passes/quantize/encode/Scales.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace pare::encode {

/// A matrix of f32 [size, size], row-major; empty where it is not needed.
using SquareMatrix = std::vector<float>;

/// GPTQ's side of a matrix: what of the error at an input goes into later ones.
struct Feedback {
  std::vector<int64_t> order; ///< inputs as they are rounded
  /// With H = Ũ D Ũᵀ of the damped, ordered moments and Ũ unit upper
  /// triangular: row j, column k < j is Ũ[k, j].
  SquareMatrix errors;
  std::vector<double> pivots; ///< D; of k 1 / [H⁻¹]_kk over inputs from k on
  /// GPTAQ, transposed likewise: row j, column k < j is P[k, j].
  SquareMatrix asymmetry;
};

/// What all panels of a matrix share. Moments are multiplied by `factor`, so
/// that the mean Σx² is 1.
struct Problem {
  Problem(int64_t columns, const BlockFormat &format,
          const EncodeOptions &options, const InputMoments *moments);

  int64_t columns;
  const EncodeOptions &options;
  ScaleFitter fitter;
  double factor = 1;
  Columns importance;   ///< Σx² or 1
  SquareMatrix moments; ///< H
  SquareMatrix cross;   ///< Cᵀ
  Feedback feedback;

  const BlockFormat &format() const { return fitter.format(); }
  bool hasMoments() const { return !moments.empty(); }
};

/// Makes Eigen cut sums alike on all CPUs, and not by the sizes of caches.
void fixBlocking();

inline void multiply(Lanes &lanes, const Lanes &by) { vec(lanes) *= vec(by); }

/// Sixteen rows; columns in the order of memory.
struct Panel {
  Columns weights;
  Columns values; ///< the levels that were chosen
  PanelScales scales;
  /// 1, or 0 for weights that become 0, and weights with zeros for those; both
  /// are empty where there are none.
  Columns stays, kept;

  /// What there is to round, and to choose scales for.
  const Columns &toRound() const { return stays.empty() ? weights : kept; }

  GroupScale &scaleOf(const Problem &problem, int64_t column) {
    return scales.groups[column / problem.format().group];
  }
};

/// The weights of scale group `index`, with `weights` in place of the panel's.
GroupData getGroup(const Problem &problem, const Lanes *weights, int64_t index);

/// Chooses the scales of all groups for the panel's weights.
void fitScales(const Problem &problem, Panel &panel);
/// Chooses values under the panel's scales.
void roundToNearest(const Problem &problem, Panel &panel);
/// errors = W - Ŵ.
void getErrors(const Problem &problem, Panel &panel, Columns &errors);

// Each chooses scales and values.
void roundByGptq(const Problem &problem, Panel &panel);
void roundByHqq(const Problem &problem, Panel &panel);
void roundByAutoRound(const Problem &problem, Panel &panel);
/// Improves values and scales that another method chose. The objective of no
/// row gets larger.
void descend(const Problem &problem, Panel &panel);

/// `hessian` and `cross` are of f64, scaled as in Problem; `cross` may be
/// empty.
Feedback makeFeedback(llvm::ArrayRef<double> hessian,
                      llvm::ArrayRef<double> cross, int64_t size,
                      const EncodeOptions &options);

/// Weights [begin, begin + count) as they are once the errors of all inputs
/// before them are made up for and none of their own was rounded. `rest` has
/// the errors of inputs before `block` in it; columns are in feedback's order.
Columns getUpdated(const Feedback &feedback, int64_t columns,
                   const Columns &target, const Columns &rest,
                   const Columns &errors, int64_t block, int64_t begin,
                   int64_t count);

/// Calls `body` for 0 … count - 1, each once, on up to `threads` threads.
void forEach(int64_t count, unsigned threads,
             llvm::function_ref<void(int64_t)> body);

} // namespace pare::encode

#endif
