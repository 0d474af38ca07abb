//===- Weights.cpp - Weights in formats of few bits -----------------------===//
#include "passes/quantize/Weights.h"
#include "passes/Passes.h"
#include "passes/calibrate/ProductMoments.h"
#include "passes/calibrate/SegmentRunner.h"
#include "passes/quantize/InputMover.h"
#include "passes/quantize/ResidualStream.h"
#include "passes/quantize/WeightTargets.h"
#include "passes/quantize/encode/Awq.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Parallel.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

/// How much of what a sum lacks its product makes up for. What samples show is
/// in part theirs alone.
constexpr double kMadeUpShare = 0.5;

class WeightQuantizer {
public:
  WeightQuantizer(ModuleOp module, WeightStore &weights,
                  const WeightOptions &options)
      : module(module), weights(weights), options(options),
        plan(module, weights, options) {}

  llvm::Error run();

private:
  bool isChanged(Operation *op) const { return changedOps.contains(op); }
  bool isSummed(const WeightTarget &target) const {
    return target.uses.size() == 1 &&
           summed.contains(target.uses.front()->getOwner());
  }

  using Moments = DenseMap<Value, ProductMoments>;
  llvm::Error runSegment(Segment &segment, bool isFirst);
  llvm::Error observe(const Segment &segment, bool isFirst, Moments &moments);
  void scaleInputs(Segment &segment, Moments &moments);
  llvm::Error quantizeIn(const Segment &segment, const Moments &moments);
  llvm::Error advance(const Segment &segment);
  llvm::Error quantize(WeightTarget &target, const ProductMoments *moments);
  EncodedWeight encodeWeight(const WeightTarget &target,
                             const ProductMoments *moments);
  llvm::Error install(WeightTarget &target, EncodedWeight encoded);
  llvm::Error quantizeAlone();
  llvm::Error quantizeByLayers();
  // Checkpoints.
  llvm::Error openCheckpoint(bool isByLayers);
  size_t getIndex(const WeightTarget &target) const {
    return size_t(&target - plan.targets.data());
  }
  std::optional<EncodedWeight> findDone(WeightTarget &target);
  llvm::Error keepValues(size_t index, ArrayRef<Value> needed);
  void put(ArrayRef<Value> values, MutableArrayRef<Paths> paths);
  bool restoreValues(size_t index, ArrayRef<Value> needed);
  llvm::Expected<size_t> resume(ArrayRef<Segment> segments);
  std::string explain(const WeightTarget &target, bool hasMoments) const;

  ModuleOp module;
  WeightStore &weights;
  const WeightOptions &options;
  WeightTargets plan;
  std::unique_ptr<Checkpoint> checkpoint; ///< or null
  std::optional<Checkpoint::Part> held;   ///< what streams are views of
  bool cannotSave = false;
  llvm::SmallPtrSet<Operation *, 32> changedOps;
  /// Products of the segment at hand of which ProductMoments knows what the
  /// sums lack that they go into.
  llvm::SmallPtrSet<Operation *, 4> summed;
  /// Of the float model, and of the one quantized so far.
  Stream exact, changed;
  std::optional<SegmentRunner> runner;
  std::optional<CrossProducts> crossProducts;
  unsigned threads = llvm::parallel::strategy.compute_thread_count();
};

//===----------------------------------------------------------------------===//
// One weight
//===----------------------------------------------------------------------===//

bool usesInputs(encode::RoundMethod method) {
  return method != encode::RoundMethod::Nearest &&
         method != encode::RoundMethod::Hqq;
}

bool usesInputs(const encode::EncodeOptions &options) {
  return usesInputs(options.method) ||
         options.scales == encode::ScaleSearch::Output;
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

/// What weights of a target without known inputs are pruned by.
prune::Criterion getCriterion(const WeightOptions &options, bool hasMoments) {
  return hasMoments ? options.criterion : prune::Criterion::Magnitude;
}

std::string WeightQuantizer::explain(const WeightTarget &target,
                                     bool hasMoments) const {
  std::string text;
  if (target.sparsity)
    text = llvm::formatv("{0} pruned by {1}", prune::toString(*target.sparsity),
                         prune::getName(getCriterion(options, hasMoments)));
  if (!target.format)
    return text;
  if (!target.whyDense.empty())
    text += ", zeros are stored: " + target.whyDense;
  if (!text.empty())
    text += "; ";
  text += describe(options.encode.method, hasMoments) + target.inputScales;
  if (target.loss)
    text += llvm::formatv(
        "; chosen, {0:e1} {1} if rounded to nearest", *target.loss,
        options.probes.empty()                       ? "of its square"
        : options.metric == OutputMetric::Divergence ? "nats"
                                                     : "of outputs' square");
  return text;
}

EncodedWeight WeightQuantizer::encodeWeight(const WeightTarget &target,
                                            const ProductMoments *moments) {
  RankedTensorType type = target.blockType();
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  std::vector<float> values =
      readRows(weights.get(target.symbol()), target.isTransposed);
  weights.release(target.symbol());
  std::optional<encode::InputMoments> known;
  if (moments)
    known = {moments->size(),
             moments->second(),
             {},
             moments->isShifted() ? moments->shift() : ArrayRef<double>()};
  if (moments && !moments->lack().empty() && isSummed(target)) {
    // With few samples, what inputs seem to show is chance.
    double ridge = std::min(1.0, double(columns) / double(moments->rows()));
    values = encode::makeUpFor(moments->lack(), values, rows, *known,
                               kMadeUpShare, ridge);
    known->cross = {}; // a part of what is lacking
  }
  const encode::InputMoments *inputs = known ? &*known : nullptr;
  encode::EncodeOptions how = options.encode;
  how.threads = threads;
  EncodedWeight weight;
  weight.hasMoments = moments != nullptr;
  if (!target.sparsity) {
    encode::EncodedMatrix encoded = encode::encodeMatrix(
        values, rows, columns, *target.format, how, inputs);
    weight.error = encoded.error;
    weight.bytes = getPlainStorage(*target.format).pack(encoded.planes);
    return weight;
  }

  prune::PrunedMatrix pruned =
      prune::pruneMatrix(values, rows, *target.sparsity,
                         getCriterion(options, inputs), inputs, threads);
  weight.zeros = double(llvm::count(pruned.mask, 0)) / double(values.size());
  if (!target.format) {
    weight.error = encode::getRelativeError(values, pruned.weights, rows,
                                            columns, inputs, threads);
    auto *bytes = reinterpret_cast<const uint8_t *>(pruned.weights.data());
    weight.bytes.assign(bytes, bytes + pruned.weights.size() * sizeof(float));
    return weight;
  }
  // Methods that correct errors make up for the weights that go by themselves.
  bool corrects = how.method == encode::RoundMethod::Gptq ||
                  how.method == encode::RoundMethod::GptqDescent;
  encode::EncodedMatrix encoded =
      encode::encodeMatrix(corrects && inputs ? values : pruned.weights, rows,
                           columns, *target.format, how, inputs, pruned.mask);
  decodeBlocks(*target.format, encoded.planes, pruned.weights);
  weight.error = encode::getRelativeError(values, pruned.weights, rows, columns,
                                          inputs, threads);
  weight.bytes = getPlainStorage(*target.format).pack(encoded.planes);
  return weight;
}

llvm::Error WeightQuantizer::quantize(WeightTarget &target,
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

/// What a weight will be made of, as the kernels read it.
uint64_t getBytes(const WeightTarget &target) {
  return target.format ? getBlockBytes(*target.format, target.elements())
                       : target.elements() * sizeof(float);
}

/// Puts a weight that is encoded in the place of the one that it was.
llvm::Error WeightQuantizer::install(WeightTarget &target,
                                     EncodedWeight encoded) {
  nn::WeightOp weight = target.weight;
  RankedTensorType blockType = target.blockType();
  const BlockFormat *format = target.format;
  plan.record(weight,
              format ? llvm::formatv("{0}, {1:f2} bits", format->name,
                                     format->getBitsPerWeight())
                           .str()
                     : "f32",
              getBytes(target), explain(target, encoded.hasMoments),
              encoded.error, encoded.zeros,
              target.sparsity && !(format && format->isSparse()));

  std::string name = getSourceName(weight).str();
  llvm::Expected<std::string> symbol = encoded.addTo(
      weights, name + "." + (format ? format->name.str() : "pruned"), blockType,
      format ? &getPlainStorage(*format) : nullptr);
  if (!symbol)
    return symbol.takeError();
  OpBuilder atModule(weight);
  auto made = nn::WeightOp::create(
      atModule, weight.getLoc(), *symbol, blockType,
      atModule.getStringAttr(name), StringAttr(),
      format ? atModule.getStringAttr(format->name) : StringAttr());
  copySources(weight, made);
  if (target.isTransposed && format)
    made->setAttr(kTransposedAttr, atModule.getUnitAttr());
  for (OpOperand *use : target.uses)
    useBlocks(*use, *symbol, blockType);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

/// The targets of a segment. A tied table is quantized where it is first used.
SmallVector<WeightTarget *> getTargets(const Segment &segment,
                                       std::vector<WeightTarget> &targets) {
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, segment.ops);
  SmallVector<WeightTarget *> found;
  for (WeightTarget &target : targets)
    if (own.contains(target.uses.front()->getOwner()))
      found.push_back(&target);
  return found;
}

/// Divides inputs of the segment's products by AWQ's factors.
void WeightQuantizer::scaleInputs(Segment &segment, Moments &moments) {
  constexpr int64_t kRows = 512; // of each matrix that factors are chosen by
  InputMover mover(weights, nullptr);
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, segment.ops);
  SmallVector<WeightTarget *> all = getTargets(segment, plan.targets);
  llvm::MapVector<Value, SmallVector<WeightTarget *>> byInput;
  for (WeightTarget *target : all) {
    OpOperand *use = target->uses.front();
    if (target->format && isa<nn::MatMulOp>(use->getOwner()) &&
        mover.isOwn(*use))
      byInput[use->getOwner()->getOperand(0)].push_back(target);
  }
  for (auto &[x, targets] : byInput) {
    const BlockFormat &format = *targets.front()->format;
    auto known = moments.find(x);
    if (known == moments.end() ||
        llvm::any_of(targets, [&](const WeightTarget *target) {
          return target->format != &format;
        }))
      continue;
    SmallVector<OpOperand *> uses;
    for (WeightTarget *target : targets)
      uses.push_back(target->uses.front());
    // Only products by these weights read it.
    bool isTheirs = llvm::all_of(x.getUsers(), [&](Operation *user) {
      return llvm::count_if(
          uses, [&](OpOperand *use) { return use->getOwner() == user; });
    });
    std::optional<InputMover::Maker> maker;
    if (isTheirs)
      maker = mover.find(x, /*shifts=*/false);
    if (maker &&
        !own.contains(maker->norm ? maker->norm : maker->product.product))
      maker.reset();
    if (!maker && options.inputScales != InputScaling::All)
      continue;

    std::vector<std::vector<float>> rows;
    std::vector<encode::MatrixView> matrices;
    for (WeightTarget *target : targets) {
      StringRef symbol =
          nn::getWeight(target->uses.front()->get()).getSymName();
      int64_t count = target->blockType().getDimSize(0);
      rows.push_back(readRows(weights.get(symbol), target->isTransposed,
                              std::max<int64_t>(1, count / kRows)));
    }
    for (const std::vector<float> &values : rows)
      matrices.push_back(
          {values, int64_t(values.size()) / known->second.size()});
    encode::InputMoments inputs{
        known->second.size(), known->second.second(), {}, {}};
    std::vector<float> factors = encode::findInputScales(
        matrices, format, inputs, known->second.magnitudes(),
        options.encode.scales, threads);
    if (llvm::all_of(factors, [](float factor) { return factor == 1; }))
      continue;
    std::vector<double> scale(factors.begin(), factors.end());
    known->second.divide(scale);
    StringRef where = "what makes them";
    if (maker) {
      mover.move(*maker, uses, {std::vector<double>(scale.size(), 0), scale});
    } else {
      where = "a multiplication";
      Value scaled = mover.scaleByProduct(x, uses, scale);
      auto first = llvm::find_if(segment.ops, [&](Operation *op) {
        return llvm::is_contained(op->getOperands(), scaled);
      });
      segment.ops.insert(first, scaled.getDefiningOp());
      ProductMoments moved = std::move(known->second);
      moments.try_emplace(scaled, std::move(moved));
    }
    for (WeightTarget *target : targets)
      target->inputScales = (", inputs scaled by AWQ in " + where).str();
  }
  for (WeightTarget *target : all)
    if (nn::WeightOp weight = nn::getWeight(target->uses.front()->get());
        weight != target->weight)
      plan.replace(*target, weight);
}

llvm::Error WeightQuantizer::quantizeIn(const Segment &segment,
                                        const Moments &moments) {
  for (WeightTarget *target : getTargets(segment, plan.targets)) {
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
  llvm::SmallDenseSet<Value> weighted;
  for (Value x : products)
    if (staysInRows(x, segment))
      weighted.insert(x);
  bool hasOther = !isFirst && !products.empty();
  llvm::SmallDenseMap<Value, Value> sums; // by the product's input
  for (Operation *op : segment.ops) {
    auto product = dyn_cast<nn::MatMulOp>(op);
    if (!hasOther || !product || !isChanged(op))
      continue;
    Value x = op->getOperand(0), sum = findSum(product, segment);
    if (!sum || !sums.try_emplace(x, sum).second)
      continue;
    summed.insert(op);
    if (!llvm::is_contained(results, sum))
      results.push_back(sum);
  }
  auto executable = runner->compile(segment, results);
  if (!executable)
    return executable.takeError();
  for (size_t begin = 0, count = options.calibration.size(); begin < count;) {
    size_t end = std::min(count, begin + runner->samplesAtOnce());
    auto own = runner->run(**executable, segment, results, exact, begin, end);
    if (!own)
      return own.takeError();
    std::vector<NamedTensors> other;
    if (hasOther) {
      auto found =
          runner->run(**executable, segment, results, changed, begin, end);
      if (!found)
        return found.takeError();
      other = std::move(*found);
    }
    for (size_t i = begin; i < end; ++i) {
      NamedTensors &values = (*own)[i - begin];
      std::vector<float> rowWeights;
      if (!weighted.empty())
        rowWeights = weighRows(values[segment.outputs.front()]);
      for (Value x : products) {
        std::optional<ProductMoments::Sums> ofSample;
        if (Value sum = sums.lookup(x))
          ofSample.emplace(values[sum], other[i - begin][sum]);
        if (llvm::Error error = moments.find(x)->second.add(
                values[x], hasOther ? other[i - begin][x] : values[x],
                weighted.contains(x) ? ArrayRef(rowWeights) : ArrayRef<float>(),
                *crossProducts, ofSample ? &*ofSample : nullptr))
          return llvm::createStringError("calibration sample " + Twine(i + 1) +
                                         ": '" + nn::getValueName(x) + "' " +
                                         llvm::toString(std::move(error)));
      }
      for (Value output : segment.outputs)
        exact[output].push_back(values[output]);
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
  auto executable = runner->compile(segment, segment.outputs);
  if (!executable)
    return executable.takeError();
  return runner->advance(**executable, segment, changed);
}

llvm::Error WeightQuantizer::runSegment(Segment &segment, bool isFirst) {
  Moments moments;
  summed.clear();
  if (llvm::Error error = observe(segment, isFirst, moments))
    return error;
  if (options.inputScales != InputScaling::None)
    scaleInputs(segment, moments);
  if (llvm::Error error = quantizeIn(segment, moments))
    return error;
  if (llvm::any_of(segment.ops, [&](Operation *op) { return isChanged(op); }))
    return advance(segment);
  for (Value output : segment.outputs)
    changed[output] = exact[output];
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
  // Parts do not hold what was done to inputs.
  if (options.inputScales != InputScaling::None && isByLayers)
    return llvm::Error::success();
  uint64_t bytes = 0;
  for (WeightTarget &target : plan.targets)
    bytes += weights.get(target.symbol()).bytes.size();
  if (how.folder.empty() || plan.targets.empty() ||
      (!isByLayers && bytes < how.fromBytes))
    return llvm::Error::success();

  std::string formats;
  for (WeightTarget &target : plan.targets) {
    formats += (target.symbol() + " ").str();
    if (target.format)
      formats += target.format->name;
    if (target.sparsity)
      formats +=
          llvm::formatv(" {0} {1:f9} {2}", prune::toString(*target.sparsity),
                        target.sparsity->fraction, int(options.criterion));
    formats += "\n";
  }
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
std::optional<EncodedWeight> WeightQuantizer::findDone(WeightTarget &target) {
  if (!checkpoint)
    return std::nullopt;
  uint64_t bytes = target.elements() * sizeof(float);
  if (target.format) {
    const BlockStorage &storage = getPlainStorage(*target.format);
    bytes = target.elements() / storage.elements * storage.bytes;
  }
  return EncodedWeight::find(*checkpoint, getIndex(target), bytes);
}

void WeightQuantizer::put(ArrayRef<Value> values,
                          MutableArrayRef<Paths> paths) {
  for (auto [value, of] : llvm::zip_equal(values, paths)) {
    exact[value] = std::move(of.exact);
    changed[value] = std::move(of.changed);
  }
}

/// Keeps what segments behind `index` need.
llvm::Error WeightQuantizer::keepValues(size_t index, ArrayRef<Value> needed) {
  std::vector<Paths> values;
  for (Value value : needed)
    values.push_back({std::move(exact[value]), std::move(changed[value])});
  SmallVector<Paths *> kept;
  for (Paths &paths : values)
    kept.push_back(&paths);
  auto saved = saveValues(*checkpoint, index, kept);
  if (!saved) {
    cannotSave = true;
    return saved.takeError();
  }
  put(needed, values);
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
  put(needed, found);
  return true;
}

/// Takes up a run that was stopped; the number of segments that are done.
llvm::Expected<size_t> WeightQuantizer::resume(ArrayRef<Segment> segments) {
  std::vector<SmallVector<std::pair<WeightTarget *, EncodedWeight>>> finished;
  for (const Segment &segment : segments) {
    auto &weightsOf = finished.emplace_back();
    SmallVector<WeightTarget *> own = getTargets(segment, plan.targets);
    for (WeightTarget *target : own)
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
  for (WeightTarget &target : plan.targets) {
    found.push_back(findDone(target));
    done += found.back().has_value();
    left += found.back() ? 0 : target.elements();
  }
  if (done)
    checkpoint->say(llvm::formatv("resuming from '{0}': {1} of {2} weights are "
                                  "done",
                                  checkpoint->folder(), done,
                                  plan.targets.size())
                        .str());
  PhaseProgress progress(options.progress, "quantize weights", left);
  for (auto [target, encoded] : llvm::zip_equal(plan.targets, found)) {
    uint64_t elements = target.elements();
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
  runner.emplace(module, weights, *options.executor, options.calibration);
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
    for (WeightTarget *target : getTargets(segment, plan.targets))
      sizes.back() += target->elements();
  }
  PhaseProgress progress(
      options.progress, "quantize layers",
      llvm::sum_of(ArrayRef(sizes).drop_front(done), uint64_t(0)));
  for (size_t index = done; index < segments.size(); ++index) {
    if (llvm::Error error = runSegment(segments[index], index < 2))
      return error;
    ArrayRef<Segment> later = ArrayRef(segments).drop_front(index + 1);
    forgetUnread(exact, later);
    forgetUnread(changed, later);
    if (checkpoint && index + 1 < segments.size())
      if (llvm::Error error = keepValues(index, getNeeded(segments, index + 1)))
        return error;
    progress.finish(sizes[index]);
  }
  return llvm::Error::success();
}

llvm::Error WeightQuantizer::run() {
  if (!nn::getEntry(module))
    return llvm::Error::success();
  if (llvm::Error error = plan.find())
    return error;
  for (WeightTarget &target : plan.targets)
    for (OpOperand *use : target.uses)
      changedOps.insert(use->getOwner());
  bool isByLayers =
      !options.calibration.empty() &&
      llvm::any_of(plan.targets, [&](const WeightTarget &target) {
        return (target.format && (usesInputs(options.encode) ||
                                  options.inputScales != InputScaling::None)) ||
               (target.sparsity &&
                options.criterion != prune::Criterion::Magnitude);
      });
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
    plan.report(*options.decisions);
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
