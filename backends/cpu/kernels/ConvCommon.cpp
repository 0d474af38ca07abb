//===- ConvCommon.cpp - What NHWC kernels share ---------------------------===//
#include "backends/cpu/kernels/ConvCommon.h"

using namespace mlir;

namespace pare::cpu {

Value compare(KernelBuilder &kb, arith::CmpIPredicate predicate, Value a,
              Value b) {
  return kb.createOrFold<arith::CmpIOp>(predicate, a, b);
}

Value select(KernelBuilder &kb, Value condition, Value a, Value b) {
  return kb.createOrFold<arith::SelectOp>(condition, a, b);
}

/// ceil(max(a, 0) / b).
static Value ceilDivClamped(KernelBuilder &kb, Value a, int64_t b) {
  Value positive = kb.maxIdx(a, kb.idx(0));
  return kb.divCeil(positive, b);
}

Window clipWindow(KernelBuilder &kb, Value out, int64_t stride, int64_t pad,
                  int64_t dilation, int64_t kernel, Value extent) {
  Window window;
  window.start = kb.sub(kb.mul(out, stride), kb.idx(pad));
  window.lo =
      kb.minIdx(ceilDivClamped(kb, kb.sub(kb.idx(0), window.start), dilation),
                kb.idx(kernel));
  Value end = ceilDivClamped(kb, kb.sub(extent, window.start), dilation);
  window.hi = kb.maxIdx(window.lo, kb.minIdx(end, kb.idx(kernel)));
  return window;
}

std::pair<Value, Value> interiorRange(KernelBuilder &kb, int64_t stride,
                                      int64_t pad, int64_t dilation,
                                      int64_t kernel, Value inExtent,
                                      Value outExtent) {
  Value lo = kb.minIdx(kb.idx((pad + stride - 1) / stride), outExtent);
  Value last = kb.sub(inExtent, kb.idx((kernel - 1) * dilation - pad));
  Value hi = kb.minIdx(ceilDivClamped(kb, last, stride), outExtent);
  return {lo, kb.maxIdx(lo, hi)};
}

Pixel decodePixel(KernelBuilder &kb, Value row, Value oh, Value ow) {
  Value line = kb.divFloor(row, ow);
  return {kb.divFloor(line, oh), kb.rem(line, oh), kb.rem(row, ow)};
}

std::pair<Value, Value> taskRange(KernelBuilder &kb, Value index,
                                  int64_t perTask, Value total) {
  Value first = kb.mul(index, perTask);
  return {first, kb.minIdx(kb.add(first, kb.idx(perTask)), total)};
}

void forEachChannelGroup(
    KernelBuilder &kb, int64_t channels, unsigned lanes, unsigned unroll,
    llvm::function_ref<void(Value, llvm::ArrayRef<unsigned>)> body) {
  int64_t step = int64_t(lanes) * unroll;
  int64_t whole = channels / step * step;
  llvm::SmallVector<unsigned> widths(unroll, lanes);
  if (whole == step)
    body(kb.idx(0), widths);
  else if (whole > 0)
    kb.loop(kb.idx(0), kb.idx(whole), step,
            [&](Value col) { body(col, widths); });
  widths.clear();
  for (int64_t rest = channels - whole; rest > 0; rest -= lanes)
    widths.push_back(std::min<int64_t>(rest, lanes));
  if (!widths.empty())
    body(kb.idx(whole), widths);
}

void storeChannels(KernelBuilder &kb, const Epilogue &epilogue, Value vec,
                   unsigned count, Value out, Value row, Value col,
                   int64_t channels) {
  vec = kb.slice(vec, 0, count);
  if (epilogue)
    vec = epilogue(kb, vec, {row, col, /*count=*/Value(), /*batch=*/kb.idx(0)});
  kb.store(vec, out, kb.add(kb.mul(row, channels), col));
}

} // namespace pare::cpu
