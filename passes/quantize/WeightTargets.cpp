//===- WeightTargets.cpp - Which weights get which format -----------------===//
#include "passes/quantize/WeightTargets.h"
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

llvm::Expected<std::string> WeightTargets::chooseFormat(nn::WeightOp weight,
                                                        bool isTable) {
  std::optional<std::string> chosen;
  StringRef first;
  for (StringRef name : getNames(weight)) {
    names.push_back(name.str());
    std::string format = options.budget ? kChosen.str()
                         : isTable      ? options.tables
                                        : options.products;
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

/// Why `weight` cannot have blocks of `format`; nullopt: it can.
static std::optional<std::string> whyNot(ArrayRef<OpOperand *> uses,
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
  decided[weight.getSymName()].decision = std::move(decision);
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
    bool isTable = llvm::any_of(users, [](OpOperand *use) {
      return isa<nn::GatherOp>(use->getOwner());
    });
    llvm::Expected<std::string> wanted = chooseFormat(weight, isTable);
    if (!wanted)
      return wanted.takeError();
    order.push_back(name.str());
    bool isTransposed = llvm::any_of(users, readsColumns);
    decided[name].isTransposed = isTransposed;
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
    if (*wanted == kChosen)
      format = getSmallest(users, type);
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
    targets.push_back(
        {weight, users, isTransposed, *wanted == kChosen ? nullptr : format});
  }
  if (llvm::Error error = checkRules())
    return error;
  return options.budget ? fitBudget() : llvm::Error::success();
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
