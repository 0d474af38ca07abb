//===- Conv.cpp - ONNX convolutions and pooling ---------------------------===//
//
// ONNX is channels first, nn channels last: each op is wrapped in transposes,
// which passes/simplify moves to the edges of the graph.
//
//===----------------------------------------------------------------------===//
#include "frontend/onnx/ops/Conv.h"
#include "frontend/onnx/OpTable.h"

using namespace mlir;
using pare::nn::BinaryKind;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

/// The geometry of a sliding window, as attributes give it.
struct Window {
  SmallVector<int64_t> kernel, strides, dilations, pads;
};

/// Larger strides, pads and kernels cannot come from a model and would overflow
/// sizes.
constexpr int64_t kMaxWindow = 1 << 20;

/// SAME pads so that the output has ceil(input / stride) elements; an odd
/// padding puts more at the end for SAME_UPPER.
bool padSame(const Node &node, Value x, bool upper, Window &window) {
  nn::Shape shape = shapeOf(x);
  size_t spatial = window.kernel.size();
  for (size_t i = 0; i < spatial; ++i) {
    int64_t span = window.dilations[i] * (window.kernel[i] - 1) + 1;
    int64_t total = span - 1;
    if (window.strides[i] != 1) {
      std::optional<int64_t> size = nn::getConstant(shape[2 + i]);
      if (!size) {
        node.fail("auto_pad with strides needs a fixed size on axis " +
                  Twine(2 + i));
        return false;
      }
      int64_t outputs = (*size + window.strides[i] - 1) / window.strides[i];
      total = std::max<int64_t>(0, (outputs - 1) * window.strides[i] + span -
                                       *size);
    }
    window.pads[i] = upper ? total / 2 : total - total / 2;
    window.pads[spatial + i] = total - window.pads[i];
  }
  return true;
}

/// Reads strides, dilations and pads of a window over x, [N, C, spatial…].
bool readWindow(const Node &node, Value x, ArrayRef<int64_t> kernel,
                Window &window) {
  size_t spatial = shapeOf(x).size() - 2;
  window.kernel.assign(kernel.begin(), kernel.end());
  window.strides = node.getInts("strides", SmallVector<int64_t>(spatial, 1));
  window.dilations =
      node.getInts("dilations", SmallVector<int64_t>(spatial, 1));
  window.pads = node.getInts("pads", SmallVector<int64_t>(2 * spatial, 0));
  auto inRange = [&](ArrayRef<int64_t> values, size_t count, int64_t least) {
    return values.size() == count && llvm::all_of(values, [&](int64_t value) {
             return value >= least && value <= kMaxWindow;
           });
  };
  if (!inRange(window.kernel, spatial, 1) ||
      !inRange(window.strides, spatial, 1) ||
      !inRange(window.dilations, spatial, 1) ||
      !inRange(window.pads, 2 * spatial, 0)) {
    node.fail("kernel, strides, dilations or pads do not fit the " +
              Twine(spatial) + " spatial axes of the input");
    return false;
  }
  std::string autoPad = node.getString("auto_pad", "NOTSET");
  if (autoPad == "VALID")
    window.pads.assign(2 * spatial, 0);
  else if (autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER")
    return padSame(node, x, autoPad == "SAME_UPPER", window);
  return true;
}

/// The kernel sizes of a filter [., ., kernel…] for an input of its rank; none
/// after an error.
SmallVector<int64_t> readKernel(const Node &node, Value x, Value filter) {
  SmallVector<int64_t> kernel;
  if (!x || !filter)
    return kernel;
  auto type = cast<RankedTensorType>(filter.getType());
  if (shapeOf(x).size() < 3 || size_t(type.getRank()) != shapeOf(x).size() ||
      !type.hasStaticShape()) {
    node.fail("the filter does not fit the input");
    return kernel;
  }
  kernel.append(type.getShape().begin() + 2, type.getShape().end());
  SmallVector<int64_t> given = node.getInts("kernel_shape", kernel);
  if (given != kernel) {
    node.fail("kernel_shape contradicts the filter's shape");
    kernel.clear();
  }
  return kernel;
}

/// Adds a bias of one value per channel, channels last, and restores the
/// layout.
Value finishConv(const Node &node, Value result, Value bias) {
  if (bias)
    result = node.binary(BinaryKind::add, result, bias);
  return toChannelsFirst(node, result);
}

void importConv(const Node &node) {
  node.setResult(buildConv(node, node.getInput(0), node.getInput(1),
                           node.getOptionalInput(2)));
}

/// [C, O / groups, kernel…] to [O, kernel…, C / groups].
Value transposeFilter(const Node &node, Value filter, int64_t groups) {
  nn::Shape shape = shapeOf(filter);
  std::optional<int64_t> inputs = nn::getConstant(shape[0]),
                         outputs = nn::getConstant(shape[1]);
  if (groups < 1 || !inputs || !outputs || *inputs % groups != 0)
    return node.fail("the filter does not fit " + Twine(groups) + " groups");
  size_t spatial = shape.size() - 2;
  // [G, C / G, O / G, kernel…], permuted to [G, O / G, kernel…, C / G].
  nn::Shape grouped{node.dim(groups), node.dim(*inputs / groups), shape[1]};
  grouped.append(shape.begin() + 2, shape.end());
  SmallVector<int64_t> permutation{0, 2};
  for (size_t i = 0; i < spatial; ++i)
    permutation.push_back(int64_t(3 + i));
  permutation.push_back(1);
  Value moved = node.transpose(node.reshape(filter, grouped), permutation);
  nn::Shape result{node.dim(*outputs * groups)};
  result.append(shape.begin() + 2, shape.end());
  result.push_back(node.dim(*inputs / groups));
  return node.reshape(moved, result);
}

/// Pads that give spatial sizes of `wanted`, or of input times stride where it
/// is empty (auto_pad SAME); output pads where the sizes are larger than the
/// input gives.
bool padToShape(const Node &node, Value x, SmallVector<int64_t> wanted,
                MutableArrayRef<int64_t> outputPads, Window &window) {
  size_t spatial = window.kernel.size();
  if (wanted.size() > spatial) // with batch and channels
    wanted.erase(wanted.begin(), wanted.end() - spatial);
  nn::Shape shape = shapeOf(x);
  bool upper = node.getString("auto_pad", "NOTSET") == "SAME_UPPER";
  for (size_t i = 0; i < spatial; ++i) {
    // The full size is stride * input plus this.
    int64_t total = outputPads[i] +
                    window.dilations[i] * (window.kernel[i] - 1) + 1 -
                    window.strides[i];
    if (!wanted.empty()) {
      std::optional<int64_t> size = nn::getConstant(shape[2 + i]);
      if (!size || wanted.size() != spatial || wanted[i] < 1 ||
          wanted[i] > kMaxWindow) {
        node.fail("output_shape needs fixed spatial sizes");
        return false;
      }
      total += window.strides[i] * *size - wanted[i];
    }
    if (total < 0) {
      outputPads[i] -= total;
      total = 0;
    }
    window.pads[i] = upper ? total / 2 : total - total / 2;
    window.pads[spatial + i] = total - window.pads[i];
  }
  return true;
}

void importConvTranspose(const Node &node) {
  Value x = node.getInput(0), filter = node.getInput(1);
  SmallVector<int64_t> kernel = readKernel(node, x, filter);
  Window window;
  if (kernel.empty() || !readWindow(node, x, kernel, window))
    return;
  SmallVector<int64_t> outputPads =
      node.getInts("output_padding", SmallVector<int64_t>(kernel.size(), 0));
  if (outputPads.size() != kernel.size()) {
    node.fail("output_padding does not fit the spatial axes");
    return;
  }
  StringRef autoPad = getStringAttribute(node.getProto(), "auto_pad", "");
  if ((node.hasAttribute("output_shape") || autoPad.starts_with("SAME")) &&
      !padToShape(node, x, node.getInts("output_shape"), outputPads, window))
    return;
  int64_t groups = node.getInt("group", 1);
  Value taps = transposeFilter(node, filter, groups);
  Value result = node.create<nn::ConvTransposeOp>(
      toChannelsLast(node, x), taps, window.strides, window.pads, outputPads,
      window.dilations, groups);
  node.setResult(finishConv(node, result, node.getOptionalInput(2)));
}

template <nn::PoolKind kind> void importPool(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  if (shapeOf(x).size() < 3) {
    node.fail("needs an input with at least one spatial axis");
    return;
  }
  Window window;
  if (!readWindow(node, x, node.getInts("kernel_shape"), window))
    return;
  Value pooled = node.create<nn::PoolOp>(
      kind, toChannelsLast(node, x), window.kernel, window.strides, window.pads,
      window.dilations, node.getInt("ceil_mode", 0) != 0,
      node.getInt("count_include_pad", 0) != 0);
  node.setResult(toChannelsFirst(node, pooled));
}

std::string checkMaxPool(const onnx::NodeProto &node, int) {
  if (node.output_size() > 1 && !node.output(1).empty())
    return "indices";
  return getIntAttribute(node, "storage_order", 0) ? "storage_order" : "";
}

template <nn::ReduceKind kind> void importGlobalPool(const Node &node) {
  Value x = toChannelsLast(node, node.getInput(0));
  if (!x)
    return;
  SmallVector<int64_t> axes;
  for (size_t axis = 1; axis + 1 < shapeOf(x).size(); ++axis)
    axes.push_back(int64_t(axis));
  node.setResult(toChannelsFirst(
      node, node.create<nn::ReduceOp>(kind, x, axes, /*keep_dims=*/true)));
}

const OpEntry ops[] = {
    {"AveragePool", importPool<nn::PoolKind::average>},
    {"Conv", importConv},
    {"ConvTranspose", importConvTranspose},
    {"GlobalAveragePool", importGlobalPool<nn::ReduceKind::mean>},
    {"GlobalMaxPool", importGlobalPool<nn::ReduceKind::max>},
    {"MaxPool", importPool<nn::PoolKind::max>, checkMaxPool},
};

} // namespace

Value buildConv(const Node &node, Value x, Value filter, Value bias) {
  SmallVector<int64_t> kernel = readKernel(node, x, filter);
  Window window;
  if (kernel.empty() || !readWindow(node, x, kernel, window))
    return {};
  // [O, C, kernel…] to [O, kernel…, C].
  Value taps = toChannelsLast(node, filter);
  Value result = node.create<nn::ConvOp>(
      toChannelsLast(node, x), taps, window.strides, window.pads,
      window.dilations, node.getInt("group", 1));
  return finishConv(node, result, bias);
}

ArrayRef<OpEntry> getConvOps() { return ops; }

} // namespace pare::onnximport
