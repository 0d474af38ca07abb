//===- OnnxStatic.cpp - ONNX files with fixed 8-bit scales ----------------===//
//
// Products and convolutions by a weight are written as ONNX Runtime's QDQ
// format has them: their inputs, weights, biases and results go through
// QuantizeLinear and DequantizeLinear, and the runtime replaces such groups by
// integer kernels. A Relu or Clip behind one belongs to it, so that the tensor
// with a scale is what that makes. Everything that reads a tensor with a scale
// reads its rounded values.
//
// Codes of weights are stored with 128 added, as uint8: kernels for AVX2
// multiply signed weights with sums of 16 bits, which overflow.
//
//===----------------------------------------------------------------------===//
#include "backends/export/Export.h"
#include "backends/export/OnnxEdit.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include "passes/quantize/WeightCodes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>

using namespace llvm;
using namespace pare::onnximport;

namespace pare::exporting {
namespace {

/// Scales per channel are from this version of ONNX's operators on.
constexpr int kLeastOpset = 13;
constexpr int kStoredZero = 128;

/// A node that multiplies by a weight.
struct Product {
  int node;
  std::string weight;
  int64_t axis;       ///< of the weight's outputs
  std::string result; ///< of the node, or of the activation behind it
};

std::string toBytes(const auto &values) {
  return std::string(reinterpret_cast<const char *>(values.data()),
                     values.size() * sizeof(values[0]));
}

class StaticOnnx : public StaticExport {
public:
  StaticOnnx(std::unique_ptr<OnnxEdit> edit, ArrayRef<GlobPattern> keepFloat)
      : edit(std::move(edit)), keepFloat(keepFloat) {}

  Error find();
  ArrayRef<std::string> tensors() const override { return tensorNames; }
  ArrayRef<std::string> products() const override { return productNames; }
  Expected<uint64_t> write(StringRef output, const StaticObservations &seen,
                           std::vector<TensorDecision> &decisions) override;

private:
  /// The weights that have their scale already, by name and axis.
  struct Weight {
    std::string value; ///< what the nodes read
    std::vector<float> scales;
  };

  std::optional<Product> match(int index) const;
  /// Why a weight stays as it is; nullopt: it does not.
  std::optional<std::string> whyKept(const Product &product) const;
  /// The result of the activation that alone reads a product's result.
  std::string getResult(StringRef result) const;
  Error add(const Product &product, const StaticObservations &seen,
            std::vector<TensorDecision> &decisions);
  Expected<const Weight *> addWeight(const Product &product,
                                     const SecondMoments *moments,
                                     std::vector<TensorDecision> &decisions);
  Expected<std::optional<std::string>>
  addBias(const onnx::NodeProto &node, float scale, ArrayRef<float> scales);
  /// Rounds a tensor where it is made; false where nothing is known of it.
  bool addActivation(StringRef tensor, const StaticObservations &seen);
  onnx::NodeProto &change(int node);

  std::unique_ptr<OnnxEdit> edit;
  ArrayRef<GlobPattern> keepFloat;
  mlir::MLIRContext context;
  std::vector<Product> found;
  std::vector<std::string> tensorNames, productNames;
  StringMap<int> makers; ///< nodes by what they make
  std::map<std::pair<std::string, int64_t>, Weight> weights;
  struct Activation {
    std::string value; ///< rounded
    float scale;
  };
  StringMap<Activation> activations;
  std::map<int, onnx::NodeProto> changed;
};

} // namespace

std::optional<Product> StaticOnnx::match(int index) const {
  const onnx::NodeProto &node = edit->graph().node(index);
  StringRef op = node.op_type();
  if (!isStandard(node) || node.input_size() < 2 || node.output_size() != 1 ||
      (op != "Conv" && op != "MatMul" && op != "Gemm"))
    return std::nullopt;
  const onnx::TensorProto *weight = edit->findTensor(node.input(1));
  if (!weight || edit->findTensor(node.input(0)))
    return std::nullopt;
  int64_t axis = op == "Conv" || getInt(node, "transB", 0) ? 0 : 1;
  return Product{index, node.input(1), axis, getResult(node.output(0))};
}

std::string StaticOnnx::getResult(StringRef result) const {
  ArrayRef<OnnxEdit::Use> uses = edit->uses(result);
  if (uses.size() != 1 || edit->isUsedElsewhere(result))
    return result.str();
  const onnx::NodeProto &next = edit->graph().node(uses[0].node);
  bool isActivation = isStandard(next) && uses[0].input == 0 &&
                      (next.op_type() == "Relu" || next.op_type() == "Clip");
  return isActivation ? next.output(0) : result.str();
}

std::optional<std::string> StaticOnnx::whyKept(const Product &product) const {
  const onnx::NodeProto &node = edit->graph().node(product.node);
  const onnx::TensorProto &weight = *edit->findTensor(product.weight);
  if (any_of(keepFloat, [&](const GlobPattern &pattern) {
        return pattern.match(product.weight);
      }))
    return "as --keep-float says";
  if (weight.data_type() != onnx::TensorProto::FLOAT)
    return "is " + getTypeName(weight.data_type());
  StringRef op = node.op_type();
  if (weight.dims_size() < 2 || (op != "Conv" && weight.dims_size() != 2))
    return "is no matrix";
  if (edit->isUsedElsewhere(product.weight))
    return "is used by an inner graph, or a result";
  if (op == "Gemm" && !isPlainGemm(node))
    return "is used by a Gemm with transA, alpha or beta";
  return std::nullopt;
}

Error StaticOnnx::find() {
  if (edit->file().opset() < kLeastOpset)
    return createStringError(
        edit->file().path() + ": opset " + Twine(edit->file().opset()) +
        " has no scales per channel: convert it to opset " +
        Twine(kLeastOpset) + " or later, or use --quantize int8_g32");
  const onnx::GraphProto &graph = edit->graph();
  StringSet<> listed;
  auto list = [&](StringRef tensor) {
    if (listed.insert(tensor).second)
      tensorNames.push_back(tensor.str());
  };
  for (int i = 0; i < graph.node_size(); ++i) {
    for (const std::string &output : graph.node(i).output())
      makers[output] = i;
    std::optional<Product> product = match(i);
    if (!product)
      continue;
    found.push_back(*product);
    if (whyKept(*product))
      continue;
    const onnx::NodeProto &node = graph.node(i);
    list(node.input(0));
    list(product->result);
    const onnx::TensorProto &weight = *edit->findTensor(product->weight);
    bool isOneTap = getInt(node, "group", 1) == 1;
    for (int64_t dim : drop_begin(weight.dims(), 2))
      isOneTap &= dim == 1;
    if (isOneTap)
      productNames.push_back(node.output(0));
  }
  return Error::success();
}

onnx::NodeProto &StaticOnnx::change(int node) {
  return changed.try_emplace(node, edit->graph().node(node)).first->second;
}

Expected<const StaticOnnx::Weight *>
StaticOnnx::addWeight(const Product &product, const SecondMoments *moments,
                      std::vector<TensorDecision> &decisions) {
  auto [it, isNew] = weights.try_emplace({product.weight, product.axis});
  Weight &made = it->second;
  if (!isNew)
    return &made;
  const onnx::TensorProto &source = *edit->findTensor(product.weight);
  Expected<TensorBytes> bytes =
      edit->file().read(source, "tensor '" + product.weight + "'", context);
  if (!bytes)
    return bytes.takeError();
  HostTensor weight = HostTensor::view(TensorData{bytes->type, bytes->bytes()});
  if (!all_of(weight.values<float>(), [](float v) { return std::isfinite(v); }))
    return edit->fail(product.weight, "holds NaN or infinite values: keep it "
                                      "as it is with --keep-float '" +
                                          product.weight + "'");
  ArrayRef<int64_t> shape = weight.shape();
  // A filter of one tap is a matrix.
  if (moments)
    weight = weight.withType(
        mlir::RankedTensorType::get({shape[0], shape[1]}, weight.element()));
  WeightCodes codes = encodeInt8(weight, product.axis, moments);
  made.scales = codes.scales.read<float>();
  for (float &scale : made.scales)
    if (scale == 0)
      scale = 1; // a channel of zeros
  std::vector<uint8_t> stored;
  for (int8_t code : codes.codes.values<int8_t>())
    stored.push_back(uint8_t(code + kStoredZero));
  int64_t channels = int64_t(made.scales.size());
  std::string name = product.weight + ".int8";
  onnx::NodeProto decode;
  decode.set_op_type("DequantizeLinear");
  decode.add_input(edit->addTensor(name + ".codes", onnx::TensorProto::UINT8,
                                   shape, toBytes(stored)));
  decode.add_input(edit->addTensor(name + ".scales", onnx::TensorProto::FLOAT,
                                   channels, toBytes(made.scales)));
  decode.add_input(
      edit->addTensor(name + ".zeros", onnx::TensorProto::UINT8, channels,
                      std::string(size_t(channels), char(kStoredZero))));
  made.value = edit->makeName(name);
  decode.add_output(made.value);
  addInt(decode, "axis", product.axis);
  edit->addNode(OnnxEdit::kStart, decode);
  decisions.push_back({product.weight, shape.vec(), "int8 per channel",
                       uint64_t(weight.size()) * sizeof(float),
                       stored.size() + made.scales.size() * sizeof(float),
                       moments ? "rounded by GPTQ" : "rounded to nearest",
                       codes.error});
  return &made;
}

Expected<std::optional<std::string>>
StaticOnnx::addBias(const onnx::NodeProto &node, float scale,
                    ArrayRef<float> scales) {
  const onnx::TensorProto *bias =
      node.input_size() > 2 ? edit->findTensor(node.input(2)) : nullptr;
  if (!bias || bias->data_type() != onnx::TensorProto::FLOAT)
    return std::nullopt;
  Expected<TensorBytes> bytes =
      edit->file().read(*bias, "tensor '" + node.input(2) + "'", context);
  if (!bytes)
    return bytes.takeError();
  std::vector<float> values =
      HostTensor::view(TensorData{bytes->type, bytes->bytes()}).read<float>();
  if (values.size() != scales.size() || bytes->type.getRank() != 1)
    return std::nullopt;
  std::vector<float> steps;
  std::vector<int32_t> codes;
  for (auto [value, weight] : zip_equal(values, scales)) {
    double step = double(scale) * weight, code = std::nearbyint(value / step);
    if (!(std::abs(code) < 0x1p31))
      return std::nullopt;
    steps.push_back(float(step));
    codes.push_back(int32_t(code));
  }
  int64_t channels = int64_t(codes.size());
  std::string name = node.output(0) + ".bias";
  onnx::NodeProto decode;
  decode.set_op_type("DequantizeLinear");
  decode.add_input(edit->addTensor(name + ".codes", onnx::TensorProto::INT32,
                                   channels, toBytes(codes)));
  decode.add_input(edit->addTensor(name + ".scales", onnx::TensorProto::FLOAT,
                                   channels, toBytes(steps)));
  std::string value = edit->makeName(name);
  decode.add_output(value);
  addInt(decode, "axis", 0);
  edit->addNode(OnnxEdit::kStart, decode);
  return value;
}

bool StaticOnnx::addActivation(StringRef tensor,
                               const StaticObservations &seen) {
  if (activations.contains(tensor))
    return true;
  auto range = seen.ranges.find(tensor);
  // Results of the model stay as they are.
  if (range == seen.ranges.end() || edit->isUsedElsewhere(tensor))
    return false;
  auto [low, high] = range->second;
  float scale = (high - low) / 255;
  if (!(scale > 0x1p-100f && std::isfinite(scale)))
    return false;
  std::vector<float> scales = {scale};
  uint8_t zero =
      uint8_t(std::clamp(std::nearbyint(-low / scale), 0.0f, 255.0f));
  std::string name = tensor.str();
  std::string scaleName = edit->addTensor(
      name + ".scale", onnx::TensorProto::FLOAT, {}, toBytes(scales));
  std::string zeroName = edit->addTensor(
      name + ".zero", onnx::TensorProto::UINT8, {}, std::string(1, char(zero)));
  onnx::NodeProto encode, decode;
  encode.set_op_type("QuantizeLinear");
  decode.set_op_type("DequantizeLinear");
  encode.add_input(name);
  std::string codes = edit->makeName(name + ".codes");
  encode.add_output(codes);
  decode.add_input(codes);
  for (onnx::NodeProto *node : {&encode, &decode}) {
    node->add_input(scaleName);
    node->add_input(zeroName);
  }
  std::string value = edit->makeName(name + ".rounded");
  decode.add_output(value);
  auto maker = makers.find(tensor);
  int after = maker == makers.end() ? OnnxEdit::kStart : maker->second;
  edit->addNode(after, encode);
  edit->addNode(after, decode);
  for (const OnnxEdit::Use &use : edit->uses(tensor))
    change(use.node).set_input(use.input, value);
  activations[tensor] = {value, scale};
  return true;
}

Error StaticOnnx::add(const Product &product, const StaticObservations &seen,
                      std::vector<TensorDecision> &decisions) {
  const onnx::NodeProto &node = edit->graph().node(product.node);
  const onnx::TensorProto &source = *edit->findTensor(product.weight);
  std::optional<std::string> reason = whyKept(product);
  if (!reason && !addActivation(node.input(0), seen))
    reason = "nothing is known of its input's range";
  if (reason) {
    int64_t elements = 1;
    for (int64_t dim : source.dims())
      elements *= dim;
    uint64_t bytes = uint64_t(elements) * sizeof(float);
    decisions.push_back({product.weight,
                         {source.dims().begin(), source.dims().end()},
                         getTypeName(source.data_type()),
                         bytes,
                         bytes,
                         *reason,
                         0});
    return Error::success();
  }
  const SecondMoments *moments = seen.inputs.lookup(node.output(0)).get();
  int64_t inputs = source.dims(product.axis == 0 ? 1 : 0);
  if (moments && (moments->rows() == 0 || moments->size() != inputs))
    moments = nullptr;
  Expected<const Weight *> weight = addWeight(product, moments, decisions);
  if (!weight)
    return weight.takeError();
  Expected<std::optional<std::string>> bias =
      addBias(node, activations[node.input(0)].scale, (*weight)->scales);
  if (!bias)
    return bias.takeError();
  onnx::NodeProto &result = change(product.node);
  result.set_input(1, (*weight)->value);
  if (*bias)
    result.set_input(2, **bias);
  addActivation(product.result, seen);
  return Error::success();
}

Expected<uint64_t> StaticOnnx::write(StringRef output,
                                     const StaticObservations &seen,
                                     std::vector<TensorDecision> &decisions) {
  for (const Product &product : found)
    if (Error error = add(product, seen, decisions))
      return std::move(error);
  for (const auto &[key, weight] : weights) {
    auto isReplaced = [&](const OnnxEdit::Use &use) {
      auto it = changed.find(use.node);
      return it != changed.end() && it->second.input(use.input) != key.first;
    };
    if (all_of(edit->uses(key.first), isReplaced))
      edit->drop(key.first);
  }
  for (const auto &[index, node] : changed)
    edit->replaceNode(index, node);
  return edit->write(output);
}

Expected<std::unique_ptr<StaticExport>>
openOnnxStatic(StringRef source, ArrayRef<GlobPattern> keepFloat) {
  Expected<std::unique_ptr<OnnxEdit>> edit = OnnxEdit::open(source);
  if (!edit)
    return edit.takeError();
  auto result = std::make_unique<StaticOnnx>(std::move(*edit), keepFloat);
  if (Error error = result->find())
    return std::move(error);
  return std::move(result);
}

} // namespace pare::exporting
