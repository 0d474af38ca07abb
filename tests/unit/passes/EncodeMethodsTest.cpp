#include "EncodeData.h"
#include "passes/quantize/encode/Awq.h"
#include "passes/quantize/encode/Levels.h"
#include <cmath>
#include <map>
#include <numeric>

using namespace pare;
using namespace pare::encode;
using namespace pare::test;
using llvm::ArrayRef;

namespace {

EncodeOptions makeOptions(RoundMethod method) {
  EncodeOptions options;
  options.method = method;
  return options;
}

EncodedMatrix encode(ArrayRef<float> weights, int64_t rows,
                     const BlockFormat &format, const EncodeOptions &options,
                     const Moments &moments, ArrayRef<uint8_t> mask = {}) {
  InputMoments inputs = moments.get();
  return encodeMatrix(weights, rows, weights.size() / rows, format, options,
                      &inputs, mask);
}

/// The code whose weight is nearest to `weight`.
uint8_t getNearestCode(const BlockFormat &format, const DecodedScale &scale,
                       double weight) {
  uint8_t best = 0;
  double least = INFINITY;
  for (unsigned code = 0; code < 1u << format.bits; ++code) {
    double distance =
        std::abs(scale.scale * (format.getValue(uint8_t(code)) - scale.zero) +
                 scale.minimum - weight);
    if (distance < least) {
      least = distance;
      best = uint8_t(code);
    }
  }
  return best;
}

//===----------------------------------------------------------------------===//
// GPTQ
//===----------------------------------------------------------------------===//

/// Optimal brain quantization of one row in a given order, with scales given
/// (Frantar and Alistarh 2022, equations 3 and 4; GPTQ's order): after each
/// weight the others move by -(w_q - ŵ_q) / [H⁻¹]_qq · H⁻¹_{:,q}, and q leaves
/// H⁻¹. With `cross`, also by w_q C[q, F] (H_FF)⁻¹ over what is left (GPTAQ, Li
/// et al. 2025), the inverse taken anew in each step. Where `mask` is 0, 0
/// takes the place of rounding (SparseGPT, Frantar and Alistarh 2023,
/// section 3.5).
std::vector<uint8_t> roundByObq(const BlockFormat &format,
                                ArrayRef<DecodedScale> scales,
                                Eigen::RowVectorXd weights,
                                const Matrix &hessian, const Matrix &cross,
                                ArrayRef<int64_t> order,
                                ArrayRef<uint8_t> mask = {}) {
  int64_t size = weights.size();
  Eigen::MatrixXd inverse = hessian.inverse();
  std::vector<uint8_t> codes(size);
  for (int64_t i = 0; i < size; ++i) {
    int64_t q = order[i];
    const DecodedScale &scale = scales[q / format.group];
    double current = weights[q];
    bool stays = mask.empty() || mask[q];
    codes[q] = getNearestCode(format, scale, stays ? current : 0);
    double rounded =
        scale.scale * (format.getValue(codes[q]) - scale.zero) + scale.minimum;
    weights -= (current - rounded) / inverse(q, q) * inverse.row(q);
    inverse -= inverse.col(q) * inverse.row(q) / inverse(q, q);
    std::vector<int64_t> left(order.begin() + i + 1, order.end());
    if (cross.size() == 0 || left.empty())
      continue;
    Eigen::RowVectorXd difference = cross.row(q)(left);
    Eigen::MatrixXd remaining = hessian(left, left);
    Eigen::RowVectorXd shift = current * difference * remaining.inverse();
    for (size_t k = 0; k < left.size(); ++k)
      weights[left[k]] += shift[k];
  }
  return codes;
}

std::vector<int64_t> getActOrder(const Matrix &hessian) {
  std::vector<int64_t> order(hessian.rows());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::pair(-hessian(a, a), a) < std::pair(-hessian(b, b), b);
  });
  return order;
}

/// About half of `count`.
std::vector<uint8_t> makeMask(int64_t count, unsigned seed) {
  std::vector<uint8_t> mask;
  for (float value : normal(count, seed))
    mask.push_back(value > 0);
  return mask;
}

void expectObq(const BlockFormat &format, int64_t columns, bool actOrder,
               bool asymmetric, bool isMasked = false) {
  constexpr int64_t kRows = 6;
  std::vector<float> weights = normal(kRows * columns, 21);
  Matrix inputs = correlatedInputs(columns, 4 * columns, 22);
  Moments moments(inputs);
  if (asymmetric)
    moments = Moments(
        inputs, inputs + 0.2 * correlatedInputs(columns, 4 * columns, 23));
  EncodeOptions options = makeOptions(RoundMethod::Gptq);
  options.actOrder = actOrder;
  options.damping = 0;
  std::vector<uint8_t> mask;
  if (isMasked)
    mask = makeMask(kRows * columns, 24);
  BlockPlanes planes =
      encode(weights, kRows, format, options, moments, mask).planes;
  std::vector<DecodedScale> scales = decodeScales(format, planes);
  std::vector<int64_t> order = getActOrder(moments.products);
  if (!actOrder)
    std::iota(order.begin(), order.end(), 0);
  int64_t groups = columns / format.group;
  for (int64_t row = 0; row < kRows; ++row) {
    std::vector<uint8_t> expected =
        roundByObq(format, ArrayRef(scales).slice(row * groups, groups),
                   toMatrix(weights, kRows).row(row), moments.products,
                   moments.cross, order,
                   isMasked ? ArrayRef(mask).slice(row * columns, columns)
                            : ArrayRef<uint8_t>());
    EXPECT_EQ(ArrayRef<uint8_t>(expected),
              ArrayRef(planes.codes).slice(row * columns, columns))
        << "row " << row;
  }
}

TEST(EncodeGptq, IsOptimalBrainQuantization) {
  // More than one block of 128, so that both kinds of updates take part.
  expectObq(*findBlockFormat("q4_0"), 160, /*actOrder=*/true, false);
  expectObq(*findBlockFormat("q4_0"), 160, /*actOrder=*/false, false);
  expectObq(*findBlockFormat("q4_1"), 160, /*actOrder=*/true, false);
  expectObq(*findBlockFormat("iq4_nl"), 64, /*actOrder=*/false, false);
  expectObq(*findBlockFormat("q4_k"), 256, /*actOrder=*/true, false);
}

TEST(EncodeGptq, AsymmetricTermIsGptaqs) {
  expectObq(*findBlockFormat("q4_0"), 160, /*actOrder=*/true, true);
  expectObq(*findBlockFormat("q4_1"), 160, /*actOrder=*/false, true);
}

/// Without act-order a group's scale is that of the weights as they are when
/// its first column is reached.
TEST(EncodeGptq, ScalesOfUpdatedWeights) {
  constexpr int64_t kRows = 4, kColumns = 160;
  const BlockFormat &format = *findBlockFormat("q4_0");
  std::vector<float> weights = normal(kRows * kColumns, 31);
  Moments moments(correlatedInputs(kColumns, 700, 32));
  EncodeOptions options = makeOptions(RoundMethod::Gptq);
  options.actOrder = false;
  options.damping = 0;
  options.scales = ScaleSearch::MaxAbs;
  BlockPlanes planes = encode(weights, kRows, format, options, moments).planes;
  Matrix decoded = decode(format, planes, kRows);
  std::vector<DecodedScale> scales = decodeScales(format, planes);
  Matrix w = toMatrix(weights, kRows);
  int64_t groups = kColumns / format.group;
  bool anyMoved = false;
  for (int64_t g = 1; g < groups; ++g) {
    // The rest's best values for what is rounded already.
    int64_t done = g * format.group, left = kColumns - done;
    Matrix errors = (w - decoded).leftCols(done);
    Matrix updated =
        w.rightCols(left) +
        errors * moments.products.topRightCorner(done, left) *
            moments.products.bottomRightCorner(left, left).inverse();
    std::vector<float> group(kRows * format.group);
    for (int64_t i = 0; i < int64_t(group.size()); ++i)
      group[i] = float(updated(i / format.group, i % format.group));
    EncodeOptions nearest = makeOptions(RoundMethod::Nearest);
    nearest.scales = options.scales;
    std::vector<DecodedScale> expected = decodeScales(
        format,
        encodeMatrix(group, kRows, format.group, format, nearest).planes);
    for (int64_t row = 0; row < kRows; ++row) {
      double scale = scales[row * groups + g].scale;
      EXPECT_NEAR(scale, expected[row].scale, 2e-3 * std::abs(scale));
      float plain = 0;
      for (unsigned k = 0; k < format.group; ++k)
        plain = std::max(plain, std::abs(weights[row * kColumns + done + k]));
      anyMoved |= std::abs(std::abs(scale) - plain / 8) > 0.01 * plain / 8;
    }
  }
  EXPECT_TRUE(anyMoved);
}

TEST(EncodeGptq, UncorrelatedInputsAreRoundedToNearest) {
  constexpr int64_t kRows = 20, kColumns = 512;
  std::vector<float> weights = normal(kRows * kColumns, 41);
  Moments moments(Matrix::Identity(kColumns, kColumns));
  for (int64_t i = 0; i < kColumns; ++i)
    moments.products(i, i) = 1 + i % 5;
  for (const BlockFormat &format : getBlockFormats())
    for (bool actOrder : {false, true}) {
      EncodeOptions options = makeOptions(RoundMethod::Gptq);
      options.actOrder = actOrder;
      EncodedMatrix gptq = encode(weights, kRows, format, options, moments),
                    nearest =
                        encode(weights, kRows, format,
                               makeOptions(RoundMethod::Nearest), moments);
      EXPECT_EQ(gptq.planes.codes, nearest.planes.codes) << format.name.str();
      EXPECT_EQ(gptq.planes.scales, nearest.planes.scales);
      EXPECT_EQ(gptq.planes.subScales, nearest.planes.subScales);
      EXPECT_EQ(gptq.planes.minima, nearest.planes.minima);
    }
}

TEST(EncodeGptq, InputsThatWereAlwaysZero) {
  std::vector<float> weights = normal(4 * 64, 42);
  Moments moments(Matrix(Matrix::Zero(64, 8)));
  const BlockFormat &format = *findBlockFormat("q4_0");
  BlockPlanes gptq = encode(weights, 4, format,
                            makeOptions(RoundMethod::GptqDescent), moments)
                         .planes,
              nearest = encodeMatrix(weights, 4, 64, format,
                                     makeOptions(RoundMethod::Nearest))
                            .planes;
  EXPECT_EQ(gptq.codes, nearest.codes);
}

/// ‖W X_f - Ŵ X_q‖.
double getMismatch(const Matrix &weights, const Matrix &decoded,
                   const Matrix &floatInputs, const Matrix &inputs) {
  return (weights * floatInputs - decoded * inputs).norm();
}

TEST(EncodeGptq, AsymmetryLowersTheMismatch) {
  constexpr int64_t kRows = 32, kColumns = 256;
  const BlockFormat &format = *findBlockFormat("q4_0");
  std::vector<float> weights = normal(kRows * kColumns, 51);
  Matrix w = toMatrix(weights, kRows),
         floatInputs = correlatedInputs(kColumns, 1000, 52);
  // Inputs of a quantized model: less of each, and errors that depend on it.
  Matrix inputs =
      0.9 * floatInputs +
      0.02 * toMatrix(normal(kColumns * kColumns, 53), kColumns) * floatInputs;
  Moments plain(inputs), both(inputs, floatInputs), zero(inputs, inputs);
  EncodeOptions options = makeOptions(RoundMethod::Gptq),
                descent = makeOptions(RoundMethod::GptqDescent);
  EncodedMatrix gptq = encode(weights, kRows, format, options, plain),
                gptaq = encode(weights, kRows, format, options, both),
                descended = encode(weights, kRows, format, descent, both);
  auto measure = [&](const EncodedMatrix &encoded) {
    return getMismatch(w, decode(format, encoded.planes, kRows), floatInputs,
                       inputs);
  };
  EXPECT_LT(measure(gptaq), 0.9 * measure(gptq));
  EXPECT_LT(measure(descended), measure(gptaq));
  EXPECT_EQ(encode(weights, kRows, format, options, zero).planes.codes,
            gptq.planes.codes);
  EXPECT_EQ(encode(weights, kRows, format, descent, zero).planes.codes,
            encode(weights, kRows, format, descent, plain).planes.codes);
}

//===----------------------------------------------------------------------===//
// Coordinate descent
//===----------------------------------------------------------------------===//

TEST(EncodeDescent, NeverWorseAndOrdered) {
  constexpr int64_t kRows = 35, kColumns = 512;
  std::vector<float> weights = normal(kRows * kColumns, 61, 0.6f);
  Matrix w = toMatrix(weights, kRows);
  Moments moments(correlatedInputs(kColumns, 900, 62));
  for (const BlockFormat &format : getBlockFormats()) {
    auto measure = [&](RoundMethod method) {
      Matrix decoded = decode(
          format,
          encode(weights, kRows, format, makeOptions(method), moments).planes,
          kRows);
      Eigen::VectorXd rows = ((w - decoded) * moments.products)
                                 .cwiseProduct(w - decoded)
                                 .rowwise()
                                 .sum();
      return rows;
    };
    Eigen::VectorXd nearest = measure(RoundMethod::Nearest),
                    gptq = measure(RoundMethod::Gptq),
                    descent = measure(RoundMethod::GptqDescent);
    for (int64_t row = 0; row < kRows; ++row)
      EXPECT_LE(descent[row], gptq[row] * (1 + 1e-5)) << format.name.str();
    // Powers of two leave scales less to choose.
    EXPECT_LT(descent.sum(), 0.95 * gptq.sum()) << format.name.str();
    EXPECT_LT(gptq.sum(), 0.7 * nearest.sum()) << format.name.str();
  }
}

/// Of fewer samples than inputs it does not learn by heart: other inputs lose
/// less, too.
TEST(EncodeDescent, HelpsOnOtherInputs) {
  constexpr int64_t kRows = 32, kColumns = 256;
  const BlockFormat &format = *findBlockFormat("q4_0");
  std::vector<float> weights = normal(kRows * kColumns, 65);
  Matrix w = toMatrix(weights, kRows),
         inputs = correlatedInputs(kColumns, 1200, 66);
  Moments few(inputs.leftCols(100)), rest(inputs.rightCols(1000));
  auto measure = [&](RoundMethod method) {
    BlockPlanes planes =
        encode(weights, kRows, format, makeOptions(method), few).planes;
    return getObjective(w - decode(format, planes, kRows), rest.products);
  };
  EXPECT_LT(measure(RoundMethod::GptqDescent),
            0.8 * measure(RoundMethod::Gptq));
}

/// Changing one code never helps when sweeps have come to an end.
TEST(EncodeDescent, EndsWhereNoCodeCanImprove) {
  constexpr int64_t kRows = 8, kColumns = 96;
  std::vector<float> weights = normal(kRows * kColumns, 71);
  Matrix w = toMatrix(weights, kRows);
  Moments moments(correlatedInputs(kColumns, 300, 72));
  EncodeOptions options = makeOptions(RoundMethod::GptqDescent);
  options.sweeps = 200;
  for (llvm::StringRef name : {"q4_0", "q4_1", "iq4_nl"}) {
    const BlockFormat &format = *findBlockFormat(name);
    BlockPlanes planes =
        encode(weights, kRows, format, options, moments).planes;
    std::vector<DecodedScale> scales = decodeScales(format, planes);
    Matrix errors = w - decode(format, planes, kRows);
    for (int64_t i = 0; i < kRows * kColumns; ++i) {
      int64_t row = i / kColumns, k = i % kColumns;
      const DecodedScale &scale = scales[i / format.group];
      double gradient = errors.row(row).dot(moments.products.row(k)),
             moment = moments.products(k, k),
             whole = errors.row(row).dot(moments.products *
                                         errors.row(row).transpose());
      for (unsigned code = 0; code < 1u << format.bits; ++code) {
        double step = scale.scale * (format.getValue(uint8_t(code)) -
                                     format.getValue(planes.codes[i]));
        EXPECT_GE(step * step * moment - 2 * step * gradient, -1e-5 * whole);
      }
    }
  }
}

/// Of four weights in 2 bits the best codes and scale can be found by trying.
TEST(EncodeDescent, TinyCasesAgainstAllCodes) {
  constexpr int64_t kRows = 60, kColumns = 4;
  BlockFormat format = makeFormat(2, 4);
  std::vector<float> weights = normal(kRows * kColumns, 81);
  Matrix w = toMatrix(weights, kRows);
  Moments moments(correlatedInputs(kColumns, 30, 82));
  const Matrix &h = moments.products;
  EncodeOptions options = makeOptions(RoundMethod::GptqDescent);
  options.sweeps = 50;
  Matrix gptq = decode(format,
                       encode(weights, kRows, format,
                              makeOptions(RoundMethod::Gptq), moments)
                           .planes,
                       kRows),
         descent = decode(
             format, encode(weights, kRows, format, options, moments).planes,
             kRows);
  double sums[3] = {};
  int reached = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    Eigen::RowVector4d x = w.row(row);
    double best = x * h * x.transpose();
    for (int codes = 0; codes < 256; ++codes) {
      Eigen::RowVector4d u;
      for (int i = 0; i < 4; ++i)
        u[i] = (codes >> (2 * i) & 3) - 2;
      double curvature = u * h * u.transpose();
      if (curvature == 0)
        continue;
      double scale = (u * h * x.transpose()).value() / curvature;
      Eigen::RowVector4d e = x - scale * u;
      best = std::min(best, (e * h * e.transpose()).value());
    }
    auto measure = [&](const Matrix &decoded) {
      Eigen::RowVector4d e = x - decoded.row(row);
      return (e * h * e.transpose()).value();
    };
    EXPECT_GE(measure(descent), best * (1 - 1e-5));
    reached += measure(descent) <= best * (1 + 1e-4);
    sums[0] += measure(gptq);
    sums[1] += measure(descent);
    sums[2] += best;
  }
  // Descent ends in local optima.
  EXPECT_GE(reached, kRows / 4);
  EXPECT_LT(sums[1] - sums[2], 0.5 * (sums[0] - sums[2]));
}

//===----------------------------------------------------------------------===//
// HQQ
//===----------------------------------------------------------------------===//

/// The zero point of a group by the update of Badri and Shaji 2023, as it is
/// written there: round, shrink, mean.
double solveHqq(ArrayRef<float> weights, double scale, double zero,
                double largest) {
  double beta = 10, best = zero, least = INFINITY;
  for (int i = 0; i < 20; ++i, beta *= 1.01) {
    double mean = 0, error = 0;
    for (float weight : weights) {
      double code = std::clamp(std::nearbyint(weight / scale + zero), 0.0,
                               largest),
             delta = weight - scale * (code - zero);
      double shrunk =
          delta == 0
              ? 0
              : std::copysign(
                    std::max(0.0,
                             std::abs(delta) -
                                 std::pow(std::abs(delta), 0.7 - 1) / beta),
                    delta);
      error += std::abs(delta) / double(weights.size());
      mean += (code - (weight - shrunk) / scale) / double(weights.size());
    }
    if (error >= least)
      break;
    least = error;
    best = zero;
    zero = mean;
  }
  return best;
}

double getHqqError(ArrayRef<float> weights, double scale, double zero,
                   double largest) {
  double error = 0;
  for (float weight : weights) {
    double code =
        std::clamp(std::nearbyint(weight / scale + zero), 0.0, largest);
    error += std::abs(weight - scale * (code - zero));
  }
  return error;
}

TEST(EncodeHqq, ZeroIsThatOfThePaper) {
  constexpr int64_t kRows = 40;
  BlockFormat format = makeFormat(4, 32);
  format.offset = 0;
  format.minimum = MinimumKind::Added;
  std::vector<float> weights = normal(kRows * format.group, 91, 3);
  EncodeOptions options = makeOptions(RoundMethod::Nearest);
  options.scales = ScaleSearch::MaxAbs;
  auto run = [&](RoundMethod method) {
    options.method = method;
    BlockPlanes planes =
        encodeMatrix(weights, kRows, format.group, format, options).planes;
    return std::pair(decodeScales(format, planes), planes);
  };
  auto [start, nearest] = run(RoundMethod::Nearest);
  auto [solved, hqq] = run(RoundMethod::Hqq);
  int moved = 0, equal = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    ArrayRef<float> group =
        ArrayRef(weights).slice(row * format.group, format.group);
    double scale = start[row].scale, zero = -start[row].minimum / scale,
           expected = solveHqq(group, scale, zero, 15),
           actual = -solved[row].minimum / scale;
    EXPECT_NEAR(solved[row].scale, scale, 1e-6 * scale);
    // Where Σ|w - ŵ| is flat, the last bits tell when to stop.
    double error = getHqqError(group, scale, expected, 15);
    EXPECT_NEAR(getHqqError(group, scale, actual, 15), error, 0.02 * error);
    equal += std::abs(actual - expected) < 1e-3;
    moved += std::abs(expected - zero) > 1e-2;
  }
  EXPECT_GT(moved, kRows / 4);
  EXPECT_GT(equal, kRows * 3 / 4);
}

TEST(EncodeHqq, FewerLargeErrors) {
  constexpr int64_t kRows = 64;
  const BlockFormat &format = *findBlockFormat("q4_1");
  std::vector<float> weights = normal(kRows * 256, 92);
  Matrix w = toMatrix(weights, kRows);
  EncodeOptions options = makeOptions(RoundMethod::Nearest);
  options.scales = ScaleSearch::MaxAbs;
  auto measure = [&](RoundMethod method) {
    options.method = method;
    BlockPlanes planes =
        encodeMatrix(weights, kRows, 256, format, options).planes;
    return (w - decode(format, planes, kRows)).array().abs().sum();
  };
  EXPECT_LT(measure(RoundMethod::Hqq), measure(RoundMethod::Nearest));
}

TEST(EncodeHqq, SymmetricFormatsAreRoundedToNearest) {
  std::vector<float> weights = normal(16 * 64, 93);
  const BlockFormat &format = *findBlockFormat("q4_0");
  EXPECT_EQ(
      encodeMatrix(weights, 16, 64, format, makeOptions(RoundMethod::Hqq))
          .planes.codes,
      encodeMatrix(weights, 16, 64, format, makeOptions(RoundMethod::Nearest))
          .planes.codes);
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

TEST(EncodeMask, GptqIsSparseGptsJointSweep) {
  expectObq(*findBlockFormat("q4_0"), 160, /*actOrder=*/true, false, true);
  expectObq(*findBlockFormat("q4_0"), 160, /*actOrder=*/false, true, true);
  expectObq(*findBlockFormat("uint4_g32"), 160, /*actOrder=*/true, false, true);
  expectObq(*findBlockFormat("int4_g32_k6x64"), 128, /*actOrder=*/true, true,
            true);
}

TEST(EncodeMask, ZerosAreExactInAllMethods) {
  constexpr int64_t kRows = 18, kColumns = 256;
  std::vector<float> weights = normal(kRows * kColumns, 131);
  for (size_t i = 0; i < weights.size(); i += 3)
    weights[i] = std::abs(weights[i]); // zero points off the middle
  std::vector<uint8_t> mask = makeMask(kRows * kColumns, 132);
  Moments moments(correlatedInputs(kColumns, 600, 133));
  InputMoments inputs = moments.get();
  for (llvm::StringRef name :
       {"uint4_g32", "uint2_g64", "int3_g32", "int4_g32_k6x64", "nf4_g64",
        "fp8_e4m3_g32", "ternary_g32", "q8_0", "q6_k"}) {
    const BlockFormat &format = *findBlockFormat(name);
    std::map<RoundMethod, double> errors;
    for (RoundMethod method :
         {RoundMethod::Nearest, RoundMethod::Hqq, RoundMethod::Gptq,
          RoundMethod::GptqDescent, RoundMethod::AutoRound}) {
      EncodedMatrix encoded =
          encode(weights, kRows, format, makeOptions(method), moments, mask);
      Matrix decoded = decode(format, encoded.planes, kRows);
      int64_t others = 0;
      for (int64_t i = 0; i < kRows * kColumns; ++i) {
        if (!mask[i])
          EXPECT_EQ(decoded.data()[i], 0) << name.str() << " at " << i;
        others += mask[i] && decoded.data()[i] != 0;
      }
      EXPECT_GT(others, kRows * kColumns / 6) << name.str();
      // Zeros count as errors.
      Matrix all = toMatrix(weights, kRows);
      double error = std::sqrt(getObjective(all - decoded, moments.products) /
                               getObjective(all, moments.products));
      EXPECT_NEAR(encoded.error, error, 1e-4 * error) << name.str();
      std::vector<float> changed(decoded.data(),
                                 decoded.data() + decoded.size());
      EXPECT_NEAR(getRelativeError(weights, changed, kRows, kColumns, &inputs),
                  error, 1e-4 * error);
      errors[method] = error;
    }
    EXPECT_LT(errors[RoundMethod::Gptq], 0.8 * errors[RoundMethod::Nearest])
        << name.str();
    EXPECT_LE(errors[RoundMethod::GptqDescent], errors[RoundMethod::Gptq])
        << name.str();
    EXPECT_LE(errors[RoundMethod::AutoRound], errors[RoundMethod::Nearest])
        << name.str();
  }
}

TEST(EncodeMask, FormatsWithoutZero) {
  for (llvm::StringRef name : {"q4_1", "q4_k", "iq4_nl", "uint4_g32_k6x256"})
    EXPECT_FALSE(hasExactZero(*findBlockFormat(name))) << name.str();
  for (llvm::StringRef name : {"q4_0", "int4_g32_k6x256", "uint8_g16"})
    EXPECT_TRUE(hasExactZero(*findBlockFormat(name))) << name.str();
}

//===----------------------------------------------------------------------===//
// AutoRound and AWQ
//===----------------------------------------------------------------------===//

TEST(EncodeAutoRound, LowersTheOutputError) {
  constexpr int64_t kRows = 16, kColumns = 256;
  std::vector<float> weights = normal(kRows * kColumns, 101);
  Moments moments(correlatedInputs(kColumns, 600, 102));
  for (llvm::StringRef name : {"q4_0", "q4_1", "q2_k", "q3_k", "iq4_nl"}) {
    const BlockFormat &format = *findBlockFormat(name);
    auto measure = [&](RoundMethod method) {
      return encode(weights, kRows, format, makeOptions(method), moments).error;
    };
    EXPECT_LT(measure(RoundMethod::AutoRound),
              0.75 * measure(RoundMethod::Nearest))
        << name.str();
  }
}

TEST(EncodeAutoRound, NoIterationsAreRoundingToNearest) {
  std::vector<float> weights = normal(16 * 64, 103);
  Moments moments(correlatedInputs(64, 200, 104));
  const BlockFormat &format = *findBlockFormat("q4_1");
  EncodeOptions options = makeOptions(RoundMethod::AutoRound);
  options.iterations = 0;
  EXPECT_EQ(
      encode(weights, 16, format, options, moments).planes.codes,
      encode(weights, 16, format, makeOptions(RoundMethod::Nearest), moments)
          .planes.codes);
}

TEST(Awq, TakesTheBestOfItsGrid) {
  constexpr int64_t kRows = 24, kColumns = 128;
  const BlockFormat &format = *findBlockFormat("q4_0");
  std::vector<float> first = normal(kRows * kColumns, 111),
                     second = normal(kRows * kColumns, 112);
  // A few inputs are much larger than the rest.
  Matrix inputs = correlatedInputs(kColumns, 500, 113);
  for (int64_t i = 0; i < kColumns; i += 17)
    inputs.row(i) *= 12;
  Moments moments(inputs);
  std::vector<float> magnitudes(kColumns);
  for (int64_t i = 0; i < kColumns; ++i)
    magnitudes[i] = float(inputs.row(i).array().abs().mean());
  std::vector<float> found =
      findInputScales({{first, kRows}, {second, kRows}}, format, moments.get(),
                      magnitudes, ScaleSearch::MaxAbs);

  auto measure = [&](ArrayRef<float> factors) {
    double total = 0;
    for (ArrayRef<float> weights : {ArrayRef(first), ArrayRef(second)}) {
      std::vector<float> scaled = weights.vec();
      for (size_t i = 0; i < scaled.size(); ++i)
        scaled[i] *= factors[i % kColumns];
      EncodeOptions options = makeOptions(RoundMethod::Nearest);
      options.scales = ScaleSearch::MaxAbs;
      Matrix decoded = decode(
          format, encodeMatrix(scaled, kRows, kColumns, format, options).planes,
          kRows);
      for (int64_t i = 0; i < kColumns; ++i)
        decoded.col(i) /= factors[i];
      total +=
          getObjective(toMatrix(weights, kRows) - decoded, moments.products);
    }
    return total;
  };
  double least = INFINITY, plain = measure(std::vector<float>(kColumns, 1));
  for (int step = 0; step < 20; ++step) {
    std::vector<float> factors(kColumns);
    for (int64_t i = 0; i < kColumns; ++i)
      factors[i] = float(std::pow(double(magnitudes[i]), step / 20.0));
    double root =
        std::sqrt(double(*std::max_element(factors.begin(), factors.end())) *
                  *std::min_element(factors.begin(), factors.end()));
    for (float &factor : factors)
      factor = float(factor / root);
    least = std::min(least, measure(factors));
  }
  EXPECT_NEAR(measure(found), least, 1e-4 * least);
  EXPECT_LT(least, 0.8 * plain);
}

//===----------------------------------------------------------------------===//
// Earlier errors
//===----------------------------------------------------------------------===//

TEST(MakeUp, IsTheLeastSquaresOfWhatIsLacking) {
  constexpr int64_t kRows = 5, kColumns = 24, kSamples = 400;
  std::vector<float> weights = normal(kRows * kColumns, 121);
  Matrix inputs = correlatedInputs(kColumns, kSamples, 122),
         lacks = toMatrix(normal(kRows * kSamples, 123), kRows) +
                 toMatrix(normal(kRows * kColumns, 124), kRows) * inputs,
         lack = lacks * inputs.transpose();
  Moments moments(inputs);
  auto correct = [&](double share, double ridge) {
    return toMatrix(makeUpFor({lack.data(), size_t(lack.size())}, weights,
                              kRows, moments.get(), share, ridge),
                    kRows);
  };
  // Of the samples themselves, by QR.
  Matrix best = inputs.transpose()
                    .colPivHouseholderQr()
                    .solve(lacks.transpose())
                    .transpose();
  Matrix before = toMatrix(weights, kRows);
  EXPECT_LT((correct(1, 0) - before - best).norm(), 1e-3 * best.norm());
  EXPECT_LT((correct(0.5, 0) - before - 0.5 * best).norm(), 1e-3 * best.norm());
  // A ridge is samples of single inputs that show nothing.
  double ridge = 0.3;
  Matrix more(kColumns, kSamples + kColumns), moreLacks(kRows, more.cols());
  more << inputs,
      Matrix((ridge * moments.products.diagonal()).cwiseSqrt().asDiagonal());
  moreLacks << lacks, Matrix::Zero(kRows, kColumns);
  best = more.transpose()
             .colPivHouseholderQr()
             .solve(moreLacks.transpose())
             .transpose();
  EXPECT_LT((correct(1, ridge) - before - best).norm(), 1e-3 * best.norm());
}

TEST(MakeUp, InputsThatWereNeverSeenChangeNothing) {
  std::vector<float> weights = normal(32, 131);
  Matrix inputs = Matrix::Zero(16, 40), lack = Matrix::Zero(2, 16);
  Moments moments(inputs);
  EXPECT_EQ(makeUpFor({lack.data(), size_t(lack.size())}, weights, 2,
                      moments.get(), 1, 0.1),
            weights);
}

} // namespace
