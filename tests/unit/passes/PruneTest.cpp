#include "passes/prune/Prune.h"
#include "EncodeData.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <map>

using namespace pare;
using namespace pare::prune;
using namespace pare::test;
using llvm::ArrayRef;

namespace {

constexpr int64_t kRows = 20;

std::vector<double> getSquares(const Matrix &moments) {
  std::vector<double> squares;
  for (int64_t i = 0; i < moments.rows(); ++i)
    squares.push_back(moments(i, i));
  return squares;
}

Matrix applyMask(ArrayRef<float> weights, ArrayRef<uint8_t> mask) {
  std::vector<float> pruned = weights.vec();
  for (size_t i = 0; i < pruned.size(); ++i)
    if (!mask[i])
      pruned[i] = 0;
  return toMatrix(pruned, kRows);
}

TEST(Prune, ScoresOfThePapers) {
  // Two rows of three.
  std::vector<float> weights = {1, -2, 4, 0, 3, -1};
  std::vector<double> squares = {9, 4, 16};
  EXPECT_EQ(scoreByMagnitude(weights), std::vector<float>({1, 2, 4, 0, 3, 1}));
  EXPECT_EQ(scoreByWanda(weights, squares),
            std::vector<float>({3, 4, 16, 0, 6, 4}));
  std::vector<float> ria = scoreByRia(weights, squares);
  EXPECT_FLOAT_EQ(ria[0], float((1.0 + 1 / 7.0) * std::sqrt(3.0)));
  EXPECT_FLOAT_EQ(ria[1], float((2 / 5.0 + 2 / 7.0) * std::sqrt(2.0)));
  EXPECT_FLOAT_EQ(ria[3], 0);
  EXPECT_FLOAT_EQ(ria[5], float((1 / 5.0 + 1 / 4.0) * std::sqrt(4.0)));
}

TEST(Prune, LeastScoresGo) {
  std::vector<float> scores = {5, 1, 4, 2, 9, 9, 0, 9};
  EXPECT_EQ(chooseWeights(scores, 2, {.fraction = 0.5}, Scope::Row),
            std::vector<uint8_t>({1, 0, 1, 0, 0, 1, 0, 1}));
  EXPECT_EQ(chooseWeights(scores, 2, {.fraction = 0.5}, Scope::Matrix),
            std::vector<uint8_t>({1, 0, 0, 0, 1, 1, 0, 1}));
  EXPECT_EQ(chooseWeights(scores, 2, {.keep = 1, .of = 2}, Scope::Row),
            std::vector<uint8_t>({1, 0, 1, 0, 0, 1, 0, 1}));
  EXPECT_EQ(chooseWeights(scores, 2, {.fraction = 0}, Scope::Row),
            std::vector<uint8_t>(8, 1));
}

/// What stays of one row of `columns` that are pruned from left to right as
/// `mask` says, in f64 with H inverted anew for what is left (Frantar and
/// Alistarh 2023, equation 3).
Eigen::RowVectorXd pruneByObs(Eigen::RowVectorXd weights, const Matrix &hessian,
                              ArrayRef<bool> goes) {
  int64_t size = weights.size();
  for (int64_t k = 0; k < size; ++k) {
    if (!goes[k])
      continue;
    Eigen::MatrixXd inverse =
        hessian.bottomRightCorner(size - k, size - k).inverse();
    weights.tail(size - k) -= weights[k] / inverse(0, 0) * inverse.row(0);
    weights[k] = 0;
  }
  return weights;
}

TEST(PruneSparseGpt, MakesUpAsOptimalBrainSurgery) {
  constexpr int64_t kColumns = 160; // more than a block
  std::vector<float> weights = normal(kRows * kColumns, 1);
  Moments moments(correlatedInputs(kColumns, 700, 2));
  for (const Sparsity &sparsity :
       {Sparsity{.fraction = 0.6}, Sparsity{.keep = 2, .of = 4}}) {
    std::vector<float> pruned = pruneBySparseGpt(weights, kRows, moments.get(),
                                                 sparsity, /*damping=*/0);
    for (int64_t row = 0; row < kRows; ++row) {
      llvm::SmallVector<bool> goes;
      for (int64_t k = 0; k < kColumns; ++k)
        goes.push_back(pruned[row * kColumns + k] == 0);
      Eigen::RowVectorXd expected =
          pruneByObs(toMatrix(weights, kRows).row(row), moments.products, goes);
      for (int64_t k = 0; k < kColumns; ++k)
        EXPECT_NEAR(pruned[row * kColumns + k], expected[k],
                    2e-3 * (1 + std::abs(expected[k])));
    }
  }
}

/// The first block's choice can be made from the weights alone.
TEST(PruneSparseGpt, LeastOfTheFirstBlockGo) {
  constexpr int64_t kColumns = 128;
  std::vector<float> weights = normal(kRows * kColumns, 3);
  Moments moments(correlatedInputs(kColumns, 700, 4));
  std::vector<float> pruned =
      pruneBySparseGpt(weights, kRows, moments.get(), {.fraction = 0.3}, 0);
  std::vector<float> scores;
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    int64_t k = i % kColumns;
    Eigen::MatrixXd left =
        moments.products.bottomRightCorner(kColumns - k, kColumns - k);
    scores.push_back(
        float(std::pow(weights[i], 2) / left.inverse().eval()(0, 0)));
  }
  std::vector<uint8_t> mask =
      chooseWeights(scores, kRows, {.fraction = 0.3}, Scope::Matrix);
  for (int64_t i = 0; i < kRows * kColumns; ++i)
    EXPECT_EQ(pruned[i] != 0, mask[i] != 0) << i;
}

TEST(PruneSparseGpt, KeepsTheNumberOfWeights) {
  constexpr int64_t kColumns = 300;
  std::vector<float> weights = normal(kRows * kColumns, 5);
  Moments moments(correlatedInputs(kColumns, 900, 6));
  std::vector<float> pruned =
      pruneBySparseGpt(weights, kRows, moments.get(), {.keep = 2, .of = 4});
  for (size_t i = 0; i < pruned.size(); i += 4)
    EXPECT_EQ(std::count(pruned.begin() + i, pruned.begin() + i + 4, 0.0f), 2);
  pruned = pruneBySparseGpt(weights, kRows, moments.get(), {.fraction = 0.5});
  EXPECT_EQ(std::count(pruned.begin(), pruned.end(), 0.0f),
            kRows * kColumns / 2);
  EXPECT_EQ(pruneBySparseGpt(weights, kRows, moments.get(), {.fraction = 0.5},
                             0.01, /*threads=*/3),
            pruned);
}

TEST(Prune, ErrorsFallWithWhatMethodsKnow) {
  constexpr int64_t kColumns = 256;
  std::vector<float> weights = normal(kRows * kColumns, 7);
  Matrix w = toMatrix(weights, kRows);
  Moments moments(correlatedInputs(kColumns, 900, 8));
  std::vector<double> squares = getSquares(moments.products);
  for (const Sparsity &sparsity :
       {Sparsity{.fraction = 0.5}, Sparsity{.keep = 2, .of = 4}}) {
    auto measure = [&](ArrayRef<float> scores) {
      Matrix pruned = applyMask(
          weights, chooseWeights(scores, kRows, sparsity, Scope::Row));
      return getObjective(w - pruned, moments.products);
    };
    double magnitude = measure(scoreByMagnitude(weights)),
           wanda = measure(scoreByWanda(weights, squares)),
           ria = measure(scoreByRia(weights, squares)),
           sparseGpt = getObjective(
               w - toMatrix(pruneBySparseGpt(weights, kRows, moments.get(),
                                             sparsity),
                            kRows),
               moments.products);
    EXPECT_LT(wanda, 0.9 * magnitude);
    EXPECT_LT(ria, 0.95 * magnitude);
    EXPECT_LT(sparseGpt, 0.5 * wanda);
  }
}

TEST(Prune, SparsityIsParsedAndPrinted) {
  for (llvm::StringRef text : {"50%", "12.5%", "2:4", "1:4", "4:8"}) {
    auto parsed = parseSparsity(text);
    ASSERT_TRUE(bool(parsed)) << llvm::toString(parsed.takeError());
    EXPECT_EQ(toString(*parsed), text.str());
  }
  EXPECT_EQ(*parseSparsity("1:4"), (Sparsity{.keep = 1, .of = 4}));
  EXPECT_EQ(parseSparsity("12.5%")->fraction, 0.125);
  for (llvm::StringRef text : {"", "50", "0%", "100%", "-5%", "nan%", "4:4",
                               "0:4", "2:", ":4", "2:4:8", "8:65", "2:4%"}) {
    auto parsed = parseSparsity(text);
    EXPECT_FALSE(bool(parsed)) << text.str();
    if (!parsed)
      EXPECT_NE(llvm::toString(parsed.takeError()).find("expected"),
                std::string::npos);
  }
}

/// The authors' ways to compare: magnitudes and RIA over the matrix, Wanda by
/// rows.
TEST(Prune, MatrixByEachCriterion) {
  constexpr int64_t kColumns = 64;
  std::vector<float> weights = normal(kRows * kColumns, 61);
  for (int64_t k = 0; k < kColumns; ++k)
    weights[k] *= 10; // one row is larger than the others
  Moments moments(correlatedInputs(kColumns, 300, 62));
  encode::InputMoments inputs = moments.get();
  std::map<Criterion, double> errors;
  for (Criterion by : {Criterion::Magnitude, Criterion::Wanda, Criterion::Ria,
                       Criterion::SparseGpt})
    for (const Sparsity &sparsity :
         {Sparsity{}, Sparsity{.keep = 2, .of = 4}}) {
      PrunedMatrix pruned = pruneMatrix(weights, kRows, sparsity, by, &inputs);
      EXPECT_EQ(llvm::count(pruned.mask, 0), kRows * kColumns / 2);
      int64_t inFirst = 0;
      for (int64_t i = 0; i < kRows * kColumns; ++i) {
        EXPECT_EQ(pruned.mask[i] != 0, pruned.weights[i] != 0);
        if (by != Criterion::SparseGpt && pruned.mask[i])
          EXPECT_EQ(pruned.weights[i], weights[i]);
        inFirst += i < kColumns && pruned.mask[i];
      }
      if (sparsity.of || by == Criterion::Wanda)
        EXPECT_TRUE(by == Criterion::SparseGpt || inFirst == kColumns / 2);
      else if (by == Criterion::Magnitude)
        EXPECT_GT(inFirst, kColumns * 3 / 4);
      if (sparsity.of)
        errors[by] = encode::getRelativeError(weights, pruned.weights, kRows,
                                              kColumns, &inputs);
    }
  EXPECT_LT(errors[Criterion::Wanda], errors[Criterion::Magnitude]);
  EXPECT_LT(errors[Criterion::SparseGpt], errors[Criterion::Wanda]);
}

} // namespace
