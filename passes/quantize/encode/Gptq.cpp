//===- Gptq.cpp - Errors fed back into later inputs -----------------------===//
#include "passes/quantize/encode/Panel.h"
#include "llvm/ADT/STLExtras.h"
#include <Eigen/Cholesky>
#include <numeric>

using llvm::ArrayRef;

namespace pare::encode {

using Matrix = Eigen::MatrixXd;
using RowMajor =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void fixBlocking() {
  [[maybe_unused]] static const bool isSet =
      (Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20), true);
}

/// R, upper triangular, with R Rᵀ the damped matrix: Cholesky of the matrix
/// with its rows and columns reversed. A matrix that is not positive definite
/// is damped more.
static Matrix factor(const Matrix &hessian, double damping) {
  fixBlocking();
  double mean = hessian.diagonal().mean(), added = damping * mean;
  for (;; added = std::max(added * 10, mean > 0 ? 1e-8 * mean : 1.0)) {
    Matrix damped = hessian.reverse();
    damped.diagonal().array() += added;
    Eigen::LLT<Eigen::Ref<Matrix>> factors(damped);
    if (factors.info() == Eigen::Success &&
        factors.matrixLLT().diagonal().minCoeff() > 0)
      return Matrix(factors.matrixL()).reverse();
  }
}

Feedback makeFeedback(ArrayRef<double> hessian, ArrayRef<double> cross,
                      int64_t size, const EncodeOptions &options) {
  Eigen::Map<const Matrix> moments(hessian.data(), size, size);
  Feedback feedback;
  std::vector<int64_t> &order = feedback.order;
  order.resize(size);
  std::iota(order.begin(), order.end(), 0);
  if (options.actOrder)
    llvm::sort(order, [&](int64_t a, int64_t b) {
      return std::pair(-moments(a, a), a) < std::pair(-moments(b, b), b);
    });
  Matrix upper = factor(moments(order, order), options.damping);

  feedback.pivots.resize(size);
  Eigen::Map<Eigen::VectorXd>(feedback.pivots.data(), size) =
      upper.diagonal().cwiseAbs2();
  feedback.errors.resize(size * size);
  Eigen::Map<RowMajor>(feedback.errors.data(), size, size) =
      (upper * upper.diagonal().cwiseInverse().asDiagonal())
          .transpose()
          .cast<float>();
  if (cross.empty())
    return feedback;

  // P[q, F] = C[q, F] (H_FF)⁻¹ for the inputs F behind q, where H_FF is
  // R_FF R_FFᵀ: so P = Y R⁻¹ with Y the strictly upper part of C R⁻ᵀ.
  Eigen::Map<const Matrix> transposed(cross.data(), size, size);
  auto solver = upper.triangularView<Eigen::Upper>();
  Matrix products = solver.solve(Matrix(transposed(order, order)));
  products.triangularView<Eigen::Upper>().setZero();
  products = solver.transpose().solve(products);
  feedback.asymmetry.resize(size * size);
  Eigen::Map<RowMajor>(feedback.asymmetry.data(), size, size) =
      products.cast<float>();
  return feedback;
}

Columns getUpdated(const Feedback &feedback, int64_t columns,
                   const Columns &target, const Columns &rest,
                   const Columns &errors, int64_t block, int64_t begin,
                   int64_t count) {
  const float *matrix = feedback.errors.data();
  Columns updated(rest.begin() + begin, rest.begin() + begin + count);
  addProducts(matrix + begin * columns + block, columns, count,
              errors.data() + block, begin - block, updated.data());
  // As if each were rounded to just what it is by then.
  Columns moves(count);
  for (int64_t j = 0; j < count; ++j) {
    addProducts(matrix + (begin + j) * columns + begin, columns, 1,
                moves.data(), j, &updated[j]);
    for (int lane = 0; lane < kLanes; ++lane)
      moves[j][lane] = target[begin + j][lane] - updated[j][lane];
  }
  return updated;
}

/// One pass over the inputs of a panel. Of each, in the order of feedback,
/// choose(column, weight, decoded) is told the weight with errors before it
/// made up for and says what stands in its place. Scales are chosen on the way
/// unless `isStatic`.
static void
sweep(const Problem &problem, Panel &panel,
      llvm::function_ref<void(int64_t, const Lanes &, Lanes &)> choose,
      bool isStatic) {
  constexpr int64_t kBlock = 128;
  const Feedback &feedback = problem.feedback;
  ArrayRef<int64_t> order = feedback.order;
  int64_t columns = problem.columns, perScale = problem.format().scaleGroup();
  bool isAsymmetric = !feedback.asymmetry.empty();

  // Of each input the weight to stand for (target), the weight with errors
  // before it made up for (rest, without those of its own block) and the error
  // that rounding leaves.
  Columns target(columns), errors(columns), updated;
  for (int64_t j = 0; j < columns; ++j)
    target[j] = panel.weights[order[j]];
  Columns rest = target;
  if (isAsymmetric)
    updated.resize(columns);

  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    int64_t end = std::min(begin + kBlock, columns);
    for (int64_t j = begin; j < end; ++j) {
      int64_t column = order[j];
      if (!isStatic && j % perScale == 0) {
        Columns group = getUpdated(feedback, columns, target, rest, errors,
                                   begin, j, perScale);
        GroupData data = getGroup(problem, rest.data(), j / perScale);
        if (!panel.stays.empty())
          for (int64_t k = 0; k < perScale; ++k)
            multiply(group[k], panel.stays[j + k]);
        data.weights = group.data();
        problem.fitter.fit(data, j / perScale, panel.scales);
      }
      const float *row = feedback.errors.data() + j * columns;
      if (isAsymmetric) {
        Lanes shift = splat(0);
        addProducts(feedback.asymmetry.data() + j * columns + begin, columns, 1,
                    updated.data() + begin, j - begin, &shift);
        for (int lane = 0; lane < kLanes; ++lane) {
          target[j][lane] += shift[lane];
          rest[j][lane] += shift[lane];
        }
      }
      addProducts(row + begin, columns, 1, errors.data() + begin, j - begin,
                  &rest[j]);
      Lanes decoded;
      choose(column, rest[j], decoded);
      for (int lane = 0; lane < kLanes; ++lane)
        errors[j][lane] = target[j][lane] - decoded[lane];
      if (isAsymmetric)
        updated[j] = rest[j];
    }

    int64_t left = columns - end;
    addProducts(feedback.errors.data() + end * columns + begin, columns, left,
                errors.data() + begin, end - begin, rest.data() + end);
    if (!isAsymmetric)
      continue;
    Columns shift(left, splat(0));
    addProducts(feedback.asymmetry.data() + end * columns + begin, columns,
                left, updated.data() + begin, end - begin, shift.data());
    for (int64_t j = 0; j < left; ++j)
      for (int lane = 0; lane < kLanes; ++lane) {
        target[end + j][lane] += shift[j][lane];
        rest[end + j][lane] += shift[j][lane];
      }
  }
}

void roundByGptq(const Problem &problem, Panel &panel) {
  bool isStatic = problem.options.actOrder;
  // Weights that stay get what those that go did: scales must reach them.
  if (isStatic && !panel.stays.empty())
    sweep(
        problem, panel,
        [&](int64_t column, const Lanes &weight, Lanes &decoded) {
          decoded = weight;
          multiply(decoded, panel.stays[column]);
          panel.kept[column] = decoded;
        },
        /*isStatic=*/true);
  if (isStatic)
    fitScales(problem, panel);
  sweep(
      problem, panel,
      [&](int64_t column, const Lanes &rest, Lanes &decoded) {
        Lanes weight = rest;
        if (!panel.stays.empty())
          multiply(weight, panel.stays[column]);
        const GroupScale &scale = panel.scaleOf(problem, column);
        scale.round(problem.fitter.levels(), weight, panel.values[column]);
        scale.decode(panel.values[column], decoded);
      },
      isStatic);
}

} // namespace pare::encode
