//===- ConvDepthwise.cpp - Depthwise convolution, NHWC f32 ----------------===//
#include "backends/cpu/kernels/ConvDepthwise.h"
#include <limits>

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

/// Larger windows are looped over.
static constexpr int64_t maxUnrolledTaps = 25;

namespace {
/// Emission of one output line; values that are fixed for it.
struct LineEmitter {
  KernelBuilder &kb;
  const DepthwiseSpec &spec;
  Value in, weights, out;
  Value w, image, line, ow; ///< image: n * H
  Window wy;
  Value xBegin, xEnd; ///< outputs whose windows are inside in x
  bool wholeHeight;   ///< no line of the window is cut off: unroll them

  /// Element offset of the input pixel (line `ky` of the window, `ix`).
  Value pixelOffset(Value ky, Value ix) {
    Value iy = kb.add(wy.start, kb.mul(ky, spec.dilationH));
    return kb.mul(kb.add(kb.mul(kb.add(image, iy), w), ix), spec.c);
  }
  Value tapOffset(Value ky, Value kx) {
    return kb.mul(kb.add(kb.mul(ky, spec.kernelW), kx), spec.c);
  }

  void lineOfAnyWidth();
  void lineOfFixedWidth();

private:
  void pixel(Value ox);
  /// Input positions of a block of output pixels that exist, counted from the
  /// first one that its windows reach.
  struct Reach {
    int64_t begin = 0, end = std::numeric_limits<int64_t>::max();
  };
  void pixelBlock(Value ox, unsigned pixels, Reach reach);
  void pixelBlock(Value ox, unsigned pixels, Reach reach, Value col,
                  unsigned width);
};
} // namespace

/// One output pixel: loops over the taps inside the input.
void LineEmitter::pixel(Value ox) {
  Window wx = clipWindow(kb, ox, spec.strideW, spec.padL, spec.dilationW,
                         spec.kernelW, w);
  Value row = kb.add(kb.mul(line, ow), ox);
  auto emitGroup = [&](Value col, llvm::ArrayRef<unsigned> widths) {
    auto addTap = [&](Value ky, Value kx, ValueRange sums) {
      Value ix = kb.add(wx.start, kb.mul(kx, spec.dilationW));
      Value x = kb.add(pixelOffset(ky, ix), col);
      Value f = kb.add(tapOffset(ky, kx), col);
      SmallVector<Value> next;
      for (auto [sum, width] : llvm::zip(sums, widths)) {
        VectorType type = kb.vecF32(width);
        next.push_back(
            kb.fma(kb.loadVec(type, in, x), kb.loadVec(type, weights, f), sum));
        x = kb.add(x, width);
        f = kb.add(f, width);
      }
      return next;
    };
    SmallVector<Value> sums;
    for (unsigned width : widths)
      sums.push_back(kb.constF32(0, width));
    sums = kb.loop(wy.lo, wy.hi, 1, sums, [&](Value ky, ValueRange carried) {
      return kb.loop(wx.lo, wx.hi, 1, carried, [&](Value kx, ValueRange inner) {
        return addTap(ky, kx, inner);
      });
    });
    for (auto [sum, width] : llvm::zip(sums, widths)) {
      storeChannels(kb, spec.epilogue, sum, width, out, row, col, spec.c);
      col = kb.add(col, width);
    }
  };
  forEachChannelGroup(kb, spec.c, kb.isa().f32Lanes, 4, emitGroup);
}

/// `pixels` neighbours; each input vector is loaded once per line of the window
/// and used by all outputs that it reaches.
void LineEmitter::pixelBlock(Value ox, unsigned pixels, Reach reach, Value col,
                             unsigned width) {
  Value ix = kb.sub(kb.mul(ox, spec.strideW), kb.idx(spec.padL));
  auto addLine = [&](Value ky, ValueRange carried) {
    Type elem = kb.getF32Type();
    Value x = kb.gep(elem, in, kb.add(pixelOffset(ky, ix), col));
    Value f = kb.gep(elem, weights, kb.add(tapOffset(ky, kb.idx(0)), col));
    SmallVector<Value> taps;
    for (int64_t kx = 0; kx < spec.kernelW; ++kx)
      taps.push_back(kb.loadVec(kb.vecF32(width), f, kb.idx(kx * spec.c)));
    SmallVector<Value> accs(carried);
    int64_t positions =
        (pixels - 1) * spec.strideW + (spec.kernelW - 1) * spec.dilationW + 1;
    for (int64_t position = reach.begin;
         position < std::min(positions, reach.end); ++position) {
      Value input;
      for (unsigned pixel = 0; pixel < pixels; ++pixel) {
        int64_t distance = position - pixel * spec.strideW;
        if (distance < 0 || distance % spec.dilationW ||
            distance / spec.dilationW >= spec.kernelW)
          continue;
        if (!input)
          input = kb.loadVec(kb.vecF32(width), x, kb.idx(position * spec.c));
        accs[pixel] =
            kb.fma(input, taps[distance / spec.dilationW], accs[pixel]);
      }
    }
    return accs;
  };

  SmallVector<Value> accs(pixels, kb.constF32(0, width));
  if (wholeHeight)
    for (int64_t ky = 0; ky < spec.kernelH; ++ky)
      accs = addLine(kb.idx(ky), accs);
  else
    accs = kb.loop(wy.lo, wy.hi, 1, accs, addLine);
  Value row = kb.add(kb.mul(line, ow), ox);
  for (unsigned pixel = 0; pixel < pixels; ++pixel)
    storeChannels(kb, spec.epilogue, accs[pixel], width, out,
                  kb.add(row, kb.idx(pixel)), col, spec.c);
}

void LineEmitter::pixelBlock(Value ox, unsigned pixels, Reach reach) {
  forEachChannelGroup(kb, spec.c, kb.isa().f32Lanes, 1,
                      [&](Value col, llvm::ArrayRef<unsigned> widths) {
                        pixelBlock(ox, pixels, reach, col, widths[0]);
                      });
}

/// The interior in blocks; a single pixel has too few independent sums for one.
void LineEmitter::lineOfAnyWidth() {
  kb.loop(kb.idx(0), xBegin, 1, [&](Value ox) { pixel(ox); });
  Value begin = xBegin;
  for (unsigned pixels : {8, 4, 2}) {
    Value blocks = kb.divFloor(kb.sub(xEnd, begin), pixels);
    Value stop = kb.add(begin, kb.mul(blocks, pixels));
    kb.loop(begin, stop, pixels, [&](Value ox) { pixelBlock(ox, pixels, {}); });
    begin = stop;
  }
  kb.loop(begin, ow, 1, [&](Value ox) { pixel(ox); });
}

/// Borders are blocks too: what their windows lack is known.
void LineEmitter::lineOfFixedWidth() {
  constexpr int64_t most = 8;
  int64_t width = spec.w.fixed, outputs = spec.ow.fixed;
  int64_t interiorBegin = *KernelBuilder::constant(xBegin);
  int64_t interiorEnd = *KernelBuilder::constant(xEnd);
  int64_t leftEnd =
      std::min<int64_t>(llvm::alignTo(interiorBegin, most), outputs);
  int64_t rightBegin =
      leftEnd + std::max<int64_t>(interiorEnd - leftEnd, 0) / most * most;
  bool unrolls = wholeHeight;
  auto blocks = [&](int64_t begin, int64_t end) {
    for (int64_t ox = begin; ox < end;) {
      int64_t rest = end - ox;
      int64_t pixels = rest > most ? std::min(most, (rest + 1) / 2) : rest;
      int64_t ix = ox * spec.strideW - spec.padL;
      pixelBlock(kb.idx(ox), pixels,
                 {std::max<int64_t>(-ix, 0), std::max<int64_t>(width - ix, 0)});
      ox += pixels;
    }
  };
  // Code size: borders of a long line are not worth unrolling.
  wholeHeight = unrolls && rightBegin - leftEnd <= most;
  blocks(0, leftEnd);
  blocks(rightBegin, outputs);
  wholeHeight = unrolls;
  kb.loop(kb.idx(leftEnd), kb.idx(rightBegin), most,
          [&](Value ox) { pixelBlock(ox, most, {}); });
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

  bool fixedWidth = spec.w.isFixed() && spec.ow.isFixed();

  kb.loop(first, last, 1, [&, xBegin = xBegin, xEnd = xEnd](Value line) {
    Window wy = clipWindow(kb, kb.rem(line, oh), spec.strideH, spec.padT,
                           spec.dilationH, spec.kernelH, h);
    LineEmitter emitter{
        kb,   spec, in, weights, out,  w, kb.mul(kb.divFloor(line, oh), h),
        line, ow,   wy, xBegin,  xEnd, {}};
    auto emit = [&](bool wholeHeight) {
      emitter.wholeHeight = wholeHeight;
      fixedWidth ? emitter.lineOfFixedWidth() : emitter.lineOfAnyWidth();
    };
    if (spec.kernelH == 1 || spec.kernelH * spec.kernelW > maxUnrolledTaps)
      return emit(false);
    // Most lines of the output have windows that are not cut off.
    Value whole = kb.createOrFold<arith::AndIOp>(
        compare(kb, arith::CmpIPredicate::eq, wy.lo, kb.idx(0)),
        compare(kb, arith::CmpIPredicate::eq, wy.hi, kb.idx(spec.kernelH)));
    kb.ifThen(whole, [&] { emit(true); }, [&] { emit(false); });
  });
}

} // namespace pare::cpu
