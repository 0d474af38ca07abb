//===- Cache.cpp - Rotary embeddings and attention to caches --------------===//
#include "backends/cpu/kernels/Cache.h"
#include "backends/cpu/CacheLayout.h"
#include "backends/cpu/DType.h"
#include "backends/cpu/kernels/Rope.h"
#include "backends/cpu/select/Entries.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

static bool isF32(Value value) {
  return getElementTypeOrSelf(value.getType()).isF32();
}

//===----------------------------------------------------------------------===//
// Rope
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotRope(Operation *op, const Isa &) {
  auto rope = dyn_cast<nn::RopeOp>(op);
  if (!rope)
    return "";
  if (!isF32(rope.getX()) || !isF32(rope.getCos()))
    return "only f32 rotary embeddings have a kernel";
  if (!nn::getConstant(shapeOf(rope.getX())[1]))
    return "the number of heads must be known";
  return std::nullopt;
}

static llvm::Error buildRope(Operation *op, Selector &selector) {
  auto rope = cast<nn::RopeOp>(op);
  KernelCall call = beginCall(op);
  nn::Shape x = shapeOf(rope.getX());
  RopeSpec spec;
  spec.rows = selector.extent(call, x[0]);
  spec.heads = *nn::getConstant(x[1]);
  spec.size = *nn::getConstant(x[2]);
  spec.half = *nn::getConstant(shapeOf(rope.getCos())[1]);
  spec.interleaved = rope.getInterleaved();
  for (Value value : {rope.getX(), rope.getCos(), rope.getSin()})
    call.inputs.push_back(selector.operand(value));
  addOutputs(call, op);
  call.inPlace.push_back({0, 0});
  call.grid = toDim(ropeGrid(spec), call, op->getContext());
  std::string signature;
  llvm::raw_string_ostream(signature)
      << spec.rows.str() << "," << spec.heads << "," << spec.size << ","
      << spec.half << "," << spec.interleaved;
  call.kernel = selector.kernel(call.op, signature,
                                [&](KernelBuilder &b) { emitRope(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Caches
//===----------------------------------------------------------------------===//

/// Adds what every user of a cache reads: its place, positions and sequences.
static std::string bindCache(CacheSpec &spec, Operation *op,
                             FlatSymbolRefAttr symbol, Value positions,
                             Value sequences, KernelCall &call,
                             Selector &selector) {
  auto cache = SymbolTable::lookupNearestSymbolFrom<nn::CacheOp>(op, symbol);
  CachePlace place = CacheLayout(op->getParentOfType<ModuleOp>()).get(cache);
  spec.rows = selector.extent(call, shapeOf(positions)[0]);
  spec.kvHeads = cache.getHeads();
  spec.headDim = cache.getHeadDim();
  spec.type = *getDType(cache.getType());
  spec.regionBytes = place.regionBytes;
  spec.capacity = place.capacity;
  // Layers differ in their offset alone: a dim, so that they share code.
  spec.offset = Extent::runtime(call.dims.size());
  call.dims.push_back(nn::constant(place.offset, op->getContext()));
  Operand caches;
  caches.isCaches = true;
  spec.ptrCaches = call.inputs.size();
  call.inputs.push_back(caches);
  spec.ptrPositions = call.inputs.size();
  call.inputs.push_back(selector.operand(positions));
  spec.ptrSequences = call.inputs.size();
  call.inputs.push_back(selector.operand(sequences));
  std::string signature;
  llvm::raw_string_ostream(signature)
      << spec.rows.str() << "," << spec.kvHeads << "," << spec.headDim << ","
      << spec.type << "," << spec.regionBytes << "," << spec.capacity << ";";
  return signature;
}

static std::optional<std::string> whyNotAppend(Operation *op, const Isa &) {
  auto append = dyn_cast<nn::CacheAppendOp>(op);
  if (!append)
    return "";
  if (!isF32(append.getKey()))
    return "only f32 keys and values have a kernel";
  return std::nullopt;
}

static llvm::Error buildAppend(Operation *op, Selector &selector) {
  auto append = cast<nn::CacheAppendOp>(op);
  KernelCall call = beginCall(op);
  CacheAppendSpec spec;
  spec.ptrKey = call.inputs.size();
  call.inputs.push_back(selector.operand(append.getKey()));
  spec.ptrValue = call.inputs.size();
  call.inputs.push_back(selector.operand(append.getValue()));
  std::string signature =
      bindCache(spec, op, append.getCacheAttr(), append.getPositions(),
                append.getSequences(), call, selector);
  call.grid = toDim(cacheAppendGrid(spec), call, op->getContext());
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitCacheAppend(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

static std::optional<std::string> whyNotAttention(Operation *op, const Isa &) {
  auto attention = dyn_cast<nn::CachedAttentionOp>(op);
  if (!attention)
    return "";
  if (!isF32(attention.getQuery()))
    return "only f32 attention has a kernel";
  return std::nullopt;
}

/// The second kernel of attention whose chunks several tasks compute.
static void addMerge(nn::CachedAttentionOp op, CachedAttentionSpec spec,
                     const Operand &partials, StringRef signature,
                     Selector &selector) {
  KernelCall call = beginCall(op, " merge");
  spec.rows = selector.extent(call, shapeOf(op.getPositions())[0]);
  spec.ptrPartials = 0;
  spec.ptrPositions = 1;
  spec.ptrOut = 2;
  call.inputs = {partials, selector.operand(op.getPositions())};
  addOutputs(call, op);
  call.flops = call.bytes = nn::constant(0, op.getContext());
  call.grid = toDim(attentionMergeGrid(spec), call, op.getContext());
  call.scratchBytes =
      nn::constant(attentionMergeScratchBytes(spec), op.getContext());
  call.kernel =
      selector.kernel(call.op, signature.str(),
                      [&](KernelBuilder &b) { emitAttentionMerge(b, spec); });
  selector.add(std::move(call));
}

static llvm::Error buildAttention(Operation *op, Selector &selector) {
  auto attention = cast<nn::CachedAttentionOp>(op);
  KernelCall call = beginCall(op);
  CachedAttentionSpec spec;
  spec.heads = *nn::getConstant(shapeOf(attention.getQuery())[1]);
  spec.scale = attention.getScale().convertToFloat();
  spec.softCap = attention.getSoftCap().convertToFloat();
  spec.window = attention.getWindow();
  spec.ptrQuery = call.inputs.size();
  call.inputs.push_back(selector.operand(attention.getQuery()));
  std::string signature =
      bindCache(spec, op, attention.getCacheAttr(), attention.getPositions(),
                attention.getSequences(), call, selector);
  llvm::raw_string_ostream(signature)
      << spec.heads << "," << llvm::format("%a", double(spec.scale)) << ","
      << llvm::format("%a", double(spec.softCap)) << "," << spec.window;
  spec.ptrOut = call.inputs.size();
  addOutputs(call, op);
  Operand partials;
  if (spec.partialFloats() > 0) {
    partials.value = selector.temporary(RankedTensorType::get(
        {spec.partialFloats()}, Float32Type::get(op->getContext())));
    spec.ptrPartials = spec.ptrOut + call.outputs.size();
    call.outputs.push_back(partials);
  }
  call.grid = toDim(cachedAttentionGrid(spec), call, op->getContext());
  call.scratchBytes =
      nn::constant(cachedAttentionScratchBytes(spec), op->getContext());
  call.kernel = selector.kernel(call.op, signature, [&](KernelBuilder &b) {
    emitCachedAttention(b, spec);
  });
  selector.add(std::move(call));
  if (partials.value)
    addMerge(attention, spec, partials, signature, selector);
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getCacheEntries() {
  static const KernelEntry entries[] = {
      {"rope", "generated", whyNotRope, buildRope},
      {"cache-append", "generated", whyNotAppend, buildAppend},
      {"cached-attention", "generated", whyNotAttention, buildAttention},
  };
  return entries;
}

} // namespace pare::cpu
