//===- Matrix.cpp - Single weights of a matrix that go --------------------===//
#include "passes/prune/Prune.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

using llvm::ArrayRef;
using llvm::StringRef;

namespace pare::prune {

std::string toString(const Sparsity &sparsity) {
  if (sparsity.of)
    return llvm::formatv("{0}:{1}", sparsity.keep, sparsity.of).str();
  std::string share = llvm::formatv("{0:f2}", 100 * sparsity.fraction);
  return StringRef(share).rtrim('0').rtrim('.').str() + "%";
}

llvm::Expected<Sparsity> parseSparsity(StringRef text) {
  auto fail = [&](const llvm::Twine &expected) {
    return llvm::createStringError("'" + text + "': expected " + expected);
  };
  Sparsity sparsity;
  StringRef number = text;
  if (number.consume_back("%")) {
    double percent;
    if (number.getAsDouble(percent) || !(percent > 0) || !(percent < 100))
      return fail("a share of weights above 0% and below 100%");
    sparsity.fraction = percent / 100;
    return sparsity;
  }
  constexpr unsigned kMost = 64;
  auto [keep, of] = text.split(':');
  if (keep.getAsInteger(10, sparsity.keep) ||
      of.getAsInteger(10, sparsity.of) || sparsity.keep == 0 ||
      sparsity.keep >= sparsity.of || sparsity.of > kMost)
    return fail("a share of weights, as 50%, or how many of how many stay, as "
                "2:4, of at most 64");
  return sparsity;
}

StringRef getName(Criterion criterion) {
  switch (criterion) {
  case Criterion::Magnitude:
    return "magnitude";
  case Criterion::Wanda:
    return "Wanda";
  case Criterion::Ria:
    return "RIA";
  case Criterion::SparseGpt:
    return "SparseGPT";
  }
  llvm_unreachable("a criterion without a name");
}

PrunedMatrix pruneMatrix(ArrayRef<float> weights, int64_t rows,
                         const Sparsity &sparsity, Criterion criterion,
                         const encode::InputMoments *moments,
                         unsigned threads) {
  assert((criterion == Criterion::Magnitude ||
          (moments && !moments->products.empty())) &&
         "nothing is known of inputs");
  PrunedMatrix pruned;
  if (criterion == Criterion::SparseGpt) {
    constexpr double kDamping = 0.01;
    pruned.weights =
        pruneBySparseGpt(weights, rows, *moments, sparsity, kDamping, threads);
    for (float weight : pruned.weights)
      pruned.mask.push_back(weight != 0);
    return pruned;
  }
  std::vector<double> squares;
  if (moments)
    for (int64_t i = 0; i < moments->size; ++i)
      squares.push_back(moments->products[i * (moments->size + 1)]);
  std::vector<float> scores =
      criterion == Criterion::Magnitude ? scoreByMagnitude(weights)
      : criterion == Criterion::Wanda   ? scoreByWanda(weights, squares)
                                        : scoreByRia(weights, squares);
  pruned.mask =
      chooseWeights(scores, rows, sparsity,
                    criterion == Criterion::Wanda ? Scope::Row : Scope::Matrix);
  pruned.weights = weights.vec();
  for (auto [weight, stays] : llvm::zip_equal(pruned.weights, pruned.mask))
    weight = stays ? weight : 0;
  return pruned;
}

} // namespace pare::prune
