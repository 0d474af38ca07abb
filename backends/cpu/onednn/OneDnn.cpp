//===- OneDnn.cpp - oneDNN in the selection table -------------------------===//
#include "backends/cpu/onednn/OneDnn.h"
#include "backends/cpu/onednn/Epilogue.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

static bool isF32(Value value) {
  return getElementTypeOrSelf(value.getType()).isF32();
}

/// A call of the shim: `dims` of its kind follow those that all have.
static KernelCall beginShimCall(Operation *op, StringRef suffix,
                                const Epilogue &epilogue, int64_t flags,
                                int64_t zero, ArrayRef<nn::Dim> dims) {
  MLIRContext *context = op->getContext();
  KernelCall call = beginCall(op, suffix);
  call.provider = "onednn";
  call.dims = {
      nn::constant(flags | (epilogue.bias ? PARE_ONEDNN_BIAS : 0), context),
      nn::constant(epilogue.posts.size(), context),
      nn::constant(zero, context)};
  llvm::append_range(call.dims, dims);
  return call;
}

//===----------------------------------------------------------------------===//
// Products by a weight
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotProduct(Operation *op, const Isa &isa) {
  auto matmul = dyn_cast<nn::MatMulOp>(getGroup(op).front());
  if (!isa.isX86() || !matmul || !isF32(matmul.getLhs()) ||
      !isF32(matmul.getRhs()) || !isConstant(matmul.getRhs()) ||
      shapeOf(matmul.getRhs()).size() != 2)
    return "";
  if (nn::isBlockWeight(matmul.getRhs()))
    return "the weight is in blocks";
  std::string why;
  return matchEpilogue(op, matmul, why) ? std::nullopt : std::optional(why);
}

/// Rows of a task: at most 32, which fill oneDNN's tiles; of equal tasks, and
/// two for two threads, where the number of rows is known.
static int64_t chooseRows(nn::Dim m) {
  constexpr int64_t kRows = 32;
  int64_t rows = nn::getConstant(m).value_or(2 * kRows);
  if (rows <= kRows)
    return kRows / 2;
  return llvm::divideCeil(rows, llvm::divideCeil(rows, kRows));
}

static llvm::Error buildProduct(Operation *op, Selector &selector) {
  auto matmul = cast<nn::MatMulOp>(getGroup(op).front());
  std::string why;
  Epilogue epilogue = *matchEpilogue(op, matmul, why);
  MLIRContext *context = op->getContext();
  nn::Shape lhs = shapeOf(matmul.getLhs());
  nn::Dim m = nn::product(ArrayRef(lhs).drop_back(), context);
  int64_t rows = chooseRows(m);
  KernelCall call =
      beginShimCall(op, "", epilogue,
                    matmul.getTransposeRhs() ? PARE_ONEDNN_TRANSPOSED : 0, 0,
                    {m, shapeOf(matmul.getResult()).back(), lhs.back(),
                     nn::constant(rows, context)});
  call.kernel = "pare_onednn_product";
  call.state = "pare_onednn_product_state";
  call.inputs = {selector.operand(matmul.getLhs()),
                 selector.operand(matmul.getRhs())};
  epilogue.addTo(call, selector);
  addOutputs(call, op);
  call.grid = m.ceilDiv(rows);
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Convolutions
//===----------------------------------------------------------------------===//

/// What all convolutions must be: one or two spatial axes, known channels, and
/// groups that fill oneDNN's blocks of channels.
static std::optional<std::string> whyNotWindow(nn::ConvOp conv) {
  nn::Shape x = shapeOf(conv.getX()), filter = shapeOf(conv.getFilter());
  if ((x.size() != 3 && x.size() != 4) || !nn::getConstant(x.back()))
    return "";
  int64_t groups = conv.getGroups(), channels = *nn::getConstant(x.back()),
          outputs = *nn::getConstant(filter.front());
  bool isDepthwise = groups == channels && groups == outputs;
  constexpr int64_t kBlock = 16; // of AVX-512
  if (groups > 1 && !isDepthwise &&
      (channels / groups % kBlock != 0 || outputs / groups % kBlock != 0))
    return "its groups are no multiples of 16 channels";
  return std::nullopt;
}

static std::optional<std::string> whyNotConv(Operation *op, const Isa &isa) {
  auto conv = dyn_cast<nn::ConvOp>(getGroup(op).front());
  if (!isa.isX86() || !conv || !isF32(conv.getX()) ||
      !isConstant(conv.getFilter()))
    return "";
  if (std::optional<std::string> why = whyNotWindow(conv))
    return why;
  std::string why;
  return matchEpilogue(op, conv, why) ? std::nullopt : std::optional(why);
}

/// Tasks per image that the shim may use; it knows the sizes.
static constexpr int64_t kParts = 8;

static KernelCall beginConvCall(Operation *op, nn::ConvOp conv,
                                const Epilogue &epilogue, StringRef suffix,
                                int64_t flags, int64_t zero) {
  MLIRContext *context = op->getContext();
  nn::Dim one = nn::constant(1, context);
  nn::Shape x = shapeOf(conv.getX()), y = shapeOf(conv.getResult()),
            filter = shapeOf(conv.getFilter());
  bool isLine = x.size() == 3;
  /// Of H and W: one-dimensional convolutions have one line.
  auto pair = [&](ArrayRef<int64_t> values, int64_t axis, int64_t otherwise) {
    return nn::constant(
        isLine ? (axis == 0 ? otherwise : values[0]) : values[axis], context);
  };
  auto size = [&](const nn::Shape &shape, int64_t axis) {
    return isLine ? (axis == 0 ? one : shape[1]) : shape[1 + axis];
  };
  SmallVector<nn::Dim> dims(PARE_ONEDNN_CONV_DIMS);
  auto set = [&](PareOneDnnConvDim dim, nn::Dim value) { dims[dim] = value; };
  set(PARE_ONEDNN_IMAGES, x.front());
  set(PARE_ONEDNN_H, size(x, 0));
  set(PARE_ONEDNN_W, size(x, 1));
  set(PARE_ONEDNN_C, x.back());
  set(PARE_ONEDNN_OH, size(y, 0));
  set(PARE_ONEDNN_OW, size(y, 1));
  set(PARE_ONEDNN_O, y.back());
  set(PARE_ONEDNN_KH, size(filter, 0));
  set(PARE_ONEDNN_KW, size(filter, 1));
  set(PARE_ONEDNN_STRIDE_H, pair(conv.getStrides(), 0, 1));
  set(PARE_ONEDNN_STRIDE_W, pair(conv.getStrides(), 1, 1));
  set(PARE_ONEDNN_PAD_TOP, pair(conv.getPads(), 0, 0));
  set(PARE_ONEDNN_PAD_LEFT, pair(conv.getPads(), 1, 0));
  set(PARE_ONEDNN_DILATION_H, pair(conv.getDilations(), 0, 1));
  set(PARE_ONEDNN_DILATION_W, pair(conv.getDilations(), 1, 1));
  set(PARE_ONEDNN_GROUPS, nn::constant(conv.getGroups(), context));
  set(PARE_ONEDNN_PARTS, nn::constant(kParts, context));
  KernelCall call =
      beginShimCall(op, suffix, epilogue, flags, zero,
                    ArrayRef(dims).drop_front(PARE_ONEDNN_NUM_COMMON));
  call.kernel = "pare_onednn_conv";
  call.state = "pare_onednn_conv_state";
  call.grid = x.front() * kParts;
  return call;
}

static llvm::Error buildConv(Operation *op, Selector &selector) {
  auto conv = cast<nn::ConvOp>(getGroup(op).front());
  std::string why;
  Epilogue epilogue = *matchEpilogue(op, conv, why);
  KernelCall call = beginConvCall(op, conv, epilogue, "", 0, 0);
  call.inputs = {selector.operand(conv.getX()),
                 selector.operand(conv.getFilter())};
  epilogue.addTo(call, selector);
  addOutputs(call, op);
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// int8
//===----------------------------------------------------------------------===//

/// Without VNNI, oneDNN multiplies u8 by s8 pairs into 16 bits, which saturate:
/// sums are not the integers that the graph says.
static std::optional<std::string> whyInexact(const Isa &isa) {
  if (isa.dot == DotInstr::AvxVnni || isa.dot == DotInstr::Avx512Vnni)
    return std::nullopt;
  return "its int8 kernels saturate at 16 bits on a CPU without VNNI";
}

/// Never chosen. Sums must be scaled per row before a bias, and with such a
/// post-op oneDNN 3.2 has its reference implementation alone.
static std::optional<std::string> whyNotProductInt8(Operation *op,
                                                    const Isa &isa) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  if (!isa.isX86() || !matmul ||
      !matmul.getRhs().getDefiningOp<nn::DequantizeOp>())
    return "";
  if (std::optional<std::string> why = whyInexact(isa))
    return why;
  return "its int8 products have no scales per row";
}

/// The dequantized operands of a convolution whose codes are as the shim takes
/// them: u8 with one scale and zero code, by int8 with a scale per output.
namespace {
struct ConvCodes {
  nn::DequantizeOp x, filter;
  float scale;
  int64_t zero;
};
} // namespace

static std::optional<ConvCodes> matchCodes(Operation *op, nn::ConvOp conv) {
  auto x = conv.getX().getDefiningOp<nn::DequantizeOp>(),
       filter = conv.getFilter().getDefiningOp<nn::DequantizeOp>();
  if (!x || !filter || x->getParentOp() != op || filter->getParentOp() != op ||
      !isConstant(filter.getCodes()) || !isConstant(filter.getScale()) ||
      filter.getZeroPoint() || !x.getZeroPoint())
    return std::nullopt;
  auto hasElement = [](Value value, bool isUnsigned) {
    Type type = getElementTypeOrSelf(value.getType());
    return isUnsigned ? type.isUnsignedInteger(8) : type.isSignlessInteger(8);
  };
  std::optional<double> scale = getLiteral(nn::getOuterValue(x.getScale())),
                        zero = getLiteral(nn::getOuterValue(x.getZeroPoint()));
  if (!scale || !zero || !hasElement(x.getCodes(), true) ||
      !hasElement(filter.getCodes(), false))
    return std::nullopt;
  return ConvCodes{x, filter, float(*scale), int64_t(*zero)};
}

static std::optional<std::string> whyNotConvInt8(Operation *op,
                                                 const Isa &isa) {
  auto conv = findAnchor<nn::ConvOp>(op);
  if (!isa.isX86() || !conv ||
      !conv.getFilter().getDefiningOp<nn::DequantizeOp>())
    return "";
  if (std::optional<std::string> why = whyInexact(isa))
    return why;
  if (std::optional<std::string> why = whyNotWindow(conv))
    return why;
  // oneDNN 3.2 with a zero code is wrong for depthwise channels that do not
  // fill a register.
  if (int64_t(conv.getGroups()) > 1)
    return "its int8 convolutions with groups are not exact";
  if (!matchCodes(op, conv))
    return "its int8 convolutions take u8 codes with one scale by int8 ones";
  std::string why;
  return matchEpilogue(op, conv, why) ? std::nullopt : std::optional(why);
}

static llvm::Error buildConvInt8(Operation *op, Selector &selector) {
  auto conv = findAnchor<nn::ConvOp>(op);
  ConvCodes codes = *matchCodes(op, conv);
  std::string why;
  Epilogue epilogue = *matchEpilogue(op, conv, why);
  TensorData scales = *selector.constantData(codes.filter.getScale());
  int64_t outputs = *nn::getConstant(shapeOf(conv.getFilter()).front());
  std::vector<float> values = scales.toF32();
  values.resize(outputs, values.front());
  for (float &value : values)
    value *= codes.scale;
  nn::WeightOp symbol = nn::getWeight(codes.filter.getScale());
  std::string key(reinterpret_cast<const char *>(values.data()),
                  values.size() * sizeof(float));
  KernelCall call =
      beginConvCall(op, conv, epilogue, " int8", PARE_ONEDNN_INT8, codes.zero);
  call.inputs = {
      selector.operand(nn::getOuterValue(codes.x.getCodes())),
      selector.operand(nn::getOuterValue(codes.filter.getCodes())),
      selector.pack({"onednn scales:" + key,
                     symbol ? symbol.getSource().value_or("").str() : "",
                     values.size() * sizeof(float),
                     [values](MutableArrayRef<uint8_t> out) {
                       memcpy(out.data(), values.data(), out.size());
                     }})};
  epilogue.addTo(call, selector);
  addOutputs(call, op);
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getOneDnnEntries() {
  static const KernelEntry entries[] = {
      {"matmul-f32", "onednn", whyNotProduct, buildProduct},
      {"conv-f32", "onednn", whyNotConv, buildConv},
      {"matmul-int8", "onednn", whyNotProductInt8, nullptr},
      {"conv-int8", "onednn", whyNotConvInt8, buildConvInt8},
  };
  return entries;
}

} // namespace pare::cpu
