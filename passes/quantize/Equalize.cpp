//===- Equalize.cpp - Inputs that lose less in 8 bits ---------------------===//
#include "passes/quantize/Equalize.h"
#include "frontend/ir/Codes.h"
#include "passes/simplify/DerivedWeights.h"
#include <cmath>

using namespace mlir;

namespace pare {

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

namespace {

/// What is expected of a product's output error under a transform.
class NoiseModel {
public:
  NoiseModel(const SecondMoments &moments, ArrayRef<float> weights,
             Type codeType)
      : moments(moments), weights(weights), size(moments.size()),
        outputs(weights.size() / size), codeType(codeType),
        mean(moments.means()), norms(size, 0), variances(size) {
    for (int64_t k = 0; k < size; ++k) {
      double square = moments.sums()[k * size + k] / double(moments.rows());
      variances[k] = std::max(square - mean[k] * mean[k], 0.0);
      for (float w : weights.slice(k * outputs, outputs))
        norms[k] += double(w) * w;
    }
  }

  /// SmoothQuant's scales at `alpha`, of geometric mean 1; 1 for an input that
  /// is constant or that no output reads.
  std::vector<double> getScales(ArrayRef<double> shift, double alpha) {
    std::vector<double> most(size, 0), scale(size, 1);
    for (auto [i, x] : llvm::enumerate(moments.samples()))
      most[i % size] = std::max(most[i % size], std::abs(x - shift[i % size]));
    double floor = 1e-4 * *llvm::max_element(most), sum = 0;
    double weightFloor = 1e-8 * *llvm::max_element(norms);
    int64_t count = 0;
    for (int64_t k = 0; k < size; ++k) {
      if (most[k] <= floor || norms[k] <= weightFloor)
        continue;
      scale[k] =
          std::pow(most[k], alpha) / std::pow(std::sqrt(norms[k]), 1 - alpha);
      sum += std::log(scale[k]);
      ++count;
    }
    double middle = count ? std::exp(sum / count) : 1;
    for (int64_t k = 0; k < size; ++k)
      if (most[k] > floor && norms[k] > weightFloor)
        scale[k] /= middle;
    return scale;
  }

  double getNoise(const InputTransform &to) const {
    return getInputNoise(to) + getWeightNoise(to);
  }

  const std::vector<double> &getMean() const { return mean; }

private:
  /// Mean over rows of step² / 12 · Σ (scale · ‖w‖)².
  double getInputNoise(const InputTransform &to) const {
    double squares = 0, gain = 0;
    ArrayRef<float> samples = moments.samples();
    int64_t rows = samples.size() / size;
    for (int64_t row = 0; row < rows; ++row) {
      double low = INFINITY, high = -INFINITY;
      for (int64_t k = 0; k < size; ++k) {
        double x = (samples[row * size + k] - to.shift[k]) / to.scale[k];
        low = std::min(low, x);
        high = std::max(high, x);
      }
      double most = std::max(high, -low), limit = nn::getCodeLimit(codeType);
      // Bytes have a zero point.
      double step = codeType.getIntOrFloatBitWidth() == 8
                        ? (high - low) / (2 * limit)
                        : most / limit;
      squares += step * step;
    }
    for (int64_t k = 0; k < size; ++k)
      gain += to.scale[k] * to.scale[k] * norms[k];
    return squares / double(std::max<int64_t>(rows, 1)) / 12 * gain;
  }

  /// Σ over outputs of step² / 12 · Σ (deviation / scale)².
  double getWeightNoise(const InputTransform &to) const {
    constexpr double kLeftByGptq = 0.25; // of squares
    double squares = 0, spread = 0;
    std::vector<double> most(outputs, 0);
    for (int64_t k = 0; k < size; ++k) {
      spread += variances[k] / (to.scale[k] * to.scale[k]);
      for (int64_t c = 0; c < outputs; ++c)
        most[c] =
            std::max(most[c], to.scale[k] * std::abs(weights[k * outputs + c]));
    }
    for (double value : most)
      squares += value / 127 * (value / 127);
    return kLeftByGptq * squares / 12 * spread;
  }

  const SecondMoments &moments;
  ArrayRef<float> weights; ///< [size, outputs]
  int64_t size, outputs;
  Type codeType;
  std::vector<double> mean, norms, variances;
};

} // namespace

std::optional<InputTransform> chooseInputTransform(const SecondMoments &moments,
                                                   ArrayRef<float> weights,
                                                   Type codeType) {
  // Of fewer rows the mean and the largest are chance.
  constexpr int64_t kLeastRows = 4; // per input
  if (moments.rows() < kLeastRows * moments.size())
    return std::nullopt;
  NoiseModel model(moments, weights, codeType);
  std::vector<double> zeros(moments.size(), 0), ones(moments.size(), 1);
  InputTransform best{zeros, ones};
  double none = model.getNoise(best), least = none;
  for (const std::vector<double> &shift : {zeros, model.getMean()})
    for (double alpha : {0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}) {
      InputTransform next{shift, alpha ? model.getScales(shift, alpha) : ones};
      double noise = model.getNoise(next);
      if (noise < least) {
        least = noise;
        best = std::move(next);
      }
    }
  return least < 0.9 * none ? std::optional(best) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Biases
//===----------------------------------------------------------------------===//

/// A known value of one number per channel of `like`, as numbers.
static std::optional<std::vector<double>>
getVector(Value value, Value like, const WeightStore &weights) {
  nn::Dim channels = shapeOf(like).back();
  std::optional<HostTensor> tensor = getKnown(value, &weights);
  if (!tensor || !elementOf(value).isF32() || !isVector(value, channels) ||
      tensor->size() != nn::getConstant(channels))
    return std::nullopt;
  return tensor->read<double>();
}

static Value makeVector(OpBuilder &builder, ArrayRef<double> numbers,
                        Value like, WeightStore &weights) {
  HostTensor tensor(
      RankedTensorType::get({int64_t(numbers.size())}, builder.getF32Type()));
  tensor.write<double>(numbers);
  nn::WeightOp weight = nn::getWeight(like);
  return makeDerived(builder, weights, tensor, like,
                     weight ? getSourceName(weight) : StringRef(), "moved");
}

/// The operand of the addition after `product` that is its bias; null if it has
/// none.
static OpOperand *findBias(Value product, const WeightStore &weights) {
  if (!product.hasOneUse())
    return nullptr;
  auto add = dyn_cast<nn::BinaryOp>(*product.user_begin());
  if (!add || add.getKind() != nn::BinaryKind::add ||
      add.getType() != product.getType())
    return nullptr;
  OpOperand &bias = add->getOpOperand(add.getLhs() == product ? 1 : 0);
  return getVector(bias.get(), product, weights) ? &bias : nullptr;
}

/// Gives a bias other numbers.
static void setBias(OpOperand &bias, ArrayRef<double> numbers,
                    WeightStore &weights) {
  OpBuilder builder(bias.getOwner());
  bias.set(makeVector(builder, numbers, bias.get(), weights));
}

Value addToProduct(Value product, ArrayRef<double> numbers,
                   WeightStore &weights) {
  if (OpOperand *bias = findBias(product, weights)) {
    std::vector<double> sum = *getVector(bias->get(), product, weights);
    for (auto [a, b] : llvm::zip_equal(sum, numbers))
      a += b;
    setBias(*bias, sum, weights);
    return product;
  }
  Operation *op = product.getDefiningOp();
  OpBuilder builder(op->getContext());
  builder.setInsertionPointAfter(op);
  Location loc = op->getLoc();
  op->setLoc(getDerivedLoc(loc, "product"));
  Value vector = makeVector(builder, numbers, product, weights);
  auto add =
      nn::BinaryOp::create(builder, loc, nn::BinaryKind::add, product, vector);
  product.replaceAllUsesExcept(add, add);
  return add;
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

namespace {

/// Channels of a product's result that an attention's values are.
struct ValueChannels {
  nn::MatMulOp product;
  OpOperand *bias;
  int64_t begin;
};

class Equalizer {
public:
  using OnReplace = llvm::function_ref<void(Value, Value)>;

  Equalizer(WeightStore &weights, Type codeType, OnReplace onReplace)
      : weights(weights), codeType(codeType), onReplace(onReplace) {}

  /// Whether it changed `x`, whose products' weights are `uses`.
  bool equalize(Value x, ArrayRef<OpOperand *> uses, SecondMoments &moments) {
    auto norm = x.getDefiningOp<nn::LayerNormOp>();
    std::optional<ValueChannels> values = findValues(x);
    if (!values && !(norm && norm.getScale() && norm.getBias() &&
                     getVector(norm.getScale(), x, weights) &&
                     getVector(norm.getBias(), x, weights)))
      return false;
    std::optional<InputTransform> to = chooseInputTransform(
        moments, concatenate(uses, moments.size()), codeType);
    if (!to)
      return false;
    if (values)
      moveValues(*values, *to);
    else
      moveNorm(norm, *to);
    for (OpOperand *use : uses)
      undo(*use, *to);
    moments = moments.transformed(to->shift, to->scale);
    return true;
  }

private:
  static bool isTransposed(OpOperand &use) {
    return cast<nn::MatMulOp>(use.getOwner()).getTransposeRhs();
  }

  /// Weights [inner, outputs] of all products.
  std::vector<float> concatenate(ArrayRef<OpOperand *> uses, int64_t inner) {
    std::vector<std::vector<float>> parts;
    for (OpOperand *use : uses)
      parts.push_back(getKnown(use->get(), &weights)->read<float>());
    std::vector<float> result;
    for (int64_t k = 0; k < inner; ++k)
      for (auto [use, part] : llvm::zip_equal(uses, parts)) {
        int64_t outputs = part.size() / inner;
        for (int64_t c = 0; c < outputs; ++c)
          result.push_back(
              part[isTransposed(*use) ? c * inner + k : k * outputs + c]);
      }
    return result;
  }

  /// Calls change(input, output, weight) for each element of a weight and puts
  /// the result in its place.
  void
  rewriteWeight(OpOperand &use,
                llvm::function_ref<double(int64_t, int64_t, double)> change) {
    HostTensor tensor = *getKnown(use.get(), &weights);
    std::vector<double> values = tensor.read<double>();
    int64_t columns = tensor.shape()[1];
    bool transposed = isTransposed(use);
    for (auto [i, value] : llvm::enumerate(values)) {
      int64_t row = int64_t(i) / columns, column = int64_t(i) % columns;
      value =
          transposed ? change(column, row, value) : change(row, column, value);
    }
    HostTensor changed(tensor.type());
    changed.write<double>(values);
    nn::WeightOp old = nn::getWeight(use.get());
    OpBuilder builder(use.getOwner());
    Value made = makeDerivedWeight(builder, weights, changed, use.get(),
                                   getSourceName(old), "equalized");
    copySources(old, nn::getWeight(made));
    use.set(made);
  }

  /// (x - shift) / scale · w' + b' = x · w + b
  void undo(OpOperand &use, const InputTransform &to) {
    auto product = cast<nn::MatMulOp>(use.getOwner());
    std::vector<double> sums(*nn::getConstant(shapeOf(product).back()), 0);
    rewriteWeight(use, [&](int64_t input, int64_t output, double w) {
      sums[output] += to.shift[input] * w;
      return to.scale[input] * w;
    });
    if (llvm::all_of(to.shift, [](double v) { return v == 0; }))
      return;
    Value result = product.getResult(),
          moved = addToProduct(result, sums, weights);
    if (moved != result)
      onReplace(result, moved);
  }

  void moveNorm(nn::LayerNormOp norm, const InputTransform &to) {
    std::vector<double> scale = *getVector(norm.getScale(), norm, weights),
                        bias = *getVector(norm.getBias(), norm, weights);
    for (size_t k = 0; k < scale.size(); ++k) {
      scale[k] /= to.scale[k];
      bias[k] = (bias[k] - to.shift[k]) / to.scale[k];
    }
    OpBuilder builder(norm);
    norm.getScaleMutable().assign(
        makeVector(builder, scale, norm.getScale(), weights));
    norm.getBiasMutable().assign(
        makeVector(builder, bias, norm.getBias(), weights));
    norm->setLoc(getDerivedLoc(norm.getLoc(), "equalized"));
  }

  void moveValues(const ValueChannels &values, const InputTransform &to) {
    auto count = int64_t(to.scale.size());
    auto find = [&](int64_t output) {
      int64_t k = output - values.begin;
      return k >= 0 && k < count ? k : -1;
    };
    nn::MatMulOp product = values.product;
    std::vector<double> bias = *getVector(values.bias->get(), product, weights);
    for (int64_t k = 0; k < count; ++k)
      bias[values.begin + k] =
          (bias[values.begin + k] - to.shift[k]) / to.scale[k];
    setBias(*values.bias, bias, weights);
    rewriteWeight(product->getOpOperand(1),
                  [&](int64_t, int64_t output, double w) {
                    int64_t k = find(output);
                    return k < 0 ? w : w / to.scale[k];
                  });
  }

  static Value throughReshape(Value value) {
    auto reshape = value.getDefiningOp<nn::ReshapeOp>();
    return reshape && reshape.getX().hasOneUse() ? reshape.getX() : Value();
  }

  /// The first channel of a slice of the last axis, by single steps.
  static std::optional<int64_t> getFirstChannel(nn::SliceOp slice) {
    auto starts = slice.getStarts().getResults();
    for (auto [axis, start] : llvm::enumerate(starts))
      if (axis + 1 < starts.size() && !nn::isConstant(start, 0))
        return std::nullopt;
    bool steps =
        llvm::all_of(slice.getSteps(), [](int64_t s) { return s == 1; });
    nn::Shape from = shapeOf(slice.getX()), to = shapeOf(slice);
    if (!steps || ArrayRef(from).drop_back() != ArrayRef(to).drop_back())
      return std::nullopt;
    return nn::getConstant(starts.back());
  }

  /// x = reshape(attention(q, k, reshape(channels of a product + bias))), heads
  /// side by side in both.
  std::optional<ValueChannels> findValues(Value x) {
    Value heads = throughReshape(x);
    auto attention =
        heads ? heads.getDefiningOp<nn::AttentionOp>() : nn::AttentionOp();
    if (!attention || !attention.getValue().hasOneUse() ||
        shapeOf(attention.getQuery())[2] != shapeOf(attention.getValue())[2])
      return std::nullopt;
    Value source = throughReshape(attention.getValue());
    std::optional<int64_t> size = nn::getConstant(shapeOf(x).back());
    auto isFlat = [&](Value flat, Value split) {
      nn::Shape shape = shapeOf(split);
      return rankOf(flat) == 3 && rankOf(split) == 4 && size &&
             nn::isConstant(shapeOf(flat).back(), *size) &&
             shapeOf(flat)[1] == shape[1];
    };
    if (!source || !isFlat(x, heads) || !isFlat(source, attention.getValue()))
      return std::nullopt;
    int64_t begin = 0;
    Value whole = source;
    if (auto slice = source.getDefiningOp<nn::SliceOp>()) {
      whole = slice.getX();
      std::optional<int64_t> first = getFirstChannel(slice);
      if (!first)
        return std::nullopt;
      begin = *first;
      for (Operation *user : whole.getUsers()) {
        auto other = dyn_cast<nn::SliceOp>(user);
        std::optional<int64_t> start =
            other ? getFirstChannel(other) : std::nullopt;
        std::optional<int64_t> length =
            other ? nn::getConstant(shapeOf(other).back()) : std::nullopt;
        if (!start || !length ||
            (other != slice && *start < begin + *size &&
             begin < *start + *length))
          return std::nullopt;
      }
    } else if (!whole.hasOneUse()) {
      return std::nullopt;
    }
    auto add = whole.getDefiningOp<nn::BinaryOp>();
    if (!add)
      return std::nullopt;
    for (Value operand : {add.getLhs(), add.getRhs()})
      if (auto product = operand.getDefiningOp<nn::MatMulOp>())
        if (OpOperand *bias = findBias(product, weights);
            bias && bias->getOwner() == add && isOwn(product->getOpOperand(1)))
          return ValueChannels{product, bias, begin};
    return std::nullopt;
  }

public:
  /// Whether nothing else reads the weight of a matrix product.
  bool isOwn(OpOperand &use) {
    auto param = use.get().getDefiningOp<nn::ParamOp>();
    if (!param || !param->hasOneUse() || rankOf(param) != 2 ||
        !elementOf(param).isF32() || nn::isBlockWeight(param))
      return false;
    auto uses = SymbolTable::getSymbolUses(param.getWeightAttr().getAttr(),
                                           param->getParentOfType<ModuleOp>());
    return uses && llvm::hasSingleElement(*uses);
  }

private:
  WeightStore &weights;
  Type codeType;
  OnReplace onReplace;
};

} // namespace

void equalizeInputs(ModuleOp module, WeightStore &weights,
                    llvm::DenseMap<Value, SecondMoments> &moments,
                    llvm::function_ref<bool(OpOperand &)> isQuantized,
                    Type codeType,
                    llvm::function_ref<void(Value from, Value to)> onReplace) {
  SmallVector<Value> inputs;
  module->walk([&](Operation *op) {
    for (Value result : op->getResults())
      if (moments.contains(result))
        inputs.push_back(result);
  });
  auto replace = [&](Value from, Value to) {
    llvm::replace(inputs, from, to);
    onReplace(from, to);
  };
  Equalizer equalizer(weights, codeType, replace);
  for (size_t i = 0; i < inputs.size(); ++i) {
    SmallVector<OpOperand *> uses;
    bool all = llvm::all_of(inputs[i].getUses(), [&](OpOperand &use) {
      auto product = dyn_cast<nn::MatMulOp>(use.getOwner());
      if (!product || use.getOperandNumber() != 0)
        return false;
      OpOperand &weight = product->getOpOperand(1);
      uses.push_back(&weight);
      return equalizer.isOwn(weight) && isQuantized(weight);
    });
    if (all)
      equalizer.equalize(inputs[i], uses, moments.find(inputs[i])->second);
  }
  eraseUnusedWeights(module, weights);
}

} // namespace pare
