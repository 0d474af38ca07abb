//===- SparseGpt.cpp - Pruning that makes up for itself -------------------===//
#include "passes/prune/Prune.h"
#include "passes/quantize/encode/Panel.h"
#include "llvm/ADT/STLExtras.h"

using llvm::ArrayRef;
using namespace pare::encode;

namespace pare::prune {

namespace {

/// Sixteen rows of the matrix.
struct Rows {
  Columns target; ///< weights as they were
  Columns rest;   ///< with errors of earlier blocks made up for
  Columns errors; ///< target less what stays
  Columns scores; ///< of a block
};

class SparseGpt {
public:
  SparseGpt(ArrayRef<float> weights, int64_t rows, const InputMoments &moments,
            const Sparsity &sparsity, double damping, unsigned threads);

  std::vector<float> run();

private:
  static constexpr int64_t kBlock = 128;

  /// Scores columns [begin, end) as they are once all errors before `begin`
  /// are made up for; columns of the block before `begin` have errors.
  void score(Rows &rows, int64_t block, int64_t begin, int64_t end) const;
  /// The score up to which weights of the block go.
  float findThreshold(int64_t begin, int64_t end) const;
  void prune(Rows &rows, int64_t begin, int64_t end, float threshold) const;
  /// Marks what stays of `sparsity.of` columns from `column` on.
  void chooseGroup(Rows &rows, int64_t block, int64_t column,
                   Columns &stays) const;

  int64_t rows_, columns_;
  const Sparsity &sparsity_;
  unsigned threads_;
  Feedback feedback_;
  std::vector<Rows> panels_;
};

} // namespace

SparseGpt::SparseGpt(ArrayRef<float> weights, int64_t rows,
                     const InputMoments &moments, const Sparsity &sparsity,
                     double damping, unsigned threads)
    : rows_(rows), columns_(moments.size), sparsity_(sparsity),
      threads_(threads) {
  EncodeOptions options;
  options.actOrder = false;
  options.damping = damping;
  feedback_ = makeFeedback(moments.products, {}, columns_, options);
  panels_.resize((rows + kLanes - 1) / kLanes);
  for (auto [i, panel] : llvm::enumerate(panels_)) {
    panel.target.resize(columns_, splat(0));
    for (int64_t row = i * kLanes;
         row < std::min(rows, int64_t(i + 1) * kLanes); ++row)
      for (int64_t k = 0; k < columns_; ++k)
        panel.target[k][row % kLanes] = weights[row * columns_ + k];
    panel.rest = panel.target;
    panel.errors.resize(columns_);
    panel.scores.resize(std::max<int64_t>(kBlock, sparsity.of));
  }
}

void SparseGpt::score(Rows &rows, int64_t block, int64_t begin,
                      int64_t end) const {
  Columns updated = getUpdated(feedback_, columns_, rows.target, rows.rest,
                               rows.errors, block, begin, end - begin);
  for (int64_t k = begin; k < end; ++k)
    for (int lane = 0; lane < kLanes; ++lane) {
      float weight = updated[k - begin][lane];
      // 1 / [H⁻¹]_kk of the inputs not yet behind is the pivot.
      rows.scores[k - block][lane] =
          weight * weight * float(feedback_.pivots[k]);
    }
}

float SparseGpt::findThreshold(int64_t begin, int64_t end) const {
  std::vector<float> scores;
  for (int64_t row = 0; row < rows_; ++row)
    for (int64_t k = 0; k < end - begin; ++k)
      scores.push_back(panels_[row / kLanes].scores[k][row % kLanes]);
  size_t count = size_t(double(scores.size()) * sparsity_.fraction);
  if (count == 0)
    return -1;
  std::nth_element(scores.begin(), scores.begin() + (count - 1), scores.end());
  return scores[count - 1];
}

void SparseGpt::chooseGroup(Rows &rows, int64_t block, int64_t column,
                            Columns &stays) const {
  int64_t of = sparsity_.of;
  score(rows, block, column, column + of);
  for (int lane = 0; lane < kLanes; ++lane)
    for (int64_t k = column; k < column + of; ++k) {
      // Of equal scores the first ones go.
      unsigned larger = 0;
      float score = rows.scores[k - block][lane];
      for (int64_t j = column; j < column + of; ++j) {
        float other = rows.scores[j - block][lane];
        larger += other > score || (other == score && j > k);
      }
      stays[k - block][lane] = larger < sparsity_.keep;
    }
}

void SparseGpt::prune(Rows &rows, int64_t begin, int64_t end,
                      float threshold) const {
  Columns stays(end - begin);
  const float *matrix = feedback_.errors.data();
  for (int64_t k = begin; k < end; ++k) {
    if (sparsity_.of && k % sparsity_.of == 0)
      chooseGroup(rows, begin, k, stays);
    addProducts(matrix + k * columns_ + begin, columns_, 1,
                rows.errors.data() + begin, k - begin, &rows.rest[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      bool stay = sparsity_.of ? stays[k - begin][lane] != 0
                               : rows.scores[k - begin][lane] > threshold;
      float &weight = rows.rest[k][lane];
      weight = stay ? weight : 0;
      rows.errors[k][lane] = rows.target[k][lane] - weight;
    }
  }
  addProducts(matrix + end * columns_ + begin, columns_, columns_ - end,
              rows.errors.data() + begin, end - begin, rows.rest.data() + end);
}

std::vector<float> SparseGpt::run() {
  int64_t step = kBlock;
  if (sparsity_.of)
    step = std::max<int64_t>(kBlock / sparsity_.of, 1) * sparsity_.of;
  for (int64_t begin = 0; begin < columns_; begin += step) {
    int64_t end = std::min(begin + step, columns_);
    float threshold = 0;
    if (!sparsity_.of) {
      forEach(panels_.size(), threads_,
              [&](int64_t i) { score(panels_[i], begin, begin, end); });
      threshold = findThreshold(begin, end);
    }
    forEach(panels_.size(), threads_,
            [&](int64_t i) { prune(panels_[i], begin, end, threshold); });
  }
  std::vector<float> weights(rows_ * columns_);
  for (int64_t row = 0; row < rows_; ++row)
    for (int64_t k = 0; k < columns_; ++k)
      weights[row * columns_ + k] = panels_[row / kLanes].rest[k][row % kLanes];
  return weights;
}

std::vector<float> pruneBySparseGpt(ArrayRef<float> weights, int64_t rows,
                                    const InputMoments &moments,
                                    const Sparsity &sparsity, double damping,
                                    unsigned threads) {
  assert(int64_t(weights.size()) == rows * moments.size && "other inputs");
  assert((!sparsity.of || moments.size % sparsity.of == 0) &&
         "a part of a group");
  return SparseGpt(weights, rows, moments, sparsity, damping, threads).run();
}

} // namespace pare::prune
