//===- Select.cpp - Choosing a kernel for every op
//--------------------------===//
#include "backends/cpu/Select.h"
#include "backends/cpu/Choose.h"
#include "backends/cpu/onednn/OneDnn.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"
#include <map>

using namespace mlir;

namespace pare::cpu {

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

llvm::ArrayRef<KernelEntry> getKernelTable() {
  static const std::vector<KernelEntry> table = [] {
    std::vector<KernelEntry> rows;
    auto append = [&](ArrayRef<KernelEntry> entries) {
      rows.insert(rows.end(), entries.begin(), entries.end());
    };
    append(getBlockEntries());
    append(getExpertEntries());
    append(getMatMulEntries());
    append(getConvEntries());
    append(getAttentionEntries());
    append(getCacheEntries());
    append(getNormEntries());
    append(getElementwiseEntries());
    append(getReduceEntries());
    append(getMovementEntries());
    append(getQuantizeEntries());
    append(getOneDnnEntries());
    return rows;
  }();
  return table;
}

//===----------------------------------------------------------------------===//
// Selector
//===----------------------------------------------------------------------===//

Extent Selector::extent(KernelCall &call, nn::Dim dim) {
  dim = nn::simplify(dim);
  if (std::optional<int64_t> value = nn::getConstant(dim))
    return Extent::of(*value);
  auto it = llvm::find(call.dims, dim);
  if (it == call.dims.end())
    it = call.dims.insert(call.dims.end(), dim);
  return Extent::runtime(it - call.dims.begin());
}

/// A constant's bytes as kernels read them; splats are expanded.
static std::vector<uint8_t> constantBytes(nn::ConstantOp op) {
  auto dense = cast<DenseElementsAttr>(op.getValue());
  auto type = cast<RankedTensorType>(dense.getType());
  std::vector<uint8_t> bytes;
  if (type.getElementType().isInteger(1)) {
    for (bool value : dense.getValues<bool>())
      bytes.push_back(value);
    return bytes;
  }
  ArrayRef<char> raw = dense.getRawData();
  size_t copies = dense.isSplat() ? type.getNumElements() : 1;
  for (size_t i = 0; i < copies; ++i)
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  return bytes;
}

std::optional<TensorData> Selector::constantData(Value value) {
  if (nn::WeightOp weight = nn::getWeight(value))
    return weights_.get(weight.getSymName());
  auto constant = nn::getOuterValue(value).getDefiningOp<nn::ConstantOp>();
  if (!constant)
    return std::nullopt;
  auto type = cast<RankedTensorType>(constant.getType());
  return TensorData{type,
                    program_.constants.emplace_back(constantBytes(constant))};
}

Value getBuffer(Value value) {
  value = nn::getOuterValue(value);
  while (auto reshape = value.getDefiningOp<nn::ReshapeOp>())
    value = nn::getOuterValue(reshape.getX());
  return value;
}

Operand Selector::operand(Value value) {
  value = getBuffer(value);
  if (nn::WeightOp weight = nn::getWeight(value)) {
    const TensorData &data = weights_.get(weight.getSymName());
    if (data.isEncoded())
      return pack({("decoded:" + weight.getSymName()).str(),
                   weight.getSymName().str(),
                   uint64_t(data.type.getNumElements()) * sizeof(float),
                   [data](MutableArrayRef<uint8_t> out) {
                     data.toF32({reinterpret_cast<float *>(out.data()),
                                 size_t(data.type.getNumElements())});
                   }});
    return pack(
        {("raw:" + weight.getSymName()).str(), weight.getSymName().str(),
         *getTensorBytes(data.type.getShape(), data.type.getElementType()),
         [data](MutableArrayRef<uint8_t> out) { data.copyTo(out); }});
  }
  if (auto constant = value.getDefiningOp<nn::ConstantOp>()) {
    std::vector<uint8_t> bytes = constantBytes(constant);
    std::string key = "constant:" + std::string(bytes.begin(), bytes.end());
    uint64_t size = bytes.size();
    return pack({key, "", size,
                 [bytes = std::move(bytes)](MutableArrayRef<uint8_t> out) {
                   std::copy(bytes.begin(), bytes.end(), out.begin());
                 }});
  }
  Operand operand;
  operand.value = value;
  return operand;
}

Operand Selector::pack(PackedWeight packed) {
  auto [it, inserted] =
      packedByKey_.try_emplace(packed.key, program_.packed.size());
  if (inserted)
    program_.packed.push_back(std::move(packed));
  Operand operand;
  operand.packed = it->second;
  return operand;
}

std::string Selector::kernel(StringRef label, const std::string &signature,
                             function_ref<void(KernelBuilder &)> emit) {
  auto [it, inserted] =
      kernelBySignature_.try_emplace((label + "|" + signature).str(), "");
  if (inserted) {
    std::string name =
        "k" + std::to_string(kernelBySignature_.size() - 1) + "_";
    for (char c : label)
      name += llvm::isAlnum(c) ? c : '_';
    KernelBuilder builder(*program_.kernels, name, isa_);
    emit(builder);
    builder.finish();
    it->second = name;
  }
  return it->second;
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

bool isView(Operation *op) {
  if (isa<nn::ParamOp, nn::ConstantOp, nn::ReshapeOp>(op))
    return true;
  auto slice = dyn_cast<nn::SliceOp>(op);
  return slice && isReadInPlace(slice);
}

static const KernelEntry *findEntry(Operation *op, const Isa &isa,
                                    StringRef provider, std::string &why) {
  for (const KernelEntry &entry : getKernelTable()) {
    if (entry.provider != provider)
      continue;
    std::optional<std::string> reason = entry.whyNot(op, isa);
    if (!reason)
      return &entry;
    if (!reason->empty())
      why = *reason;
  }
  return nullptr;
}

std::optional<std::string> whyNoKernel(Operation *op, const Isa &isa) {
  if (isView(op))
    return std::nullopt;
  std::string why = "no kernel computes it";
  return findEntry(op, isa, "generated", why) ? std::nullopt
                                              : std::optional(why);
}

static std::string describe(Operation *op) {
  if (auto fused = dyn_cast<nn::FusedOp>(op))
    return fused.getLabel().str();
  return op->getName().getStringRef().str();
}

/// Picks the entry that computes `op`; records the choice where there was one.
static const KernelEntry *chooseEntry(Operation *op, const Isa &isa,
                                      const SelectOptions &options,
                                      Program &program, std::string &why) {
  const KernelEntry *ours = findEntry(op, isa, "generated", why);
  if (options.providers == Providers::Generated)
    return ours;
  std::string declined;
  const KernelEntry *theirs = findEntry(op, isa, "onednn", declined);
  if (!ours || (!theirs && declined.empty()))
    return ours ? ours : theirs;
  Choice choice;
  if (op->getNumResults() > 0)
    choice.name = nn::getValueName(op->getResult(0)).str();
  choice.op = describe(op);
  const KernelEntry *chosen = ours;
  if (!theirs)
    choice.reason = "not by onednn: " + declined;
  else if (prefersOneDnn(op, options, choice.reason))
    chosen = theirs;
  choice.provider = chosen->provider.str();
  program.choices.push_back(std::move(choice));
  return chosen;
}

/// A result that is an input, a constant or another result's buffer has to be
/// copied into its own.
static void copyForwardedResults(func::FuncOp entry) {
  Operation *ret = entry.getBody().front().getTerminator();
  OpBuilder builder(ret);
  llvm::SmallDenseSet<Value> taken;
  for (OpOperand &operand : ret->getOpOperands()) {
    Value base = getBuffer(operand.get());
    Operation *def = base.getDefiningOp();
    if (def && !isView(def) && taken.insert(base).second)
      continue; // Its maker writes the result; reshapes only rename it.
    // A cast to the same type is a copy.
    operand.set(
        nn::CastOp::create(builder, operand.get().getLoc(), operand.get(),
                           getElementTypeOrSelf(operand.get().getType())));
  }
}

llvm::Expected<Program> selectKernels(ModuleOp module,
                                      const WeightStore &weights,
                                      const Isa &isa,
                                      const SelectOptions &options) {
  Program program;
  program.kernels = ModuleOp::create(UnknownLoc::get(module.getContext()));
  Selector selector(isa, weights, program);
  func::FuncOp entry = nn::getEntry(module);
  copyForwardedResults(entry);

  std::map<std::string, unsigned> missing;
  for (Operation &op : entry.getBody().front().without_terminator()) {
    if (isView(&op))
      continue;
    std::string why = "no kernel computes it";
    const KernelEntry *found = chooseEntry(&op, isa, options, program, why);
    if (!found) {
      ++missing[describe(&op) + " (" + why + ")"];
      continue;
    }
    if (!missing.empty())
      continue;
    if (llvm::Error error = found->build(&op, selector))
      return std::move(error);
  }
  if (!missing.empty()) {
    std::string list;
    for (auto &[what, count] : missing)
      list += (list.empty() ? "" : ", ") + what + " x" + std::to_string(count);
    return llvm::createStringError("no kernels for target '%s': %s",
                                   isa.name.c_str(), list.c_str());
  }
  return program;
}

} // namespace pare::cpu
