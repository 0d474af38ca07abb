//===- Pool.cpp - Pooling kernels, NHWC f32 -------------------------------===//
#include "backends/cpu/kernels/Pool.h"
#include <limits>

using namespace mlir;

namespace pare::cpu {

/// a > b ? a : b, which is one instruction where maxnum and maximum are three.
static Value maxVec(KernelBuilder &kb, Value a, Value b) {
  Value greater = arith::CmpFOp::create(kb, arith::CmpFPredicate::OGT, a, b);
  return arith::SelectOp::create(kb, greater, a, b);
}

static Value combine(KernelBuilder &kb, PoolKind kind, Value acc, Value x) {
  return kind == PoolKind::Max ? maxVec(kb, acc, x)
                               : arith::AddFOp::create(kb, acc, x);
}

static SmallVector<Value> initial(KernelBuilder &kb, PoolKind kind,
                                  llvm::ArrayRef<unsigned> widths) {
  SmallVector<Value> accs;
  float start =
      kind == PoolKind::Max ? -std::numeric_limits<float>::infinity() : 0.0f;
  for (unsigned width : widths)
    accs.push_back(kb.constF32(start, width));
  return accs;
}

static SmallVector<Value> combineAt(KernelBuilder &kb, PoolKind kind,
                                    ValueRange accs,
                                    llvm::ArrayRef<unsigned> widths, Value in,
                                    Value offset) {
  SmallVector<Value> next;
  for (auto [i, width] : llvm::enumerate(widths)) {
    Value x = kb.loadVec(kb.vecType(width, kb.getF32Type()), in, offset);
    next.push_back(combine(kb, kind, accs[i], x));
    offset = kb.add(offset, kb.idx(width));
  }
  return next;
}

/// vec / count.
static Value divideByCount(KernelBuilder &kb, Value vec, Value count) {
  Value asInt = kb.toI32(count);
  Value asFloat = arith::SIToFPOp::create(kb, kb.getF32Type(), asInt);
  unsigned lanes = cast<VectorType>(vec.getType()).getNumElements();
  return arith::DivFOp::create(kb, vec, kb.splat(asFloat, lanes));
}

/// Positions of a window that an average counts on one axis.
static Value countedPositions(KernelBuilder &kb, const Window &window,
                              bool includePad, Value extent, int64_t padEnd,
                              int64_t dilation, int64_t kernel) {
  if (!includePad)
    return kb.sub(window.hi, window.lo);
  Value room =
      kb.sub(kb.add(extent, kb.idx(padEnd + dilation - 1)), window.start);
  return kb.minIdx(kb.divFloor(kb.maxIdx(room, kb.idx(0)), kb.idx(dilation)),
                   kb.idx(kernel));
}

int64_t poolLinesPerTask(const PoolSpec &spec) {
  int64_t readsPerLine = (spec.ow.isFixed() ? spec.ow.fixed : 64) * spec.c *
                         spec.kernelH * spec.kernelW;
  constexpr int64_t readsPerTask = 1 << 18;
  return std::clamp<int64_t>(readsPerTask / std::max<int64_t>(readsPerLine, 1),
                             1, 64);
}

void emitPool(KernelBuilder &kb, const PoolSpec &spec) {
  Value in = kb.ptr(spec.in), out = kb.ptr(spec.out);
  Value h = kb.extent(spec.h), w = kb.extent(spec.w), oh = kb.extent(spec.oh),
        ow = kb.extent(spec.ow);
  Value lines = kb.mul(kb.extent(spec.n), oh);
  auto [first, last] = taskRange(kb, kb.task(), poolLinesPerTask(spec), lines);

  kb.loop(first, last, 1, [&](Value line) {
    Value n = kb.divFloor(line, oh), oy = kb.rem(line, oh);
    Window wy = clipWindow(kb, oy, spec.strideH, spec.padT, spec.dilationH,
                           spec.kernelH, h);
    Value image = kb.mul(n, h);
    kb.loop(kb.idx(0), ow, 1, [&](Value ox) {
      Window wx = clipWindow(kb, ox, spec.strideW, spec.padL, spec.dilationW,
                             spec.kernelW, w);
      Value row = kb.add(kb.mul(line, ow), ox);
      Value count;
      if (spec.kind == PoolKind::Average)
        count =
            kb.mul(countedPositions(kb, wy, spec.countIncludePad, h, spec.padB,
                                    spec.dilationH, spec.kernelH),
                   countedPositions(kb, wx, spec.countIncludePad, w, spec.padR,
                                    spec.dilationW, spec.kernelW));
      forEachChannelGroup(
          kb, spec.c, kb.isa().f32Lanes, 4,
          [&](Value col, llvm::ArrayRef<unsigned> widths) {
            auto accs = kb.loop(
                wy.lo, wy.hi, 1, initial(kb, spec.kind, widths),
                [&](Value ky, ValueRange outer) {
                  Value iy = kb.add(wy.start, kb.mul(ky, spec.dilationH));
                  Value lineStart = kb.mul(kb.add(image, iy), w);
                  return kb.loop(
                      wx.lo, wx.hi, 1, outer, [&](Value kx, ValueRange accs) {
                        Value ix = kb.add(wx.start, kb.mul(kx, spec.dilationW));
                        Value offset =
                            kb.add(kb.mul(kb.add(lineStart, ix), spec.c), col);
                        return combineAt(kb, spec.kind, accs, widths, in,
                                         offset);
                      });
                });
            for (auto [i, width] : llvm::enumerate(widths)) {
              Value vec = spec.kind == PoolKind::Average
                              ? divideByCount(kb, accs[i], count)
                              : accs[i];
              storeChannels(kb, spec.epilogue, vec, width, out, row, col,
                            spec.c);
              col = kb.add(col, kb.idx(width));
            }
          });
    });
  });
}

/// `channels` channels of image `n` from channel `base` on.
static void emitGlobalBlock(KernelBuilder &kb, const GlobalPoolSpec &spec,
                            Value n, Value base, int64_t channels) {
  Value in = kb.ptr(spec.in), out = kb.ptr(spec.out);
  Value h = kb.extent(spec.h), w = kb.extent(spec.w);
  Value count = kb.mul(h, w);
  forEachChannelGroup(
      kb, channels, kb.isa().f32Lanes, 4,
      [&](Value offset, llvm::ArrayRef<unsigned> widths) {
        Value col = kb.add(base, offset);
        auto accs = kb.loop(
            kb.idx(0), h, 1, initial(kb, spec.kind, widths),
            [&](Value y, ValueRange totals) {
              Value lineStart = kb.mul(kb.add(kb.mul(n, h), y), w);
              auto line = kb.loop(
                  kb.idx(0), w, 1, initial(kb, spec.kind, widths),
                  [&](Value x, ValueRange accs) {
                    return combineAt(
                        kb, spec.kind, accs, widths, in,
                        kb.add(kb.mul(kb.add(lineStart, x), spec.c), col));
                  });
              SmallVector<Value> next;
              for (auto [total, part] : llvm::zip(totals, line))
                next.push_back(combine(kb, spec.kind, total, part));
              return next;
            });
        for (auto [i, width] : llvm::enumerate(widths)) {
          Value vec = spec.kind == PoolKind::Average
                          ? divideByCount(kb, accs[i], count)
                          : accs[i];
          storeChannels(kb, spec.epilogue, vec, width, out, n, col, spec.c);
          col = kb.add(col, kb.idx(width));
        }
      });
}

void emitGlobalPool(KernelBuilder &kb, const GlobalPoolSpec &spec) {
  constexpr int64_t perTask = globalPoolChannelsPerTask;
  int64_t whole = spec.c / perTask, rest = spec.c % perTask;
  int64_t blocks = whole + (rest != 0);
  Value n = kb.divFloor(kb.task(), kb.idx(blocks)),
        block = kb.rem(kb.task(), kb.idx(blocks));
  Value base = kb.mul(block, perTask);
  if (rest == 0)
    return emitGlobalBlock(kb, spec, n, base, perTask);
  if (whole == 0)
    return emitGlobalBlock(kb, spec, n, kb.idx(0), rest);
  kb.ifThen(
      kb.less(block, kb.idx(whole)),
      [&] { emitGlobalBlock(kb, spec, n, base, perTask); },
      [&] { emitGlobalBlock(kb, spec, n, base, rest); });
}

} // namespace pare::cpu
