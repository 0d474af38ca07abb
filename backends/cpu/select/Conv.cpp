//===- Conv.cpp - Convolutions, pooling, resizing
//----------------------------===//
#include "backends/cpu/kernels/Conv.h"
#include "backends/cpu/kernels/ConvDepthwise.h"
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/Pack.h"
#include "backends/cpu/kernels/Pool.h"
#include "backends/cpu/kernels/Resize.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

namespace {
/// A spatial attribute as (H, W): one-dimensional ops have H = 1.
struct Pair {
  int64_t h, w;
};
Pair pairOf(ArrayRef<int64_t> values, int64_t otherwise) {
  return values.size() == 1 ? Pair{otherwise, values[0]}
                            : Pair{values[0], values[1]};
}
/// The begin paddings of a pads attribute.
Pair padsBegin(ArrayRef<int64_t> pads) {
  return pairOf(pads.take_front(pads.size() / 2), 0);
}
Pair padsEnd(ArrayRef<int64_t> pads) {
  return pairOf(pads.drop_front(pads.size() / 2), 0);
}

/// [N, spatial…, C] as N, H, W, C.
struct Image {
  nn::Dim n, h, w;
  int64_t c;
  explicit Image(Value value) {
    nn::Shape shape = shapeOf(value);
    n = shape.front();
    h = shape.size() == 4 ? shape[1] : nn::constant(1, value.getContext());
    w = shape[shape.size() - 2];
    c = nn::getConstant(shape.back()).value_or(-1);
  }
};

template <typename Spec>
void setExtents(Spec &spec, const Image &in, const Image &out,
                Selector &selector, KernelCall &call) {
  spec.n = selector.extent(call, in.n);
  spec.h = selector.extent(call, in.h);
  spec.w = selector.extent(call, in.w);
  spec.oh = selector.extent(call, out.h);
  spec.ow = selector.extent(call, out.w);
  spec.c = in.c;
}

/// Kernel, strides, begin paddings and dilations of a convolution.
template <typename Spec, typename Op> void setWindow(Spec &spec, Op conv) {
  nn::Shape filter = shapeOf(conv.getFilter());
  spec.kernelH = filter.size() == 4 ? *nn::getConstant(filter[1]) : 1;
  spec.kernelW = *nn::getConstant(filter[filter.size() - 2]);
  Pair stride = pairOf(conv.getStrides(), 1), pad = padsBegin(conv.getPads()),
       dilation = pairOf(conv.getDilations(), 1);
  spec.strideH = stride.h, spec.strideW = stride.w;
  spec.padT = pad.h, spec.padL = pad.w;
  spec.dilationH = dilation.h, spec.dilationW = dilation.w;
}

std::string text(const Image &in, const Image &out, KernelCall &call,
                 Selector &selector) {
  std::string result;
  for (nn::Dim dim : {in.n, in.h, in.w, out.h, out.w})
    result += selector.extent(call, dim).str() + ",";
  return result + "c" + std::to_string(in.c) + "o" + std::to_string(out.c) +
         ";";
}

std::string text(Operation *anchor) {
  std::string result;
  llvm::raw_string_ostream(result)
      << anchor->getName() << anchor->getPropertiesAsAttribute();
  return result;
}

/// A tail with one result as a kernel's epilogue.
Epilogue bindTail(const Tail &tail) {
  return [&tail](KernelBuilder &b, Value vec, const GemmAt &at) {
    return tail.emit(b, vec, at.row, at.col, at.count).front();
  };
}
} // namespace

static std::optional<std::string> whyNotWindow(Operation *op, Operation *anchor,
                                               Value x) {
  if (!getElementTypeOrSelf(x.getType()).isF32())
    return "only f32 images have a kernel";
  if (size_t rank = shapeOf(x).size(); rank != 3 && rank != 4)
    return "only one and two spatial axes have a kernel";
  if (Image(x).c < 0)
    return "the number of channels must be known";
  if (op->getNumResults() != 1)
    return "groups of a convolution have one result";
  return Tail::whyNot(op, anchor);
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

static bool isPointwise(nn::ConvOp conv) {
  auto all = [](ArrayRef<int64_t> values, int64_t v) {
    return llvm::all_of(values, [v](int64_t x) { return x == v; });
  };
  nn::Shape filter = shapeOf(conv.getFilter());
  return conv.getGroups() == 1 && all(conv.getStrides(), 1) &&
         all(conv.getPads(), 0) &&
         llvm::all_of(ArrayRef(filter).drop_front().drop_back(),
                      [](nn::Dim d) { return nn::isConstant(d, 1); });
}

static bool isDepthwise(nn::ConvOp conv) {
  nn::Shape filter = shapeOf(conv.getFilter());
  return conv.getGroups() > 1 && nn::isConstant(filter.back(), 1) &&
         nn::isConstant(filter.front(), conv.getGroups());
}

static std::optional<std::string> whyNotConv(Operation *op, const Isa &) {
  auto conv = findAnchor<nn::ConvOp>(op);
  if (!conv || getGroup(op).front() != conv.getOperation())
    return "";
  if (!isConstant(conv.getFilter()))
    return "convolution filters must be weights";
  return whyNotWindow(op, conv, conv.getX());
}

/// The filter's floats packed by `pack`, as an operand named after the weight.
template <typename PackFn>
static Operand packFilter(Value filter, Selector &selector, StringRef layout,
                          uint64_t floats, PackFn pack) {
  nn::WeightOp symbol = nn::getWeight(filter);
  TensorData data = *selector.constantData(filter);
  std::string name = symbol ? symbol.getSymName().str() : "";
  std::string key =
      layout.str() +
      (symbol ? name : std::string(data.bytes.begin(), data.bytes.end()));
  return selector.pack(
      {key, name, floats * 4, [data, pack](MutableArrayRef<uint8_t> out) {
         pack(data.toF32(),
              MutableArrayRef(reinterpret_cast<float *>(out.data()),
                              out.size() / 4));
       }});
}

/// A 1x1 convolution: a matrix product of pixels and channels.
static void buildPointwise(Operation *op, nn::ConvOp conv, KernelCall &call,
                           Selector &selector) {
  MLIRContext *context = op->getContext();
  nn::Shape out = shapeOf(conv.getResult());
  int64_t k = *nn::getConstant(shapeOf(conv.getFilter()).back()),
          n = *nn::getConstant(out.back());
  nn::Dim m = nn::product(ArrayRef(out).drop_back(), context);
  call.inputs.push_back(
      packFilter(conv.getFilter(), selector, "1x1:", packedSizeF32(k, n),
                 [k, n](ArrayRef<float> filter, MutableArrayRef<float> packed) {
                   packF32(filter.data(), k, n, 1, k, packed.data());
                 }));
  GemmSpec spec;
  spec.m = selector.extent(call, m);
  spec.n = spec.ldc = Extent::of(n);
  spec.k = spec.lda = Extent::of(k);
  Tail tail(op, conv, selector, call);
  unsigned firstResult = call.inputs.size();
  addOutputs(call, op);
  spec.store = [&](KernelBuilder &b, Value vec, const GemmAt &at) {
    tail.emitAndStore(b, vec, at.row, at.col, at.count, firstResult);
  };
  GemmTiling tiling = gemmTiling(spec, selector.isa());
  call.grid = nn::constant(n, context).ceilDiv(tiling.colsPerTask) *
              m.ceilDiv(tiling.rowsPerTask);
  call.scratchBytes = nn::constant(tiling.scratchBytesPerK * k, context);
  std::string signature = "1x1 " + spec.m.str() + " " + spec.n.str() + " " +
                          spec.k.str() + tail.signature();
  call.kernel = selector.kernel(call.op, signature,
                                [&](KernelBuilder &b) { emitGemm(b, spec); });
}

static void buildDepthwise(Operation *op, nn::ConvOp conv, KernelCall &call,
                           Selector &selector) {
  Image in(conv.getX()), out(conv.getResult());
  DepthwiseSpec spec;
  setExtents(spec, in, out, selector, call);
  setWindow(spec, conv);
  call.inputs.push_back(packFilter(
      conv.getFilter(), selector,
      "depthwise:", spec.kernelH * spec.kernelW * spec.c,
      [spec](ArrayRef<float> filter, MutableArrayRef<float> packed) {
        packDepthwiseF32(filter, spec.c, spec.kernelH, spec.kernelW, packed);
      }));
  Tail tail(op, conv, selector, call);
  spec.out = call.inputs.size();
  addOutputs(call, op);
  spec.epilogue = bindTail(tail);
  nn::Dim lines = in.n * out.h;
  call.grid = lines.ceilDiv(depthwiseLinesPerTask(spec));
  std::string signature = text(in, out, call, selector) + text(conv) +
                          std::to_string(spec.kernelH) + "x" +
                          std::to_string(spec.kernelW) + tail.signature();
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitDepthwise(b, spec); });
}

/// Tasks of a tiling as an expression.
static nn::Dim gridOf(const ConvTiling &tiling, const Image &out) {
  nn::Dim rows =
      out.n * out.h.ceilDiv(tiling.phaseH) * out.w.ceilDiv(tiling.phaseW);
  return rows.ceilDiv(tiling.rowsPerTask) *
         (tiling.phaseH * tiling.phaseW * tiling.columnTasks);
}

template <typename Spec, typename Op>
static Spec makeConvSpec(Op conv, const Image &in, const Image &out,
                         KernelCall &call, Selector &selector) {
  Spec spec;
  setExtents(spec, in, out, selector, call);
  setWindow(spec, conv);
  spec.o = out.c;
  spec.groups = conv.getGroups();
  return spec;
}

static void buildGeneral(Operation *op, nn::ConvOp conv, KernelCall &call,
                         Selector &selector) {
  MLIRContext *context = op->getContext();
  Image in(conv.getX()), out(conv.getResult());
  ConvSpec spec = makeConvSpec<ConvSpec>(conv, in, out, call, selector);
  uint64_t floats = packedConvSize(spec);
  std::string layout = "conv" + std::to_string(spec.groups) + ":" + text(conv);
  call.inputs.push_back(
      packFilter(conv.getFilter(), selector, layout, floats,
                 [spec](ArrayRef<float> filter, MutableArrayRef<float> packed) {
                   llvm::copy(packConvF32(spec, filter), packed.begin());
                 }));
  Tail tail(op, conv, selector, call);
  spec.out = call.inputs.size();
  addOutputs(call, op);
  spec.epilogue = bindTail(tail);
  ConvTiling tiling = convTiling(spec, selector.isa());
  call.grid = gridOf(tiling, out);
  call.scratchBytes = nn::constant(tiling.scratchBytes, context);
  std::string signature = text(in, out, call, selector) + text(conv) +
                          std::to_string(spec.kernelH) + "x" +
                          std::to_string(spec.kernelW) + tail.signature();
  call.kernel = selector.kernel(call.op, signature,
                                [&](KernelBuilder &b) { emitConv(b, spec); });
}

//===----------------------------------------------------------------------===//
// int8
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotInt8(Operation *op, const Isa &) {
  auto conv = findAnchor<nn::ConvOp>(op);
  if (!conv)
    return "";
  auto x = conv.getX().getDefiningOp<nn::DequantizeOp>(),
       filter = conv.getFilter().getDefiningOp<nn::DequantizeOp>();
  if (!x || !filter || x->getParentOp() != op || filter->getParentOp() != op)
    return "";
  if (isDepthwise(conv))
    return "int8 depthwise convolutions have no kernel";
  if (!isConstant(filter.getCodes()) || !isConstant(filter.getScale()) ||
      filter.getZeroPoint() || !hasPlainCodes(x))
    return "int8 convolutions need constant filters without zero points";
  if (!getLiteral(nn::getOuterValue(x.getScale())))
    return "int8 convolutions need one constant activation scale";
  return whyNotWindow(op, conv, conv.getX());
}

static llvm::Error buildInt8(Operation *op, Selector &selector) {
  MLIRContext *context = op->getContext();
  auto conv = findAnchor<nn::ConvOp>(op);
  auto x = conv.getX().getDefiningOp<nn::DequantizeOp>(),
       filter = conv.getFilter().getDefiningOp<nn::DequantizeOp>();
  KernelCall call = beginCall(op, " int8");
  Image in(conv.getX()), out(conv.getResult());
  auto spec = makeConvSpec<ConvSpec>(conv, in, out, call, selector);
  spec.int8 = true;
  TensorData codes = *selector.constantData(filter.getCodes()),
             scales = *selector.constantData(filter.getScale());
  float inputScale = *getLiteral(nn::getOuterValue(x.getScale()));
  nn::WeightOp symbol = nn::getWeight(filter.getCodes());
  std::string name = symbol ? symbol.getSymName().str() : "",
              source = symbol ? symbol.getSource().value_or(name).str() : "",
              key = symbol
                        ? name
                        : std::string(codes.bytes.begin(), codes.bytes.end());
  key += text(conv);
  auto packed = [codes, spec] {
    return packConvS8(
        spec, ArrayRef(reinterpret_cast<const int8_t *>(codes.bytes.data()),
                       codes.bytes.size()));
  };
  call.inputs.push_back(selector.operand(nn::getOuterValue(x.getCodes())));
  call.inputs.push_back(selector.pack(
      {"convs8:" + key, source, uint64_t(packedConvSize(spec)),
       [packed](MutableArrayRef<uint8_t> bytes) {
         llvm::copy(packed().weights, reinterpret_cast<int8_t *>(bytes.data()));
       }}));
  std::string scaleKey;
  llvm::raw_string_ostream(scaleKey)
      << "convscales:" << llvm::format("%a", double(inputScale)) << key;
  call.inputs.push_back(selector.pack(
      {scaleKey, source, uint64_t(spec.o) * 4,
       [scales, inputScale, spec](MutableArrayRef<uint8_t> bytes) {
         std::vector<float> values = scales.toF32();
         for (int64_t o = 0; o < spec.o; ++o)
           reinterpret_cast<float *>(bytes.data())[o] =
               inputScale * values[values.size() == 1 ? 0 : o];
       }}));
  spec.scales = 2;
  spec.compensation = 2;
  if (selector.isa().codeStorage() == CodeStorage::U8Plus128) {
    spec.compensation = call.inputs.size();
    call.inputs.push_back(
        selector.pack({"convcompensation:" + key, source,
                       uint64_t(packedCompensationSize(spec)) * 4,
                       [packed](MutableArrayRef<uint8_t> bytes) {
                         llvm::copy(packed().compensation,
                                    reinterpret_cast<int32_t *>(bytes.data()));
                       }}));
  }
  Tail tail(op, conv, selector, call);
  spec.out = call.inputs.size();
  addOutputs(call, op);
  spec.epilogue = bindTail(tail);
  ConvTiling tiling = convTiling(spec, selector.isa());
  call.grid = gridOf(tiling, out);
  call.scratchBytes = nn::constant(tiling.scratchBytes, context);
  std::string signature = "s8" + text(in, out, call, selector) + text(conv) +
                          std::to_string(spec.kernelH) + "x" +
                          std::to_string(spec.kernelW) + tail.signature();
  call.kernel = selector.kernel(call.op, signature,
                                [&](KernelBuilder &b) { emitConv(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

static llvm::Error buildConv(Operation *op, Selector &selector) {
  auto conv = findAnchor<nn::ConvOp>(op);
  KernelCall call = beginCall(op);
  call.inputs.push_back(selector.operand(conv.getX()));
  if (isPointwise(conv))
    buildPointwise(op, conv, call, selector);
  else if (isDepthwise(conv))
    buildDepthwise(op, conv, call, selector);
  else
    buildGeneral(op, conv, call, selector);
  selector.add(std::move(call));
  return llvm::Error::success();
}

static std::optional<std::string> whyNotTranspose(Operation *op, const Isa &) {
  auto conv = findAnchor<nn::ConvTransposeOp>(op);
  if (!conv || getGroup(op).front() != conv.getOperation())
    return "";
  if (!isConstant(conv.getFilter()))
    return "convolution filters must be weights";
  return whyNotWindow(op, conv, conv.getX());
}

static llvm::Error buildTranspose(Operation *op, Selector &selector) {
  auto conv = findAnchor<nn::ConvTransposeOp>(op);
  KernelCall call = beginCall(op);
  Image in(conv.getX()), out(conv.getResult());
  call.inputs.push_back(selector.operand(conv.getX()));
  auto spec = makeConvSpec<ConvTransposeSpec>(conv, in, out, call, selector);
  uint64_t floats = packedConvSize(spec);
  call.inputs.push_back(packFilter(
      conv.getFilter(), selector, "convt:" + text(conv), floats,
      [spec](ArrayRef<float> filter, MutableArrayRef<float> packed) {
        llvm::copy(packConvTransposeF32(spec, filter), packed.begin());
      }));
  Tail tail(op, conv, selector, call);
  spec.out = call.inputs.size();
  addOutputs(call, op);
  spec.epilogue = bindTail(tail);
  ConvTiling tiling = convTiling(spec, selector.isa());
  call.grid = gridOf(tiling, out);
  call.scratchBytes = nn::constant(tiling.scratchBytes, op->getContext());
  std::string signature = text(in, out, call, selector) + text(conv) +
                          std::to_string(spec.kernelH) + "x" +
                          std::to_string(spec.kernelW) + tail.signature();
  call.kernel = selector.kernel(call.op, signature, [&](KernelBuilder &b) {
    emitConvTranspose(b, spec);
  });
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Pooling and resizing
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotPool(Operation *op, const Isa &) {
  auto pool = findAnchor<nn::PoolOp>(op);
  return pool && getGroup(op).front() == pool.getOperation()
             ? whyNotWindow(op, pool, pool.getX())
             : std::optional<std::string>("");
}

static llvm::Error buildPool(Operation *op, Selector &selector) {
  auto pool = findAnchor<nn::PoolOp>(op);
  KernelCall call = beginCall(op);
  Image in(pool.getX()), out(pool.getResult());
  call.inputs.push_back(selector.operand(pool.getX()));
  PoolSpec spec;
  setExtents(spec, in, out, selector, call);
  spec.kind =
      pool.getKind() == nn::PoolKind::max ? PoolKind::Max : PoolKind::Average;
  Pair kernel = pairOf(pool.getKernel(), 1),
       stride = pairOf(pool.getStrides(), 1),
       dilation = pairOf(pool.getDilations(), 1);
  Pair begin = padsBegin(pool.getPads()), end = padsEnd(pool.getPads());
  spec.kernelH = kernel.h, spec.kernelW = kernel.w;
  spec.strideH = stride.h, spec.strideW = stride.w;
  spec.dilationH = dilation.h, spec.dilationW = dilation.w;
  spec.padT = begin.h, spec.padL = begin.w, spec.padB = end.h,
  spec.padR = end.w;
  spec.countIncludePad = pool.getCountIncludePad();
  Tail tail(op, pool, selector, call);
  spec.out = call.inputs.size();
  addOutputs(call, op);
  spec.epilogue = bindTail(tail);
  nn::Dim lines = in.n * out.h;
  call.grid = lines.ceilDiv(poolLinesPerTask(spec));
  call.kernel = selector.kernel(
      call.op, text(in, out, call, selector) + text(pool) + tail.signature(),
      [&](KernelBuilder &b) { emitPool(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

static std::optional<std::string> whyNotResize(Operation *op, const Isa &) {
  auto resize = findAnchor<nn::ResizeOp>(op);
  return resize && getGroup(op).front() == resize.getOperation()
             ? whyNotWindow(op, resize, resize.getX())
             : std::optional<std::string>("");
}

static llvm::Error buildResize(Operation *op, Selector &selector) {
  auto resize = findAnchor<nn::ResizeOp>(op);
  KernelCall call = beginCall(op);
  Image in(resize.getX()), out(resize.getResult());
  call.inputs.push_back(selector.operand(resize.getX()));
  ResizeSpec spec;
  setExtents(spec, in, out, selector, call);
  switch (resize.getMode()) {
  case nn::ResizeMode::nearest:
    spec.mode = ResizeMode::Nearest;
    break;
  case nn::ResizeMode::linear:
    spec.mode = ResizeMode::Linear;
    break;
  case nn::ResizeMode::cubic:
    spec.mode = ResizeMode::Cubic;
    break;
  }
  switch (resize.getCoord()) {
  case nn::ResizeCoord::half_pixel:
    spec.coordinates = ResizeCoordinates::HalfPixel;
    break;
  case nn::ResizeCoord::pytorch_half_pixel:
    spec.coordinates = ResizeCoordinates::PytorchHalfPixel;
    break;
  case nn::ResizeCoord::align_corners:
    spec.coordinates = ResizeCoordinates::AlignCorners;
    break;
  case nn::ResizeCoord::asymmetric:
    spec.coordinates = ResizeCoordinates::Asymmetric;
    break;
  }
  switch (resize.getNearest()) {
  case nn::NearestMode::round_prefer_floor:
    spec.rounding = ResizeRounding::RoundPreferFloor;
    break;
  case nn::NearestMode::round_prefer_ceil:
    spec.rounding = ResizeRounding::RoundPreferCeil;
    break;
  case nn::NearestMode::floor:
    spec.rounding = ResizeRounding::Floor;
    break;
  case nn::NearestMode::ceil:
    spec.rounding = ResizeRounding::Ceil;
    break;
  }
  spec.cubicCoefficient = resize.getCubicCoeff().convertToFloat();
  if (std::optional<ArrayRef<float>> scales = resize.getScales()) {
    spec.scaleH = scales->size() == 2 ? (*scales)[0] : 1;
    spec.scaleW = scales->back();
  }
  Tail tail(op, resize, selector, call);
  spec.out = call.inputs.size();
  addOutputs(call, op);
  spec.epilogue = bindTail(tail);
  nn::Dim lines = in.n * out.h;
  call.grid = lines.ceilDiv(resizeLinesPerTask(spec));
  call.kernel = selector.kernel(
      call.op, text(in, out, call, selector) + text(resize) + tail.signature(),
      [&](KernelBuilder &b) { emitResize(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getConvEntries() {
  static const KernelEntry entries[] = {
      {"conv-int8", "generated", whyNotInt8, buildInt8},
      {"conv-f32", "generated", whyNotConv, buildConv},
      {"conv-transpose", "generated", whyNotTranspose, buildTranspose},
      {"pool", "generated", whyNotPool, buildPool},
      {"resize", "generated", whyNotResize, buildResize},
  };
  return entries;
}

} // namespace pare::cpu
