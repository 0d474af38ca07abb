//===- Weights.cpp - Weights in formats of few bits -----------------------===//
#include "passes/quantize/Weights.h"
#include "passes/Passes.h"
#include "passes/calibrate/ProductMoments.h"
#include "passes/calibrate/Segments.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Parallel.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

/// A weight that gets a format, with the operands that read it.
struct Target {
  nn::WeightOp weight;
  SmallVector<OpOperand *> uses;
  const BlockFormat *format;
};

class WeightQuantizer {
public:
  WeightQuantizer(ModuleOp module, WeightStore &weights,
                  const WeightOptions &options)
      : module(module), weights(weights), options(options) {}

  llvm::Error run();

private:
  llvm::Error collect();
  llvm::Expected<std::string> chooseFormat(nn::WeightOp weight, bool isTable);
  llvm::Error checkRules();
  bool isChanged(Operation *op) const { return changedOps.contains(op); }
  /// Runs of several threads make types, which a context may not allow.
  size_t samplesAtOnce() {
    return module.getContext()->isMultithreadingEnabled() ? threads : 1;
  }

  using Moments = DenseMap<Value, ProductMoments>;
  using Named = DenseMap<Value, HostTensor>;
  llvm::Error runSegment(const Segment &segment, bool isFirst);
  llvm::Error observe(const Segment &segment, bool isFirst, Moments &moments);
  llvm::Error quantizeIn(const Segment &segment, const Moments &moments);
  llvm::Error advance(const Segment &segment);
  llvm::Expected<std::vector<Named>> runSamples(Executable &executable,
                                                const Segment &segment,
                                                ArrayRef<Value> results,
                                                size_t begin, size_t end,
                                                bool exact) const;
  llvm::Error quantize(Target &target, const ProductMoments *moments);
  EncodedWeight encodeWeight(const Target &target,
                             const ProductMoments *moments);
  llvm::Error install(Target &target, EncodedWeight encoded);
  llvm::Error quantizeAlone();
  llvm::Error quantizeByLayers();
  // Checkpoints.
  llvm::Error openCheckpoint(bool isByLayers);
  size_t getIndex(const Target &target) const {
    return size_t(&target - targets.data());
  }
  uint64_t getElements(Target &target) const {
    return uint64_t(
        cast<RankedTensorType>(target.weight.getType()).getNumElements());
  }
  std::optional<EncodedWeight> findDone(Target &target);
  llvm::Error keepValues(size_t index, ArrayRef<Value> needed);
  bool restoreValues(size_t index, ArrayRef<Value> needed);
  llvm::Expected<size_t> resume(ArrayRef<Segment> segments);
  llvm::Expected<std::unique_ptr<Executable>> compile(const Segment &segment,
                                                      ArrayRef<Value> results);
  std::vector<HostTensor> getInputs(const Segment &segment, size_t sample,
                                    bool exact) const;
  void record(nn::WeightOp weight, std::string format, uint64_t bytesAfter,
              std::string reason, double error);

  ModuleOp module;
  WeightStore &weights;
  const WeightOptions &options;
  std::vector<Target> targets;
  std::unique_ptr<Checkpoint> checkpoint; ///< or null
  std::optional<Checkpoint::Part> held;   ///< what `values` are views of
  bool cannotSave = false;
  llvm::SmallPtrSet<Operation *, 32> changedOps;
  DenseMap<Value, Paths> values;
  std::optional<CrossProducts> crossProducts;
  unsigned threads = llvm::parallel::strategy.compute_thread_count();
  std::vector<unsigned> ruleMatches;
  llvm::StringMap<TensorDecision> decided;
  llvm::StringMap<int64_t> outputAxes;  ///< 1: a weight is [inputs, outputs]
  std::vector<std::string> order;       ///< of decisions
  llvm::SmallVector<std::string> names; ///< of all weights that rules may name
};

//===----------------------------------------------------------------------===//
// Formats
//===----------------------------------------------------------------------===//

/// Names that a weight goes by: its own, or of those it was merged from.
SmallVector<StringRef> getNames(nn::WeightOp weight) {
  SmallVector<StringRef> names = {getSourceName(weight)};
  if (auto sources = weight->getAttrOfType<ArrayAttr>(kSourcesAttr))
    names.assign(sources.getAsValueRange<StringAttr>().begin(),
                 sources.getAsValueRange<StringAttr>().end());
  return names;
}

llvm::Expected<std::string> WeightQuantizer::chooseFormat(nn::WeightOp weight,
                                                          bool isTable) {
  std::optional<std::string> chosen;
  StringRef first;
  for (StringRef name : getNames(weight)) {
    names.push_back(name.str());
    std::string format = isTable ? options.tables : options.products;
    for (auto [rule, matches] : llvm::zip_equal(options.rules, ruleMatches))
      if (rule.pattern.match(name)) {
        format = rule.format;
        ++matches;
      }
    if (chosen && *chosen != format)
      return llvm::createStringError(
          "'%s' and '%s' are one product here: give them one format",
          first.str().c_str(), name.str().c_str());
    if (!chosen)
      first = name;
    chosen = format;
  }
  return *chosen;
}

llvm::Error WeightQuantizer::checkRules() {
  for (auto [rule, matches] : llvm::zip_equal(options.rules, ruleMatches)) {
    if (matches)
      continue;
    StringRef wanted = StringRef(rule.text).split('=').first;
    auto distance = [&](StringRef name) { return name.edit_distance(wanted); };
    llvm::stable_sort(names, [&](const std::string &a, const std::string &b) {
      return distance(a) < distance(b);
    });
    names.erase(llvm::unique(names), names.end());
    std::string near;
    for (StringRef name : ArrayRef(names).take_front(3))
      near += (near.empty() ? "'" : ", '") + name.str() + "'";
    return llvm::createStringError(
        "--rule %s: no weight has such a name; near it: %s", rule.text.c_str(),
        near.empty() ? "none, the model has no matrices" : near.c_str());
  }
  return llvm::Error::success();
}

/// Whether an operand reads a weight [inputs, outputs].
bool readsColumns(OpOperand *use) {
  auto matmul = dyn_cast<nn::MatMulOp>(use->getOwner());
  return matmul && !matmul.getTransposeRhs();
}

/// Why `weight` cannot have blocks of `format`; nullopt: it can.
std::optional<std::string> whyNot(ArrayRef<OpOperand *> uses,
                                  RankedTensorType type,
                                  const BlockFormat &format) {
  if (type.getRank() != 2)
    return "is no matrix";
  bool isTransposed = readsColumns(uses.front());
  for (OpOperand *use : uses) {
    if (isa<nn::MatMulOp>(use->getOwner())) {
      if (use->getOperandNumber() != 1)
        return "is not the right-hand matrix of a product";
    } else if (auto gather = dyn_cast<nn::GatherOp>(use->getOwner())) {
      if (use->getOperandNumber() != 0 || int64_t(gather.getAxis()) != 0)
        return "is not gathered by rows";
    } else {
      return ("used by " + use->getOwner()->getName().getStringRef()).str();
    }
    if (readsColumns(use) != isTransposed)
      return "is used by rows and by columns";
  }
  int64_t inner = type.getDimSize(isTransposed ? 0 : 1);
  if (inner % format.scaleGroup() != 0)
    return llvm::formatv("rows of {0} are no multiples of {1}", inner,
                         format.scaleGroup())
        .str();
  return std::nullopt;
}

void WeightQuantizer::record(nn::WeightOp weight, std::string format,
                             uint64_t bytesAfter, std::string reason,
                             double error) {
  auto type = cast<RankedTensorType>(weight.getType());
  const TensorData &data = weights.get(weight.getSymName());
  TensorDecision decision{getSourceName(weight).str(),
                          type.getShape().vec(),
                          std::move(format),
                          data.bytes.size(),
                          bytesAfter,
                          std::move(reason),
                          error};
  decided[weight.getSymName()] = std::move(decision);
}

llvm::Error WeightQuantizer::collect() {
  ruleMatches.assign(options.rules.size(), 0);
  llvm::MapVector<StringAttr, SmallVector<OpOperand *>> uses;
  nn::getEntry(module).walk([&](nn::ParamOp param) {
    for (OpOperand &use : param->getUses())
      uses[param.getWeightAttr().getAttr()].push_back(&use);
  });
  for (auto &[name, users] : uses) {
    auto weight = module.lookupSymbol<nn::WeightOp>(name);
    auto type = cast<RankedTensorType>(weight.getType());
    if (type.getRank() < 2 || !isa<FloatType>(type.getElementType()))
      continue;
    bool isTable = llvm::any_of(users, [](OpOperand *use) {
      return isa<nn::GatherOp>(use->getOwner());
    });
    llvm::Expected<std::string> wanted = chooseFormat(weight, isTable);
    if (!wanted)
      return wanted.takeError();
    order.push_back(name.str());
    outputAxes[name] = llvm::any_of(users, readsColumns);
    const TensorData &data = weights.get(name);
    auto keep = [&](std::string reason) {
      std::string format;
      llvm::raw_string_ostream(format) << type.getElementType();
      // Weights in blocks are listed where their products are looked at.
      if (!data.storage)
        record(weight, format, data.bytes.size() * (data.narrow ? 2 : 1),
               std::move(reason), 0);
    };
    if (*wanted == "keep") {
      keep("as asked for");
      continue;
    }
    const BlockFormat *format = findBlockFormat(*wanted);
    if (!format)
      return llvm::createStringError("unknown format '" + *wanted + "'");
    if (auto why = whyNot(users, type, *format)) {
      keep(*why);
      continue;
    }
    std::vector<float> values = data.toF32();
    if (!llvm::all_of(values, [](float v) { return std::isfinite(v); })) {
      keep("holds NaN or infinite values");
      continue;
    }
    weights.release(name);
    for (OpOperand *use : users)
      changedOps.insert(use->getOwner());
    targets.push_back({weight, users, format});
  }
  return checkRules();
}

//===----------------------------------------------------------------------===//
// One weight
//===----------------------------------------------------------------------===//

bool usesInputs(encode::RoundMethod method) {
  return method != encode::RoundMethod::Nearest &&
         method != encode::RoundMethod::Hqq;
}

/// What was done, for people.
std::string describe(encode::RoundMethod method, bool hasMoments) {
  using enum encode::RoundMethod;
  if (!hasMoments && usesInputs(method))
    method = Nearest;
  switch (method) {
  case Nearest:
    return hasMoments ? "rounded to nearest, scales by importance"
                      : "rounded to nearest";
  case Hqq:
    return "HQQ";
  case Gptq:
    return "GPTQ";
  case GptqDescent:
    return "GPTQ and coordinate descent";
  case AutoRound:
    return "AutoRound";
  }
  llvm_unreachable("a method without a name");
}

std::vector<float> transpose(ArrayRef<float> x, int64_t rows, int64_t columns) {
  std::vector<float> result(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result[j * rows + i] = x[i * columns + j];
  return result;
}

/// How a weight is encoded: one row per output.
RankedTensorType getBlockType(nn::WeightOp weight, bool isTransposed) {
  auto type = cast<RankedTensorType>(weight.getType());
  int64_t rows = type.getDimSize(isTransposed),
          columns = type.getDimSize(!isTransposed);
  return RankedTensorType::get({rows, columns},
                               Float32Type::get(weight.getContext()));
}

EncodedWeight WeightQuantizer::encodeWeight(const Target &target,
                                            const ProductMoments *moments) {
  nn::WeightOp weight = target.weight;
  StringRef symbol = weight.getSymName();
  auto type = cast<RankedTensorType>(weight.getType());
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  std::vector<float> values = weights.get(symbol).toF32();
  weights.release(symbol);
  if (outputAxes.lookup(symbol) == 1) {
    values = transpose(values, rows, columns);
    std::swap(rows, columns);
  }
  std::optional<encode::InputMoments> known;
  if (moments)
    known = {moments->size(),
             moments->second(),
             {},
             moments->isShifted() ? moments->shift() : ArrayRef<double>()};
  encode::EncodeOptions how = options.encode;
  how.threads = threads;
  encode::EncodedMatrix encoded = encode::encodeMatrix(
      values, rows, columns, *target.format, how, known ? &*known : nullptr);
  return {encoded.error, moments != nullptr,
          getPlainStorage(*target.format).pack(encoded.planes)};
}

llvm::Error WeightQuantizer::quantize(Target &target,
                                      const ProductMoments *moments) {
  if (auto done = findDone(target))
    return install(target, std::move(*done));
  EncodedWeight encoded = encodeWeight(target, moments);
  if (checkpoint)
    if (llvm::Error error = encoded.save(*checkpoint, getIndex(target))) {
      cannotSave = true;
      return error;
    }
  return install(target, std::move(encoded));
}

/// Puts a weight that is encoded in the place of the one that it was.
llvm::Error WeightQuantizer::install(Target &target, EncodedWeight encoded) {
  nn::WeightOp weight = target.weight;
  RankedTensorType blockType =
      getBlockType(weight, outputAxes.lookup(weight.getSymName()) == 1);
  // Kernels' layout has no bits between planes.
  auto packedBytes = uint64_t(double(blockType.getNumElements()) *
                              target.format->getBitsPerWeight() / 8);

  record(weight,
         llvm::formatv("{0}, {1:f2} bits", target.format->name,
                       target.format->getBitsPerWeight())
             .str(),
         packedBytes, describe(options.encode.method, encoded.hasMoments),
         encoded.error);

  std::string name = getSourceName(weight).str();
  llvm::Expected<std::string> symbol =
      encoded.addTo(weights, name + "." + target.format->name.str(), blockType,
                    getPlainStorage(*target.format));
  if (!symbol)
    return symbol.takeError();
  OpBuilder atModule(weight);
  auto made =
      nn::WeightOp::create(atModule, weight.getLoc(), *symbol, blockType,
                           atModule.getStringAttr(name), StringAttr(),
                           atModule.getStringAttr(target.format->name));
  for (StringRef attr : {kSourcesAttr, kSourceSizesAttr})
    if (Attribute value = weight->getAttr(attr))
      made->setAttr(attr, value);
  for (OpOperand *use : target.uses) {
    OpBuilder builder(use->getOwner());
    use->set(
        nn::ParamOp::create(builder, use->get().getLoc(), blockType, *symbol));
    if (auto matmul = dyn_cast<nn::MatMulOp>(use->getOwner()))
      matmul.setTransposeRhs(true);
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

std::vector<HostTensor> WeightQuantizer::getInputs(const Segment &segment,
                                                   size_t sample,
                                                   bool exact) const {
  std::vector<HostTensor> inputs = options.calibration[sample];
  for (Value input : segment.inputs) {
    const Paths &paths = values.find(input)->second;
    inputs.push_back((exact ? paths.exact : paths.changed)[sample]);
  }
  return inputs;
}

llvm::Expected<std::unique_ptr<Executable>>
WeightQuantizer::compile(const Segment &segment, ArrayRef<Value> results) {
  return options.executor->compile(
      extractOps(module, segment.ops, segment.inputs, results), weights);
}

/// The targets of a segment. A tied table is quantized where it is first used.
SmallVector<Target *> getTargets(const Segment &segment,
                                 std::vector<Target> &targets) {
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, segment.ops);
  SmallVector<Target *> found;
  for (Target &target : targets)
    if (own.contains(target.uses.front()->getOwner()))
      found.push_back(&target);
  return found;
}

llvm::Error WeightQuantizer::quantizeIn(const Segment &segment,
                                        const Moments &moments) {
  for (Target *target : getTargets(segment, targets)) {
    const ProductMoments *found = nullptr;
    for (OpOperand *use : target->uses)
      if (isa<nn::MatMulOp>(use->getOwner()))
        if (auto it = moments.find(use->getOwner()->getOperand(0));
            it != moments.end())
          found = &it->second;
    if (llvm::Error error = quantize(*target, found))
      return error;
  }
  return llvm::Error::success();
}

/// Runs samples [begin, end), each on a thread of its own; values by name.
llvm::Expected<std::vector<WeightQuantizer::Named>>
WeightQuantizer::runSamples(Executable &executable, const Segment &segment,
                            ArrayRef<Value> results, size_t begin, size_t end,
                            bool exact) const {
  std::vector<Named> named(end - begin);
  std::vector<std::string> errors(end - begin);
  auto arguments = nn::getEntry(module).getArguments();
  llvm::parallelFor(0, end - begin, [&](size_t i) {
    std::vector<HostTensor> inputs = getInputs(segment, begin + i, exact);
    auto outputs = executable.run(inputs);
    if (!outputs) {
      errors[i] = llvm::toString(outputs.takeError());
      return;
    }
    for (auto [value, tensor] : llvm::zip(arguments, inputs))
      named[i][value] = tensor;
    for (auto [value, tensor] : llvm::zip(
             segment.inputs, ArrayRef(inputs).drop_front(arguments.size())))
      named[i][value] = tensor;
    for (auto [value, tensor] : llvm::zip(results, *outputs))
      named[i][value] = tensor;
  });
  for (auto [i, error] : llvm::enumerate(errors))
    if (!error.empty())
      return llvm::createStringError("calibration sample " +
                                     Twine(begin + i + 1) + ": " + error);
  return named;
}

/// Runs a segment with its weights as they are: exact outputs, and what is
/// known of products' inputs.
llvm::Error WeightQuantizer::observe(const Segment &segment, bool isFirst,
                                     Moments &moments) {
  SmallVector<Value> products, results(segment.outputs);
  for (Operation *op : segment.ops) {
    if (!isChanged(op) || !isa<nn::MatMulOp>(op))
      continue;
    Value x = op->getOperand(0);
    if (!moments.try_emplace(x, *nn::getConstant(shapeOf(x).back())).second)
      continue;
    products.push_back(x);
    // Others are at hand.
    if (!llvm::is_contained(segment.inputs, x) && x.getDefiningOp() &&
        !llvm::is_contained(results, x))
      results.push_back(x);
  }
  auto executable = compile(segment, results);
  if (!executable)
    return executable.takeError();
  bool hasOther = !isFirst && !products.empty();
  for (size_t begin = 0, count = options.calibration.size(); begin < count;) {
    size_t end = std::min(count, begin + samplesAtOnce());
    auto exact = runSamples(**executable, segment, results, begin, end, true);
    if (!exact)
      return exact.takeError();
    std::vector<Named> other;
    if (hasOther) {
      auto changed =
          runSamples(**executable, segment, results, begin, end, false);
      if (!changed)
        return changed.takeError();
      other = std::move(*changed);
    }
    for (size_t i = begin; i < end; ++i) {
      Named &values = (*exact)[i - begin];
      for (Value x : products)
        if (llvm::Error error = moments.find(x)->second.add(
                values[x], hasOther ? other[i - begin][x] : values[x],
                *crossProducts))
          return llvm::createStringError("calibration sample " + Twine(i + 1) +
                                         ": '" + nn::getValueName(x) + "' " +
                                         llvm::toString(std::move(error)));
      for (Value output : segment.outputs)
        this->values[output].exact.push_back(values[output]);
    }
    begin = end;
  }
  for (auto &[value, moment] : moments)
    if (llvm::Error error = moment.finish(*crossProducts))
      return error;
  return llvm::Error::success();
}

/// What a segment whose weights have their formats hands on.
llvm::Error WeightQuantizer::advance(const Segment &segment) {
  if (segment.outputs.empty())
    return llvm::Error::success();
  auto executable = compile(segment, segment.outputs);
  if (!executable)
    return executable.takeError();
  for (size_t begin = 0, count = options.calibration.size(); begin < count;) {
    size_t end = std::min(count, begin + samplesAtOnce());
    auto changed =
        runSamples(**executable, segment, segment.outputs, begin, end, false);
    if (!changed)
      return changed.takeError();
    for (Named &named : *changed)
      for (Value output : segment.outputs)
        values[output].changed.push_back(named[output]);
    begin = end;
  }
  return llvm::Error::success();
}

llvm::Error WeightQuantizer::runSegment(const Segment &segment, bool isFirst) {
  Moments moments;
  if (llvm::Error error = observe(segment, isFirst, moments))
    return error;
  if (llvm::Error error = quantizeIn(segment, moments))
    return error;
  if (llvm::any_of(segment.ops, [&](Operation *op) { return isChanged(op); }))
    return advance(segment);
  for (Value output : segment.outputs)
    values[output].changed = values[output].exact;
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Checkpoints
//===----------------------------------------------------------------------===//

/// Values of the first `done` segments that later ones read, in order.
SmallVector<Value> getNeeded(ArrayRef<Segment> segments, size_t done) {
  llvm::SmallPtrSet<Value, 8> made;
  for (const Segment &segment : segments.take_front(done))
    made.insert_range(segment.outputs);
  llvm::SmallSetVector<Value, 8> needed;
  for (const Segment &segment : segments.drop_front(done))
    for (Value input : segment.inputs)
      if (made.contains(input))
        needed.insert(input);
  return needed.takeVector();
}

llvm::Error WeightQuantizer::openCheckpoint(bool isByLayers) {
  const CheckpointOptions &how = options.checkpoint;
  uint64_t bytes = 0;
  for (Target &target : targets)
    bytes += weights.get(target.weight.getSymName()).bytes.size();
  if (how.folder.empty() || targets.empty() ||
      (!isByLayers && bytes < how.fromBytes))
    return llvm::Error::success();

  std::string formats;
  for (Target &target : targets)
    formats +=
        (target.weight.getSymName() + " " + target.format->name + "\n").str();
  RunKey key = makeRunKey(how.identity ? how.identity() : "", module, weights,
                          formats, options.encode,
                          isByLayers ? ArrayRef(options.calibration)
                                     : ArrayRef<Sample>());
  auto opened = Checkpoint::open(how, key);
  if (!opened)
    return opened.takeError();
  checkpoint = std::move(*opened);
  return llvm::Error::success();
}

/// A weight that is finished, by an earlier run.
std::optional<EncodedWeight> WeightQuantizer::findDone(Target &target) {
  if (!checkpoint)
    return std::nullopt;
  const BlockStorage &storage = getPlainStorage(*target.format);
  return EncodedWeight::find(*checkpoint, getIndex(target),
                             getElements(target) / storage.elements *
                                 storage.bytes);
}

/// Keeps what segments behind `index` need.
llvm::Error WeightQuantizer::keepValues(size_t index, ArrayRef<Value> needed) {
  SmallVector<Paths *> kept;
  for (Value value : needed)
    kept.push_back(&values.find(value)->second);
  auto saved = saveValues(*checkpoint, index, kept);
  if (!saved) {
    cannotSave = true;
    return saved.takeError();
  }
  held = std::move(*saved);
  // The one before stays for the case that this one is damaged.
  if (index >= 2)
    removeValues(*checkpoint, index - 2);
  return llvm::Error::success();
}

bool WeightQuantizer::restoreValues(size_t index, ArrayRef<Value> needed) {
  std::vector<Paths> found(needed.size());
  SmallVector<Paths *> to;
  SmallVector<Type> elements;
  for (auto [value, paths] : llvm::zip_equal(needed, found)) {
    to.push_back(&paths);
    elements.push_back(getElementTypeOrSelf(value.getType()));
  }
  held =
      loadValues(*checkpoint, index, options.calibration.size(), elements, to);
  if (!held)
    return false;
  for (auto [value, paths] : llvm::zip_equal(needed, found))
    values[value] = std::move(paths);
  return true;
}

/// Takes up a run that was stopped; the number of segments that are done.
llvm::Expected<size_t> WeightQuantizer::resume(ArrayRef<Segment> segments) {
  std::vector<SmallVector<std::pair<Target *, EncodedWeight>>> finished;
  for (const Segment &segment : segments) {
    auto &weightsOf = finished.emplace_back();
    SmallVector<Target *> own = getTargets(segment, targets);
    for (Target *target : own)
      if (auto found = findDone(*target))
        weightsOf.push_back({target, std::move(*found)});
    if (weightsOf.size() < own.size()) {
      finished.pop_back();
      break;
    }
  }
  size_t done = finished.size();
  while (done > 0 && done < segments.size() &&
         !restoreValues(done - 1, getNeeded(segments, done)))
    --done;
  for (auto &weightsOf : MutableArrayRef(finished).take_front(done))
    for (auto &[target, encoded] : weightsOf)
      if (llvm::Error error = install(*target, std::move(encoded)))
        return std::move(error);
  if (done)
    checkpoint->say(
        llvm::formatv("resuming from '{0}': {1} of {2} parts of the "
                      "model are done",
                      checkpoint->folder(), done, segments.size())
            .str());
  return done;
}

//===----------------------------------------------------------------------===//
// All weights
//===----------------------------------------------------------------------===//

llvm::Error WeightQuantizer::quantizeAlone() {
  uint64_t left = 0;
  size_t done = 0;
  std::vector<std::optional<EncodedWeight>> found;
  for (Target &target : targets) {
    found.push_back(findDone(target));
    done += found.back().has_value();
    left += found.back() ? 0 : getElements(target);
  }
  if (done)
    checkpoint->say(llvm::formatv("resuming from '{0}': {1} of {2} weights are "
                                  "done",
                                  checkpoint->folder(), done, targets.size())
                        .str());
  PhaseProgress progress(options.progress, "quantize weights", left);
  for (auto [target, encoded] : llvm::zip_equal(targets, found)) {
    uint64_t elements = getElements(target);
    if (llvm::Error error = encoded ? install(target, std::move(*encoded))
                                    : quantize(target, nullptr))
      return error;
    if (!encoded)
      progress.finish(elements);
  }
  return llvm::Error::success();
}

llvm::Error WeightQuantizer::quantizeByLayers() {
  assert(options.executor && "samples and nothing to run them with");
  crossProducts.emplace(*options.executor, *module.getContext());
  std::vector<Segment> segments = cutIntoSegments(
      nn::getEntry(module), [&](Operation *op) { return isChanged(op); });
  size_t done = 0;
  if (checkpoint) {
    llvm::Expected<size_t> resumed = resume(segments);
    if (!resumed)
      return resumed.takeError();
    done = *resumed;
  }
  // A segment takes time by the size of its weights.
  std::vector<uint64_t> sizes;
  for (const Segment &segment : segments) {
    sizes.push_back(1);
    for (Target *target : getTargets(segment, targets))
      sizes.back() += getElements(*target);
  }
  PhaseProgress progress(
      options.progress, "quantize layers",
      llvm::sum_of(ArrayRef(sizes).drop_front(done), uint64_t(0)));
  for (size_t index = done; index < segments.size(); ++index) {
    if (llvm::Error error = runSegment(segments[index], index < 2))
      return error;
    // Forget what no later segment reads.
    SmallVector<Value> needed = getNeeded(segments, index + 1);
    SmallVector<Value> dead;
    for (auto &[value, paths] : values)
      if (!llvm::is_contained(needed, value))
        dead.push_back(value);
    for (Value value : dead)
      values.erase(value);
    if (checkpoint && index + 1 < segments.size())
      if (llvm::Error error = keepValues(index, needed))
        return error;
    progress.finish(sizes[index]);
  }
  return llvm::Error::success();
}

llvm::Error WeightQuantizer::run() {
  if (!nn::getEntry(module))
    return llvm::Error::success();
  if (llvm::Error error = collect())
    return error;
  bool isByLayers =
      !options.calibration.empty() && usesInputs(options.encode.method);
  if (llvm::Error error = openCheckpoint(isByLayers))
    return error;
  if (llvm::Error error = isByLayers ? quantizeByLayers() : quantizeAlone()) {
    // The input's fault: going on would come to the same.
    if (checkpoint && !cannotSave) {
      checkpoint.reset();
      Checkpoint::discard(options.checkpoint.folder);
    }
    return error;
  }
  if (options.decisions)
    for (const std::string &name : order)
      if (auto it = decided.find(name); it != decided.end()) {
        appendDecision(module.lookupSymbol<nn::WeightOp>(name), it->second,
                       outputAxes.lookup(name), *options.decisions);
      }
  eraseUnusedWeights(module, weights);
  return llvm::Error::success();
}

struct QuantizeWeightsPass : impl::QuantizeWeightsBase<QuantizeWeightsPass> {
  QuantizeWeightsPass(WeightStore *weights, WeightOptions options)
      : weights(weights), options(std::move(options)) {}

  void runOnOperation() override {
    if (llvm::Error error =
            WeightQuantizer(getOperation(), *weights, options).run()) {
      emitError(UnknownLoc::get(&getContext()),
                llvm::toString(std::move(error)));
      signalPassFailure();
    }
  }

  WeightStore *weights;
  WeightOptions options;
};

} // namespace

std::unique_ptr<Pass> createQuantizeWeightsPass(WeightStore *weights,
                                                WeightOptions options) {
  return std::make_unique<QuantizeWeightsPass>(weights, std::move(options));
}

} // namespace pare
