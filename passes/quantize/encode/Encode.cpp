//===- Encode.cpp - Weights of a matrix to codes of a format --------------===//
#include "passes/quantize/encode/Encode.h"
#include "passes/quantize/encode/Panel.h"
#include "passes/quantize/encode/ScaleStorage.h"
#include "llvm/ADT/STLExtras.h"
#include <atomic>
#include <thread>

using llvm::ArrayRef;

namespace pare::encode {

//===----------------------------------------------------------------------===//
// Problem
//===----------------------------------------------------------------------===//

static Columns splatAll(ArrayRef<float> values) {
  Columns columns;
  for (float value : values)
    columns.push_back(splat(value));
  return columns;
}

/// Σx² of each input, or 1.
static std::vector<double> getDiagonal(int64_t columns,
                                       const InputMoments *inputs) {
  if (!inputs || (inputs->products.empty() && inputs->importance.empty()))
    return std::vector<double>(columns, 1);
  if (inputs->products.empty())
    return inputs->importance.vec();
  std::vector<double> diagonal;
  for (int64_t i = 0; i < columns; ++i)
    diagonal.push_back(inputs->products[i * (columns + 1)]);
  return diagonal;
}

Problem::Problem(int64_t columns, const BlockFormat &format,
                 const EncodeOptions &options, const InputMoments *inputs)
    : columns(columns), options(options), fitter(format, options.scales) {
  std::vector<double> diagonal = getDiagonal(columns, inputs);
  bool hasProducts = inputs && !inputs->products.empty();

  double sum = 0;
  for (double value : diagonal)
    sum += value;
  factor = sum > 0 ? double(columns) / sum : 1;
  // Weights of inputs that were never seen are not worth nothing.
  constexpr double kLeast = 1e-6;
  std::vector<float> scaled;
  for (double value : diagonal)
    scaled.push_back(float(std::max(value * factor, kLeast)));
  importance = splatAll(scaled);
  if (!hasProducts)
    return;

  std::vector<double> hessian, difference;
  for (double value : inputs->products)
    hessian.push_back(value * factor);
  for (double value : inputs->cross)
    difference.push_back(value * factor * options.asymmetry);
  moments.assign(hessian.begin(), hessian.end());
  cross.resize(difference.size());
  if (!cross.empty())
    for (int64_t i = 0; i < columns; ++i)
      for (int64_t j = 0; j < columns; ++j)
        cross[j * columns + i] = float(difference[i * columns + j]);
  if (options.method == RoundMethod::Gptq ||
      options.method == RoundMethod::GptqDescent)
    feedback = makeFeedback(hessian, difference, columns, options);
}

GroupData getGroup(const Problem &problem, const Lanes *weights,
                   int64_t index) {
  int64_t size = problem.format().scaleGroup(), begin = index * size;
  const float *moments = nullptr;
  if (problem.options.scales == ScaleSearch::Output && problem.hasMoments())
    moments = problem.moments.data() + begin * (problem.columns + 1);
  return {weights + begin, problem.importance.data() + begin, size, moments,
          problem.columns};
}

void fitScales(const Problem &problem, Panel &panel) {
  int64_t count = problem.columns / problem.format().scaleGroup();
  for (int64_t i = 0; i < count; ++i)
    problem.fitter.fit(getGroup(problem, panel.toRound().data(), i), i,
                       panel.scales);
}

void roundToNearest(const Problem &problem, Panel &panel) {
  for (int64_t k = 0; k < problem.columns; ++k)
    panel.scaleOf(problem, k)
        .round(problem.fitter.levels(), panel.toRound()[k], panel.values[k]);
}

void getErrors(const Problem &problem, Panel &panel, Columns &errors) {
  errors.resize(problem.columns);
  for (int64_t k = 0; k < problem.columns; ++k) {
    Lanes decoded;
    panel.scaleOf(problem, k).decode(panel.values[k], decoded);
    for (int lane = 0; lane < kLanes; ++lane)
      errors[k][lane] = panel.weights[k][lane] - decoded[lane];
  }
}

void forEach(int64_t count, unsigned threads,
             llvm::function_ref<void(int64_t)> body) {
  std::atomic<int64_t> next = 0;
  auto work = [&] {
    for (int64_t i; (i = next++) < count;)
      body(i);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1, e = std::min<int64_t>(threads, count); i < e; ++i)
    others.emplace_back(work);
  work();
  for (std::thread &thread : others)
    thread.join();
}

//===----------------------------------------------------------------------===//
// Panels in and out
//===----------------------------------------------------------------------===//

/// Rows from `first` on; beyond the last row zeros.
static Panel readPanel(const Problem &problem, ArrayRef<float> weights,
                       ArrayRef<uint8_t> mask, int64_t rows, int64_t first) {
  int64_t columns = problem.columns;
  Panel panel;
  panel.weights.resize(columns, splat(0));
  panel.values.resize(columns);
  panel.scales.resize(problem.format(), columns);
  for (int64_t lane = 0, e = std::min<int64_t>(kLanes, rows - first); lane < e;
       ++lane)
    for (int64_t k = 0; k < columns; ++k)
      panel.weights[k][lane] = weights[(first + lane) * columns + k];
  if (mask.empty())
    return panel;
  panel.kept = panel.weights;
  panel.stays.resize(columns, splat(1));
  for (int64_t k = 0; k < columns; ++k) {
    for (int64_t lane = 0, e = std::min<int64_t>(kLanes, rows - first);
         lane < e; ++lane)
      panel.stays[k][lane] = mask[(first + lane) * columns + k];
    multiply(panel.kept[k], panel.stays[k]);
  }
  return panel;
}

static void writeScales(const Problem &problem, const Panel &panel, int lane,
                        uint64_t row, BlockPlanes &planes) {
  const BlockFormat &format = problem.format();
  const PanelScales &scales = panel.scales;
  float sign = problem.fitter.minimumSign();
  uint64_t groups = scales.groups.size(), bytes = getScaleBytes(format.scale),
           supers = problem.columns / format.scaleGroup();
  for (uint64_t g = 0; g < groups; ++g) {
    if (format.zeroBits)
      planes.zeros[row * groups + g] = uint8_t(scales.groups[g].zero[lane]);
    if (!format.hasTwoLevels())
      continue;
    unsigned mask = (1u << format.subBits) - 1;
    int sub = int(scales.subScales[g][lane]);
    planes.subScales[row * groups + g] = uint8_t(
        unsigned(format.subSigned ? sub : sub + format.subOffset) & mask);
    if (format.hasMinimum())
      planes.subMinima[row * groups + g] = uint8_t(scales.subMinima[g][lane]);
  }
  for (uint64_t s = 0; s < supers; ++s) {
    bool isTwoLevel = format.hasTwoLevels();
    uint64_t at = (row * supers + s) * bytes;
    encodeScale(format.scale,
                isTwoLevel ? scales.superScales[s][lane]
                           : scales.groups[s].scale[lane],
                &planes.scales[at]);
    if (format.hasMinimum())
      encodeScale(format.scale,
                  isTwoLevel ? scales.superMinima[s][lane]
                             : sign * scales.groups[s].minimum[lane],
                  &planes.minima[at]);
  }
}

static void writePanel(const Problem &problem, const Panel &panel, int64_t rows,
                       int64_t first, BlockPlanes &planes) {
  int64_t columns = problem.columns;
  const Levels &levels = problem.fitter.levels();
  for (int lane = 0; lane < kLanes && first + lane < rows; ++lane) {
    uint64_t row = first + lane;
    for (int64_t k = 0; k < columns; ++k)
      planes.codes[row * columns + k] = levels.getCode(panel.values[k][lane]);
    writeScales(problem, panel, lane, row, planes);
  }
}

//===----------------------------------------------------------------------===//
// encodeMatrix
//===----------------------------------------------------------------------===//

/// Σ over the panel's rows of e H eᵀ; of H the diagonal where `moments` is
/// empty.
static double getNorm(const SquareMatrix &moments, const Columns &importance,
                      const Columns &columns) {
  double sums[kLanes] = {}, total = 0;
  if (!moments.empty())
    addQuadraticForm(moments.data(), columns.size(), columns.data(), sums);
  else
    for (size_t k = 0; k < columns.size(); ++k)
      for (int lane = 0; lane < kLanes; ++lane) {
        double value = columns[k][lane];
        sums[lane] += importance[k][lane] * value * value;
      }
  for (double sum : sums)
    total += sum;
  return total;
}

static void roundPanel(const Problem &problem, Panel &panel) {
  // Without moments no method but HQQ has anything to go by.
  bool isKnown = problem.hasMoments();
  switch (problem.options.method) {
  case RoundMethod::Hqq:
    return roundByHqq(problem, panel);
  case RoundMethod::Gptq:
    if (isKnown)
      return roundByGptq(problem, panel);
    break;
  case RoundMethod::GptqDescent:
    if (isKnown) {
      roundByGptq(problem, panel);
      return descend(problem, panel);
    }
    break;
  case RoundMethod::AutoRound:
    if (isKnown)
      return roundByAutoRound(problem, panel);
    break;
  case RoundMethod::Nearest:
    break;
  }
  fitScales(problem, panel);
  roundToNearest(problem, panel);
}

EncodedMatrix encodeMatrix(ArrayRef<float> weights, int64_t rows,
                           int64_t columns, const BlockFormat &format,
                           const EncodeOptions &options,
                           const InputMoments *moments,
                           ArrayRef<uint8_t> mask) {
  assert(int64_t(weights.size()) == rows * columns && "not [rows, columns]");
  assert(columns % format.scaleGroup() == 0 && "a group that is not whole");
  assert((!moments || moments->size == columns) && "moments of other inputs");
  assert((mask.empty() || mask.size() == weights.size()) && "another mask");
  assert((mask.empty() || hasExactZero(format)) && "zeros that it has not");
  Problem problem(columns, format, options, moments);
  EncodedMatrix encoded;
  encoded.planes.resize(format, rows * columns);

  int64_t panels = (rows + kLanes - 1) / kLanes;
  std::vector<std::pair<double, double>> norms(panels);
  forEach(panels, options.threads, [&](int64_t i) {
    Panel panel = readPanel(problem, weights, mask, rows, i * kLanes);
    roundPanel(problem, panel);
    writePanel(problem, panel, rows, i * kLanes, encoded.planes);
    Columns errors;
    getErrors(problem, panel, errors);
    norms[i] = {getNorm(problem.moments, problem.importance, errors),
                getNorm(problem.moments, problem.importance, panel.weights)};
  });
  double error = 0, norm = 0;
  for (auto [panelError, panelNorm] : norms) {
    error += panelError;
    norm += panelNorm;
  }
  encoded.norm = norm / problem.factor;
  encoded.error = norm > 0 ? std::sqrt(std::max(0.0, error / norm)) : 0;
  return encoded;
}

bool hasExactZero(const BlockFormat &format) {
  if (format.hasMinimum())
    return false;
  Levels levels(format);
  if (format.zeroBits)
    return levels.low() <= 0 &&
           levels.high() >= float((1u << format.zeroBits) - 1);
  Lanes zero = splat(0);
  levels.round(zero);
  return zero[0] == 0;
}

double getRelativeError(ArrayRef<float> weights, ArrayRef<float> changed,
                        int64_t rows, int64_t columns,
                        const InputMoments *moments, unsigned threads) {
  assert(weights.size() == changed.size() && "of another size");
  std::vector<double> diagonal = getDiagonal(columns, moments);
  double largest = *llvm::max_element(diagonal),
         factor = largest > 0 ? 1 / largest : 1; // squares of f32 stay finite
  std::vector<float> scaled;
  for (double value : diagonal)
    scaled.push_back(float(value * factor));
  Columns importance = splatAll(scaled);
  SquareMatrix products;
  if (moments)
    for (double value : moments->products)
      products.push_back(float(value * factor));
  int64_t panels = (rows + kLanes - 1) / kLanes;
  std::vector<std::pair<double, double>> norms(panels);
  forEach(panels, threads, [&](int64_t i) {
    Columns errors(columns, splat(0)), values(columns, splat(0));
    for (int64_t row = i * kLanes, e = std::min(rows, row + kLanes); row < e;
         ++row)
      for (int64_t k = 0; k < columns; ++k) {
        float value = weights[row * columns + k];
        values[k][row % kLanes] = value;
        errors[k][row % kLanes] = value - changed[row * columns + k];
      }
    norms[i] = {getNorm(products, importance, errors),
                getNorm(products, importance, values)};
  });
  double error = 0, norm = 0;
  for (auto [panelError, panelNorm] : norms) {
    error += panelError;
    norm += panelNorm;
  }
  return norm > 0 ? std::sqrt(std::max(0.0, error / norm)) : 0;
}

} // namespace pare::encode
