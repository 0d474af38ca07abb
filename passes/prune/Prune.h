//===- Prune.h - Which weights of a matrix to leave out ---------*- C++ -*-===//
#ifndef PARE_PASSES_PRUNE_PRUNE_H
#define PARE_PASSES_PRUNE_PRUNE_H

#include "passes/quantize/encode/Encode.h"
#include "llvm/Support/Error.h"

namespace pare::prune {

/// How many weights go.
struct Sparsity {
  double fraction = 0.5; ///< where `of` is 0: of each row, or of the matrix
  /// N:M: of every `of` weights next to each other in a row `keep` stay.
  unsigned keep = 0, of = 0;

  bool operator==(const Sparsity &) const = default;
};

/// "50%" or "2:4".
std::string toString(const Sparsity &sparsity);
/// The inverse; fails where it is neither a share above 0% and below 100% nor
/// a pattern N:M of which N stay, with M at most 64.
llvm::Expected<Sparsity> parseSparsity(llvm::StringRef text);

/// Where scores are compared with each other, for a fraction.
enum class Scope : uint8_t { Row, Matrix };

// Scores of weights [rows, columns]: the smaller, the less a weight does.

/// |w|.
std::vector<float> scoreByMagnitude(llvm::ArrayRef<float> weights);

/// |w_ij| ‖x_j‖ (Wanda, Sun et al. 2023, equation 1), to be compared by rows.
/// `squares` is Σx² of each column.
std::vector<float> scoreByWanda(llvm::ArrayRef<float> weights,
                                llvm::ArrayRef<double> squares);

/// (|w_ij| / Σ_i |w_ij| + |w_ij| / Σ_j |w_ij|) ‖x_j‖^power (relative importance
/// and activations, Zhang et al. 2024, equation 4; the authors' power is 1/2).
std::vector<float> scoreByRia(llvm::ArrayRef<float> weights,
                              llvm::ArrayRef<double> squares,
                              double power = 0.5);

/// One byte per weight, 1 where it stays. Of equal scores the first ones go.
/// Columns are a multiple of sparsity.of; ⌊fraction · count⌋ weights go.
std::vector<uint8_t> chooseWeights(llvm::ArrayRef<float> scores, int64_t rows,
                                   const Sparsity &sparsity, Scope scope);

/// The weights that stay, with what the others did made up for in the columns
/// behind them, and zeros (SparseGPT, Frantar and Alistarh 2023, algorithm 1):
/// 128 columns at a time those with the least w² / [H⁻¹]²_jj of the matrix go,
/// or of every sparsity.of of a row. `moments` must have products.
std::vector<float> pruneBySparseGpt(llvm::ArrayRef<float> weights, int64_t rows,
                                    const encode::InputMoments &moments,
                                    const Sparsity &sparsity,
                                    double damping = 0.01,
                                    unsigned threads = 1);

/// How the weights that go are chosen.
enum class Criterion : uint8_t { Magnitude, Wanda, Ria, SparseGpt };

/// In the words of the papers, for people.
llvm::StringRef getName(Criterion criterion);

struct PrunedMatrix {
  std::vector<float> weights; ///< zeros where `mask` is 0
  std::vector<uint8_t> mask;  ///< 1 where a weight stays
};

/// Prunes weights [rows, columns] as the authors of the criterion do:
/// magnitudes and RIA's scores are compared over the whole matrix, Wanda's by
/// rows, and SparseGPT's weights make up for those that go. All but Magnitude
/// need `moments` with products.
PrunedMatrix pruneMatrix(llvm::ArrayRef<float> weights, int64_t rows,
                         const Sparsity &sparsity, Criterion criterion,
                         const encode::InputMoments *moments,
                         unsigned threads = 1);

} // namespace pare::prune

#endif
