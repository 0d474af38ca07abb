//===- Int8.cpp - 8-bit weights and activations ---------------------------===//
#include "passes/quantize/Int8.h"
#include "frontend/ir/Codes.h"
#include "passes/Passes.h"
#include "passes/calibrate/Calibrate.h"
#include "passes/calibrate/ProductMoments.h"
#include "passes/quantize/Equalize.h"
#include "passes/quantize/WeightCodes.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <map>

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_QUANTIZEINT8
#include "passes/Passes.h.inc"

void appendDecision(nn::WeightOp weight, const TensorDecision &decision,
                    int64_t axis, std::vector<TensorDecision> &decisions) {
  auto sources = weight->getAttrOfType<ArrayAttr>(kSourcesAttr);
  if (!sources) {
    decisions.push_back(decision);
    return;
  }
  auto sizes = weight->getAttrOfType<DenseI64ArrayAttr>(kSourceSizesAttr);
  int64_t total = decision.shape[axis];
  for (auto [source, size] : llvm::zip(sources, sizes.asArrayRef())) {
    TensorDecision part = decision;
    part.tensor = cast<StringAttr>(source).str();
    part.shape[axis] = size;
    part.bytesBefore = decision.bytesBefore * size / total;
    part.bytesAfter = decision.bytesAfter * size / total;
    decisions.push_back(std::move(part));
  }
}

namespace {

constexpr int64_t kMinOutputs = 16;
constexpr int64_t kMinProductBytes = 16 << 10;
constexpr int64_t kMinTableBytes = 64 << 10;

/// A weight in codes and scales.
struct QuantizedWeight {
  Value codes, scales;
  uint64_t bytes;
  double error;
};

/// Codes of an activation with what dequantizes them.
struct QuantizedActivation {
  Value codes, scales, zero;
};

std::string formatMicroseconds(double us) {
  return llvm::formatv("{0:F1} us", us).str();
}

class Quantizer {
public:
  Quantizer(ModuleOp module, WeightStore &weights, const Int8Options &options)
      : module(module), weights(weights), options(options),
        codeType(options.target ? options.target->codeType(module.getContext())
                                : IntegerType::get(module.getContext(), 8)) {}

  llvm::Error run() {
    if (!nn::getEntry(module))
      return llvm::Error::success();
    if (llvm::Error error = observeInputs())
      return error;
    // Codes of 11 bits lose too little for it to matter.
    if (codeType.getIntOrFloatBitWidth() == 8)
      equalizeInputs(
          module, weights, moments,
          [&](OpOperand &use) {
            return !isKeptFloat(nn::getWeight(use.get())) && !whyFloat(use);
          },
          codeType, [&](Value from, Value to) { rename(from, to); });
    SmallVector<nn::ParamOp> params;
    module->walk([&](nn::ParamOp param) { params.push_back(param); });
    llvm::StringSet<> seen;
    PhaseProgress progress(options.progress, "quantize weights", params.size());
    for (nn::ParamOp param : params) {
      if (isMatrix(param) && seen.insert(param.getWeight()).second)
        quantizeUses(param.getWeight());
      progress.finish();
    }
    eraseUnusedWeights(module, weights);
    return llvm::Error::success();
  }

private:
  //===--------------------------------------------------------------------===//
  // Decisions
  //===--------------------------------------------------------------------===//

  /// At least two axes that are not of size 1, and not yet quantized.
  static bool isMatrix(Value value) {
    return !nn::isBlockWeight(value) &&
           llvm::count_if(shapeOf(value), [](nn::Dim dim) {
             return !nn::isConstant(dim, 1);
           }) >= 2;
  }

  /// Whether the user named the weight, or one that was merged into it.
  bool isKeptFloat(nn::WeightOp weight) const {
    auto matches = [&](StringRef name) {
      return llvm::any_of(options.keepFloat,
                          [&](const llvm::GlobPattern &pattern) {
                            return pattern.match(name);
                          });
    };
    auto sources = weight->getAttrOfType<ArrayAttr>(kSourcesAttr);
    return matches(getSourceName(weight)) ||
           (sources &&
            llvm::any_of(sources.getAsValueRange<StringAttr>(), matches));
  }

  /// Why `op` keeps its weight in float; nullopt if it can have codes.
  std::optional<std::string> whyFloat(OpOperand &use) {
    Operation *op = use.getOwner();
    auto type = cast<RankedTensorType>(use.get().getType());
    int64_t bytes =
        type.getNumElements() * nn::getElementBytes(type.getElementType());
    if (!type.getElementType().isF32())
      return "is not f32";
    if (!isFinite(use.get()))
      return "holds NaN or infinite values";
    if (auto matmul = dyn_cast<nn::MatMulOp>(op)) {
      if (use.getOperandNumber() != 1 || type.getRank() != 2)
        return "is not the right-hand matrix of a product";
      bool transposed = matmul.getTransposeRhs();
      int64_t k = type.getDimSize(transposed ? 1 : 0),
              n = type.getDimSize(transposed ? 0 : 1);
      nn::Shape rows = shapeOf(matmul);
      rows.pop_back();
      return whyFloatProduct(rows, k, n, bytes);
    }
    if (auto conv = dyn_cast<nn::ConvOp>(op))
      return use.getOperandNumber() == 1
                 ? whyFloatConv(conv, type, bytes)
                 : std::optional<std::string>(
                       "is not the filter of a convolution");
    if (auto gather = dyn_cast<nn::GatherOp>(op)) {
      if (use.getOperandNumber() != 0 || int64_t(gather.getAxis()) != 0 ||
          type.getRank() != 2)
        return "is not gathered by rows";
      if (bytes < kMinTableBytes)
        return "smaller than 64 KiB";
      return std::nullopt;
    }
    return ("used by " + op->getName().getStringRef()).str();
  }

  std::optional<std::string>
  whyFloatConv(nn::ConvOp conv, RankedTensorType filter, int64_t bytes) {
    int64_t outputs = filter.getDimSize(0);
    if (conv.getGroups() != 1)
      return int64_t(conv.getGroups()) == outputs ? "depthwise convolution"
                                                  : "grouped convolution";
    if (filter.getShape().back() % 4 != 0)
      return "input channels are not a multiple of 4";
    nn::Shape rows = shapeOf(conv);
    rows.pop_back();
    if (auto reason = whyFloatProduct(rows, filter.getNumElements() / outputs,
                                      outputs, bytes))
      return reason;
    if (isPointwise(conv))
      return std::nullopt;
    if (!hasKernel(conv))
      return ("no int8 convolution for " + options.target->name()).str();
    if (!thresholds.contains(conv.getX()))
      return "no calibration set for the input's scale";
    if (thresholds.lookup(conv.getX()) == 0)
      return "the input was zero in every calibration sample";
    return std::nullopt;
  }

  /// One tap, every pixel: a matrix product of pixels and channels.
  static bool isPointwise(nn::ConvOp conv) {
    auto all = [](ArrayRef<int64_t> values, int64_t number) {
      return llvm::all_of(values, [&](int64_t v) { return v == number; });
    };
    nn::Shape filter = shapeOf(conv.getFilter());
    return conv.getGroups() == 1 && all(conv.getStrides(), 1) &&
           all(conv.getPads(), 0) &&
           llvm::all_of(ArrayRef(filter).drop_front().drop_back(),
                        [](nn::Dim dim) { return nn::isConstant(dim, 1); });
  }

  /// Asks the target with the group that the convolution would become.
  bool hasKernel(nn::ConvOp conv) {
    if (!options.target)
      return true;
    OpBuilder builder(conv);
    Location loc = conv.getLoc();
    auto filter = cast<RankedTensorType>(conv.getFilter().getType());
    Value scale = makeScalar(builder, loc, 1, builder.getF32Type());
    Value codes =
        nn::QuantizeOp::create(builder, loc, conv.getX(), scale, codeType);
    Value filterCodes = nn::ConstantOp::create(
        builder, loc,
        DenseElementsAttr::get(filter.clone(builder.getI8Type()),
                               builder.getI8IntegerAttr(1)));
    auto group =
        nn::FusedOp::create(builder, loc, TypeRange(conv.getType()), "conv",
                            ValueRange({codes, filterCodes, scale}));
    Block *body = builder.createBlock(
        &group.getBody(), {},
        {codes.getType(), filterCodes.getType(), scale.getType()},
        {loc, loc, loc});
    Value x = nn::DequantizeOp::create(builder, loc, body->getArgument(0),
                                       body->getArgument(2), Value()),
          w = nn::DequantizeOp::create(builder, loc, body->getArgument(1),
                                       body->getArgument(2), Value());
    Operation *copy = builder.clone(*conv.getOperation());
    copy->setOperands({x, w});
    nn::YieldOp::create(builder, loc, copy->getResults());
    bool supported = !options.target->whyUnsupported(group);
    group.erase();
    for (Value value : {codes, filterCodes, scale})
      value.getDefiningOp()->erase();
    return supported;
  }

  bool isFinite(Value weight) {
    std::optional<HostTensor> tensor = getKnown(weight, &weights);
    return llvm::all_of(tensor->values<float>(),
                        [](float v) { return std::isfinite(v); });
  }

  std::optional<std::string> whyFloatProduct(ArrayRef<nn::Dim> rows, int64_t k,
                                             int64_t n, int64_t bytes) {
    if (k % 4 != 0)
      return "inner dimension is not a multiple of 4";
    if (k > nn::getMaxInner(codeType))
      return "inner dimension is too long for sums of 32 bits";
    if (n < kMinOutputs)
      return "fewer than 16 outputs";
    if (bytes < kMinProductBytes)
      return "smaller than 16 KiB";
    if (!options.target)
      return std::nullopt;
    int64_t m = nn::evaluate(nn::product(rows, module.getContext()),
                             nn::getTypicalSymbols(nn::getEntry(module)));
    auto integer = options.target->estimateMatMul(m, k, n, "int8"),
         real = options.target->estimateMatMul(m, k, n, "f32");
    if (!integer)
      return ("no int8 kernel for " + options.target->name()).str();
    if (real && real->microseconds <= integer->microseconds)
      return "float is faster here: " + formatMicroseconds(real->microseconds) +
             " against " + formatMicroseconds(integer->microseconds);
    return std::nullopt;
  }

  void quantizeUses(StringRef name) {
    auto weight = module.lookupSymbol<nn::WeightOp>(name);
    auto type = cast<RankedTensorType>(weight.getType());
    SmallVector<OpOperand *> uses;
    module->walk([&](nn::ParamOp param) {
      if (param.getWeight() == name)
        for (OpOperand &use : param->getUses())
          uses.push_back(&use);
    });
    llvm::sort(uses, [](OpOperand *a, OpOperand *b) {
      return a->getOwner()->isBeforeInBlock(b->getOwner());
    });
    uint64_t bytes =
        type.getNumElements() * nn::getElementBytes(type.getElementType());
    TensorDecision decision{getSourceName(weight).str(),
                            type.getShape().vec(),
                            "",
                            bytes,
                            bytes,
                            "",
                            0};
    llvm::raw_string_ostream(decision.format) << type.getElementType();
    uint64_t after = 0;
    bool keepsFloat = false;
    int64_t axis = uses.empty() ? 0 : getOutputAxis(*uses.front());
    for (OpOperand *use : uses) {
      if (std::optional<std::string> reason =
              isKeptFloat(weight) ? std::string("as --keep-float says")
                                  : whyFloat(*use)) {
        keepsFloat = true;
        if (decision.reason.empty())
          decision.reason = *reason;
        continue;
      }
      bool isNew = !quantized.count(getKey(name, *use));
      const QuantizedWeight &codes = quantizeWeight(weight, *use);
      if (isNew)
        after += codes.bytes;
      decision.error = codes.error;
      decision.format = isa<nn::GatherOp>(use->getOwner()) ? "int8 per row"
                                                           : "int8 per channel";
      decision.reason = getReason(use->getOwner());
      if (findMoments(*use))
        decision.reason += ", rounded by GPTQ";
      rewriteUse(*use, codes);
    }
    if (after > 0) {
      decision.bytesAfter = after + (keepsFloat ? bytes : 0);
      if (keepsFloat)
        decision.reason += ", and in float for other uses";
    }
    if (options.decisions)
      appendDecision(weight, decision, axis, *options.decisions);
  }

  static std::string getReason(Operation *op) {
    if (isa<nn::GatherOp>(op))
      return "embedding table";
    auto conv = dyn_cast<nn::ConvOp>(op);
    return conv && !isPointwise(conv) ? "input scale from calibration"
                                      : "input quantized per row while running";
  }

  //===--------------------------------------------------------------------===//
  // Weights
  //===--------------------------------------------------------------------===//

  static int64_t getOutputAxis(OpOperand &use) {
    auto matmul = dyn_cast<nn::MatMulOp>(use.getOwner());
    return matmul && !matmul.getTransposeRhs() ? 1 : 0;
  }

  /// What codes depend on: the weight, its output axis, and whether a filter is
  /// seen as a matrix.
  using Key = std::tuple<std::string, int64_t, bool>;
  static Key getKey(StringRef name, OpOperand &use) {
    auto conv = dyn_cast<nn::ConvOp>(use.getOwner());
    return {name.str(), getOutputAxis(use), conv && isPointwise(conv)};
  }

  const QuantizedWeight &quantizeWeight(nn::WeightOp weight, OpOperand &use) {
    int64_t axis = getOutputAxis(use);
    auto conv = dyn_cast<nn::ConvOp>(use.getOwner());
    bool isMatrix = conv && isPointwise(conv);
    auto [it, isNew] = quantized.try_emplace(getKey(weight.getSymName(), use));
    if (!isNew)
      return it->second;
    HostTensor tensor = HostTensor::view(weights.get(weight.getSymName()));
    if (isMatrix)
      tensor = tensor.withType(RankedTensorType::get(
          {tensor.shape().front(), tensor.shape().back()}, tensor.element()));
    WeightCodes encoded = encodeInt8(tensor, axis, findMoments(use));
    OpBuilder builder(nn::getEntry(module).getBody());
    StringRef name = getSourceName(weight);
    Value like = use.get();
    it->second = {
        makeDerivedWeight(builder, weights, encoded.codes, like, name, "codes"),
        makeDerivedWeight(builder, weights, encoded.scales, like, name,
                          "scales"),
        encoded.codes.bytes().size() + encoded.scales.bytes().size(),
        encoded.error};
    return it->second;
  }

  //===--------------------------------------------------------------------===//
  // Uses
  //===--------------------------------------------------------------------===//

  void rewriteUse(OpOperand &use, const QuantizedWeight &weight) {
    Operation *op = use.getOwner();
    OpBuilder builder(op);
    Value w = nn::DequantizeOp::create(builder, weight.codes.getLoc(),
                                       weight.codes, weight.scales, Value());
    if (isa<nn::GatherOp>(op)) {
      use.set(w);
      return;
    }
    auto conv = dyn_cast<nn::ConvOp>(op);
    bool isProduct = !conv || isPointwise(conv);
    QuantizedActivation codes =
        quantizeActivation(builder, op->getOperand(0), !isProduct);
    Value x = nn::DequantizeOp::create(builder, codes.codes.getLoc(),
                                       codes.codes, codes.scales, codes.zero);
    if (conv && isProduct) {
      Value result = nn::MatMulOp::create(builder, op->getLoc(), x, w,
                                          /*transpose_rhs=*/true);
      rename(conv, result);
      conv.replaceAllUsesWith(result);
      conv.erase();
      return;
    }
    op->setOperands({x, w});
  }

  /// What is known of `from` is now known of `to`.
  void rename(Value from, Value to) {
    auto move = [](auto &map, auto fromKey, auto toKey) {
      auto it = map.find(fromKey);
      if (it == map.end())
        return;
      auto known = std::move(it->second);
      map.erase(it);
      map.try_emplace(toKey, std::move(known));
    };
    move(thresholds, from, to);
    move(moments, from, to);
    for (unsigned isStatic : {0, 1})
      move(activations, std::pair(from, isStatic), std::pair(to, isStatic));
  }

  QuantizedActivation quantizeActivation(OpBuilder &builder, Value x,
                                         bool isStatic) {
    auto [it, isNew] = activations.try_emplace({x, unsigned(isStatic)});
    // Consumers are visited weight by weight: codes go where x is made.
    if (!isNew)
      return it->second;
    OpBuilder atValue(builder);
    atValue.setInsertionPointAfterValue(x);
    Location loc = getDerivedLoc(x.getLoc(), "codes");
    QuantizedActivation &result = it->second;
    if (isStatic) {
      result.scales = makeScalar(
          atValue, loc, thresholds.lookup(x) / nn::getCodeLimit(codeType),
          atValue.getF32Type());
      result.codes =
          nn::QuantizeOp::create(atValue, loc, x, result.scales, codeType);
    } else {
      auto codes = nn::DynamicQuantizeOp::create(
          atValue, loc, x, codeType,
          /*asymmetric=*/codeType.getIntOrFloatBitWidth() == 8,
          /*group=*/IntegerAttr());
      result.codes = codes.getResult();
      result.scales = codes.getScales();
      result.zero = codes.getZeroPoints();
    }
    if (!result.zero && codeType.isUnsignedInteger(8))
      result.zero = nn::ConstantOp::create(
          atValue, loc,
          DenseElementsAttr::get(RankedTensorType::get({}, codeType),
                                 atValue.getIntegerAttr(codeType, 128)));
    return result;
  }

  //===--------------------------------------------------------------------===//
  // Calibration
  //===--------------------------------------------------------------------===//

  /// The weight of a product of rows: a matrix product's right side, or a
  /// filter of one tap.
  static bool isProductWeight(OpOperand &use) {
    auto conv = dyn_cast<nn::ConvOp>(use.getOwner());
    return use.getOperandNumber() == 1 &&
           (isa<nn::MatMulOp>(use.getOwner()) || (conv && isPointwise(conv)));
  }

  const SecondMoments *findMoments(OpOperand &use) const {
    if (!isProductWeight(use))
      return nullptr;
    auto it = moments.find(use.getOwner()->getOperand(0));
    return it == moments.end() ? nullptr : &it->second;
  }

  /// Learns from the calibration set at which magnitude the inputs of
  /// convolutions saturate, and how those of products correlate.
  llvm::Error observeInputs() {
    if (options.calibration.empty())
      return llvm::Error::success();
    DenseMap<Value, ActivationStatistics> statistics;
    module->walk([&](nn::ParamOp param) {
      auto weight = module.lookupSymbol<nn::WeightOp>(param.getWeight());
      if (!isMatrix(param) || isKeptFloat(weight))
        return;
      for (OpOperand &use : param->getUses()) {
        Value x = use.getOwner()->getOperand(0);
        auto conv = dyn_cast<nn::ConvOp>(use.getOwner());
        auto type = cast<RankedTensorType>(param.getType());
        if (isProductWeight(use)) {
          if (!whyFloat(use))
            moments.try_emplace(x, type.getNumElements() /
                                       type.getDimSize(getOutputAxis(use)));
        } else if (conv && conv.getGroups() == 1 &&
                   use.getOperandNumber() == 1) {
          statistics[x];
        }
      }
    });
    std::optional<CrossProducts> products;
    if (options.executor)
      products.emplace(*options.executor, *module.getContext());
    DenseMap<Value, Observer> observers;
    for (auto &[value, seen] : moments)
      observers[value] = [&seen, &products](const HostTensor &x) {
        return seen.add(x, products ? &*products : nullptr);
      };
    for (auto &[value, seen] : statistics)
      observers[value] = [&seen, inner = observers.lookup(value)](
                             const HostTensor &x) -> llvm::Error {
        seen.add(x);
        return inner ? inner(x) : llvm::Error::success();
      };
    if (observers.empty())
      return llvm::Error::success();
    if (llvm::Error error =
            calibrate(module, weights, options.calibration, observers,
                      options.progress, options.executor))
      return error;
    for (auto &[value, seen] : statistics)
      thresholds[value] = seen.chooseThreshold(nn::getCodeLimit(codeType));
    return llvm::Error::success();
  }

  ModuleOp module;
  WeightStore &weights;
  const Int8Options &options;
  Type codeType;
  /// Of inputs, from the calibration set.
  DenseMap<Value, double> thresholds;
  DenseMap<Value, SecondMoments> moments;
  std::map<Key, QuantizedWeight> quantized;
  /// By value and whether the scale is static.
  DenseMap<std::pair<Value, unsigned>, QuantizedActivation> activations;
};

struct QuantizeInt8Pass : impl::QuantizeInt8Base<QuantizeInt8Pass> {
  QuantizeInt8Pass(WeightStore *weights, Int8Options options)
      : weights(weights), options(std::move(options)) {}

  void runOnOperation() override {
    if (llvm::Error error =
            Quantizer(getOperation(), *weights, options).run()) {
      emitError(UnknownLoc::get(&getContext()),
                llvm::toString(std::move(error)));
      signalPassFailure();
    }
  }

  WeightStore *weights;
  Int8Options options;
};

} // namespace

std::unique_ptr<Pass> createQuantizeInt8Pass(WeightStore *weights,
                                             Int8Options options) {
  return std::make_unique<QuantizeInt8Pass>(weights, std::move(options));
}

} // namespace pare
