//===- WeightTargets.cpp - Which weights get which format -----------------===//
#include "passes/quantize/WeightTargets.h"
#include "passes/quantize/SparseFormats.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace pare {

/// In place of a format's name.
static constexpr StringLiteral kChosen = "chosen";

/// Names that a weight goes by: its own, or of those it was merged from.
static SmallVector<StringRef> getNames(nn::WeightOp weight) {
  SmallVector<StringRef> names = {getSourceName(weight)};
  if (auto sources = weight->getAttrOfType<ArrayAttr>(kSourcesAttr))
    names.assign(sources.getAsValueRange<StringAttr>().begin(),
                 sources.getAsValueRange<StringAttr>().end());
  return names;
}

static bool isTable(ArrayRef<OpOperand *> uses) {
  return llvm::any_of(
      uses, [](OpOperand *use) { return isa<nn::GatherOp>(use->getOwner()); });
}

/// Whether a product makes outputs of the model, but for what is done to single
/// elements: a head.
static bool isHead(OpOperand *use) {
  if (!isa<nn::MatMulOp>(use->getOwner()))
    return false;
  SmallVector<Operation *> reached = {use->getOwner()};
  while (!reached.empty())
    for (Operation *user : reached.pop_back_val()->getResult(0).getUsers()) {
      if (isa<func::ReturnOp>(user))
        return true;
      bool hasOther = llvm::count_if(user->getOperands(), [](Value operand) {
                        return !operand.getDefiningOp<nn::ParamOp>() &&
                               !operand.getDefiningOp<nn::ConstantOp>();
                      }) > 1;
      if (isa<nn::UnaryOp, nn::BinaryOp, nn::CastOp, nn::ReshapeOp, nn::SliceOp,
              nn::SoftmaxOp>(user) &&
          !hasOther)
        reached.push_back(user);
    }
  return false;
}

llvm::Expected<WeightTargets::Choice>
WeightTargets::choose(nn::WeightOp weight, ArrayRef<OpOperand *> uses) {
  std::optional<Choice> chosen;
  StringRef first;
  for (StringRef name : getNames(weight)) {
    names.push_back(name.str());
    Choice choice{options.budget  ? kChosen.str()
                  : isTable(uses) ? options.tables
                                  : options.products,
                  std::nullopt};
    if (!isTable(uses) && llvm::none_of(uses, isHead))
      choice.sparsity = options.sparsity;
    for (auto [rule, matches] : llvm::zip_equal(options.rules, ruleMatches))
      if (rule.pattern.match(name)) {
        if (!rule.format.empty())
          choice.format = rule.format;
        if (rule.sparsity)
          choice.sparsity = rule.sparsity;
        ++matches;
      }
    if (choice.sparsity && !choice.sparsity->of && !choice.sparsity->fraction)
      choice.sparsity.reset();
    if (chosen && *chosen != choice)
      return llvm::createStringError(
          "'%s' and '%s' are one product here: give them one %s",
          first.str().c_str(), name.str().c_str(),
          chosen->format != choice.format ? "format" : "sparsity");
    if (!chosen)
      first = name;
    chosen = std::move(choice);
  }
  return *chosen;
}

llvm::Error WeightTargets::checkRules() {
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
static bool readsColumns(OpOperand *use) {
  auto matmul = dyn_cast<nn::MatMulOp>(use->getOwner());
  return matmul && !matmul.getTransposeRhs();
}

/// Why a weight cannot have rows of groups of `steps` elements each; nullopt:
/// it can.
static std::optional<std::string> whyNot(ArrayRef<OpOperand *> uses,
                                         RankedTensorType type,
                                         ArrayRef<unsigned> steps) {
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
  for (unsigned step : steps)
    if (inner % step != 0)
      return llvm::formatv("rows of {0} are no multiples of {1}", inner, step)
          .str();
  return std::nullopt;
}

/// The first format that may be chosen for a weight, or one that says why there
/// is none.
static const BlockFormat *getSmallest(ArrayRef<OpOperand *> uses,
                                      RankedTensorType type) {
  std::vector<const BlockFormat *> ladder;
  if (type.getRank() == 2)
    ladder = getLadder(type.getDimSize(readsColumns(uses.front()) ? 0 : 1));
  return ladder.empty() ? findBlockFormat("uint2_g16") : ladder.front();
}

void WeightTargets::record(nn::WeightOp weight, std::string format,
                           uint64_t bytesAfter, std::string reason,
                           double error, double zeros, bool storesZeros) {
  auto type = cast<RankedTensorType>(weight.getType());
  const TensorData &data = weights.get(weight.getSymName());
  TensorDecision decision{getSourceName(weight).str(),
                          type.getShape().vec(),
                          std::move(format),
                          data.bytes.size(),
                          bytesAfter,
                          std::move(reason),
                          error,
                          zeros,
                          storesZeros};
  decided[weight.getSymName()].decision = std::move(decision);
}

void WeightTargets::keep(nn::WeightOp weight, std::string reason) {
  const TensorData &data = weights.get(weight.getSymName());
  std::string format;
  llvm::raw_string_ostream(format) << getElementTypeOrSelf(weight.getType());
  // Weights in blocks are listed where their products are looked at.
  if (!data.storage)
    record(weight, format, data.bytes.size() * (data.narrow ? 2 : 1),
           std::move(reason), 0);
}

/// Gives a weight that a pattern prunes the format which stores no zeros, where
/// there is one and it is faster.
static void leaveOutZeros(WeightTarget &target, const Target *machine) {
  if (!machine || !target.format || !target.sparsity || !target.sparsity->of)
    return;
  const BlockFormat *sparse = findSparseFormat(
      *target.format, target.sparsity->keep, target.sparsity->of);
  std::optional<std::string> why =
      sparse ? whyNotSparse(*machine, *sparse, target.uses)
             : ("no sparse " + target.format->name).str();
  if (why)
    target.whyDense = std::move(*why);
  else
    target.format = sparse;
}

llvm::Expected<std::optional<WeightTarget>>
WeightTargets::makeTarget(nn::WeightOp weight, ArrayRef<OpOperand *> uses,
                          const Choice &choice) {
  auto type = cast<RankedTensorType>(weight.getType());
  StringRef name = weight.getSymName();
  const TensorData &data = weights.get(name);
  bool isTransposed = llvm::any_of(uses, readsColumns);
  bool isChosen = choice.format == kChosen, isKept = choice.format == "keep";
  if (isKept && !choice.sparsity) {
    keep(weight, "as asked for");
    return std::nullopt;
  }
  const BlockFormat *format = nullptr;
  if (isChosen)
    format = getSmallest(uses, type);
  else if (!isKept)
    format = findBlockFormat(choice.format);
  else if (data.storage)
    format = findBlockFormat(data.storage->format.name);
  if (!format && !isKept)
    return llvm::createStringError("unknown format '" + choice.format + "'");

  SmallVector<unsigned> steps;
  if (format)
    steps.push_back(format->scaleGroup());
  if (choice.sparsity && choice.sparsity->of)
    steps.push_back(choice.sparsity->of);
  if (auto why = whyNot(uses, type, steps)) {
    keep(weight, *why);
    return std::nullopt;
  }
  if (choice.sparsity && format && !encode::hasExactZero(*format))
    return llvm::createStringError(
        "'" + getSourceName(weight) + "' cannot lose " +
        prune::toString(*choice.sparsity) + " of its weights in " +
        format->name +
        ", which has no exact zero: name another format, as int4 or uint4_g32");
  std::vector<float> values = data.toF32();
  if (!llvm::all_of(values, [](float v) { return std::isfinite(v); })) {
    keep(weight, "holds NaN or infinite values");
    return std::nullopt;
  }
  weights.release(name);
  WeightTarget target{weight, llvm::to_vector(uses), isTransposed,
                      isChosen ? nullptr : format, choice.sparsity};
  leaveOutZeros(target, options.target);
  return target;
}

llvm::Error WeightTargets::find() {
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
    llvm::Expected<Choice> choice = choose(weight, users);
    if (!choice)
      return choice.takeError();
    order.push_back(name.str());
    decided[name].isTransposed = llvm::any_of(users, readsColumns);
    auto target = makeTarget(weight, users, *choice);
    if (!target)
      return target.takeError();
    if (*target)
      targets.push_back(std::move(**target));
  }
  if (llvm::Error error = checkRules())
    return error;
  if (options.sparsity && llvm::none_of(targets, [](const WeightTarget &t) {
        return t.sparsity.has_value();
      }))
    return llvm::createStringError(
        "--prune " + prune::toString(*options.sparsity) +
        ": the model has no products whose weights could go but those that "
        "make its outputs");
  return options.budget ? fitBudget() : llvm::Error::success();
}

void WeightTargets::replace(WeightTarget &target, nn::WeightOp weight) {
  std::string from = target.symbol().str(), to = weight.getSymName().str();
  decided[to] = std::move(decided[from]);
  llvm::replace(order, from, to);
  target.weight = weight;
}

/// Gives the targets that have none their format.
llvm::Error WeightTargets::fitBudget() {
  BudgetOptions how{.budget = *options.budget,
                    .executor = options.executor,
                    .samples = options.probes,
                    .metric = options.metric,
                    .progress = options.progress};
  for (auto weight : module.getOps<nn::WeightOp>())
    how.otherBytes += weights.get(weight.getSymName()).bytes.size();
  for (const WeightTarget &target : targets) {
    how.otherBytes -= weights.get(target.symbol()).bytes.size();
    if (target.format)
      how.otherBytes += getBlockBytes(*target.format, target.elements());
  }
  return chooseFormats(module, weights, targets, how);
}

void WeightTargets::report(std::vector<TensorDecision> &decisions) {
  for (const std::string &name : order)
    if (auto it = decided.find(name); it != decided.end())
      appendDecision(module.lookupSymbol<nn::WeightOp>(name),
                     it->second.decision, it->second.isTransposed, decisions);
}

} // namespace pare
