//===- ConvDepthwise.cpp - Depthwise convolution, NHWC f32 ----------------===//
#include "backends/cpu/kernels/ConvDepthwise.h"

using namespace mlir;

namespace pare::cpu {

void packDepthwiseF32(llvm::ArrayRef<float> filters, int64_t c, int64_t kernelH,
                      int64_t kernelW, llvm::MutableArrayRef<float> packed) {
  int64_t taps = kernelH * kernelW;
  assert(int64_t(filters.size()) == c * taps &&
         packed.size() == filters.size());
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t ch = 0; ch < c; ++ch)
      packed[tap * c + ch] = filters[ch * taps + tap];
}

int64_t depthwiseLinesPerTask(const DepthwiseSpec &spec) {
  int64_t macsPerLine = (spec.ow.isFixed() ? spec.ow.fixed : 64) * spec.c *
                        spec.kernelH * spec.kernelW;
  constexpr int64_t macsPerTask = 1 << 18;
  return std::clamp<int64_t>(macsPerTask / std::max<int64_t>(macsPerLine, 1), 1,
                             64);
}

namespace {
/// Emission of one output line; values that are fixed for it.
struct LineEmitter {
  KernelBuilder &kb;
  const DepthwiseSpec &spec;
  Value in, weights, out;
  Value w, image, line, ow; ///< image: n * H
  Window wy;

  VectorType type(unsigned width) { return kb.vecType(width, kb.getF32Type()); }
  Value multiplyAdd(Value a, Value b, Value c) { return kb.fma(a, b, c); }
  /// Element offset of the input pixel (line `ky` of the window, `ix`).
  Value pixelOffset(Value ky, Value ix) {
    Value iy = kb.add(wy.start, kb.mul(ky, spec.dilationH));
    return kb.mul(kb.add(kb.mul(kb.add(image, iy), w), ix), spec.c);
  }
  Value tapOffset(Value ky, Value kx) {
    return kb.mul(kb.add(kb.mul(ky, spec.kernelW), kx), spec.c);
  }

  void border(Value ox);
  void interior(Value ox, unsigned pixels, Value col, unsigned width);
};
} // namespace

/// One pixel with a window that is cut off: loops over the taps inside.
void LineEmitter::border(Value ox) {
  Window wx = clipWindow(kb, ox, spec.strideW, spec.padL, spec.dilationW,
                         spec.kernelW, w);
  Value row = kb.add(kb.mul(line, ow), ox);
  forEachChannelGroup(
      kb, spec.c, kb.isa().f32Lanes, 4,
      [&](Value col, llvm::ArrayRef<unsigned> widths) {
        SmallVector<Value> zero;
        for (unsigned width : widths)
          zero.push_back(kb.constF32(0, width));
        auto accs =
            kb.loop(wy.lo, wy.hi, 1, zero, [&](Value ky, ValueRange outer) {
              return kb.loop(
                  wx.lo, wx.hi, 1, outer, [&](Value kx, ValueRange accs) {
                    Value x = kb.add(
                        pixelOffset(
                            ky, kb.add(wx.start, kb.mul(kx, spec.dilationW))),
                        col);
                    Value f = kb.add(tapOffset(ky, kx), col);
                    SmallVector<Value> next;
                    for (auto [acc, width] : llvm::zip(accs, widths)) {
                      next.push_back(multiplyAdd(
                          kb.loadVec(type(width), in, x),
                          kb.loadVec(type(width), weights, f), acc));
                      x = kb.add(x, kb.idx(width));
                      f = kb.add(f, kb.idx(width));
                    }
                    return next;
                  });
            });
        for (auto [acc, width] : llvm::zip(accs, widths)) {
          storeChannels(kb, spec.epilogue, acc, width, out, row, col, spec.c);
          col = kb.add(col, kb.idx(width));
        }
      });
}

/// `pixels` neighbours whose windows are inside; each input vector is loaded
/// once per line of the window and used by all outputs that it reaches.
void LineEmitter::interior(Value ox, unsigned pixels, Value col,
                           unsigned width) {
  Value ix = kb.sub(kb.mul(ox, spec.strideW), kb.idx(spec.padL));
  SmallVector<Value> zero(pixels, kb.constF32(0, width));
  auto accs = kb.loop(wy.lo, wy.hi, 1, zero, [&](Value ky, ValueRange carried) {
    Value x = kb.add(pixelOffset(ky, ix), col);
    Value f = kb.add(tapOffset(ky, kb.idx(0)), col);
    SmallVector<Value> taps;
    for (int64_t kx = 0; kx < spec.kernelW; ++kx)
      taps.push_back(
          kb.loadVec(type(width), weights, kb.add(f, kb.idx(kx * spec.c))));
    SmallVector<Value> accs(carried);
    int64_t reach =
        (pixels - 1) * spec.strideW + (spec.kernelW - 1) * spec.dilationW;
    for (int64_t position = 0; position <= reach; ++position) {
      Value input;
      for (unsigned pixel = 0; pixel < pixels; ++pixel) {
        int64_t distance = position - pixel * spec.strideW;
        if (distance < 0 || distance % spec.dilationW ||
            distance / spec.dilationW >= spec.kernelW)
          continue;
        if (!input)
          input =
              kb.loadVec(type(width), in, kb.add(x, kb.idx(position * spec.c)));
        accs[pixel] =
            multiplyAdd(input, taps[distance / spec.dilationW], accs[pixel]);
      }
    }
    return accs;
  });
  Value row = kb.add(kb.mul(line, ow), ox);
  for (unsigned pixel = 0; pixel < pixels; ++pixel)
    storeChannels(kb, spec.epilogue, accs[pixel], width, out,
                  kb.add(row, kb.idx(pixel)), col, spec.c);
}

void emitDepthwise(KernelBuilder &kb, const DepthwiseSpec &spec) {
  Value h = kb.extent(spec.h), w = kb.extent(spec.w), oh = kb.extent(spec.oh),
        ow = kb.extent(spec.ow);
  Value in = kb.ptr(spec.in), weights = kb.ptr(spec.weights),
        out = kb.ptr(spec.out);
  auto [xBegin, xEnd] = interiorRange(kb, spec.strideW, spec.padL,
                                      spec.dilationW, spec.kernelW, w, ow);
  auto [first, last] = taskRange(kb, kb.task(), depthwiseLinesPerTask(spec),
                                 kb.mul(kb.extent(spec.n), oh));

  kb.loop(first, last, 1, [&, xBegin = xBegin, xEnd = xEnd](Value line) {
    Window wy = clipWindow(kb, kb.rem(line, oh), spec.strideH, spec.padT,
                           spec.dilationH, spec.kernelH, h);
    LineEmitter emitter{
        kb,   spec, in, weights, out, w, kb.mul(kb.divFloor(line, oh), h),
        line, ow,   wy};
    kb.loop(kb.idx(0), xBegin, 1, [&](Value ox) { emitter.border(ox); });
    kb.loop(xEnd, ow, 1, [&](Value ox) { emitter.border(ox); });
    forEachChannelGroup(
        kb, spec.c, kb.isa().f32Lanes, 1,
        [&](Value col, llvm::ArrayRef<unsigned> widths) {
          Value done = xBegin;
          for (unsigned pixels : {8, 4, 1}) {
            Value count = kb.sub(xEnd, done);
            Value end = kb.add(
                done, kb.mul(kb.divFloor(count, kb.idx(pixels)), pixels));
            kb.loop(done, end, pixels, [&](Value ox) {
              emitter.interior(ox, pixels, col, widths[0]);
            });
            done = end;
          }
        });
  });
}

} // namespace pare::cpu
