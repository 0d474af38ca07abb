//===- GraphImporter.cpp - One ONNX graph into an nn entry ----------------===//
#include "frontend/onnx/GraphImporter.h"
#include "frontend/onnx/OpTable.h"
#include "llvm/Support/Endian.h"
#include <queue>

using namespace mlir;
namespace endian = llvm::support::endian;

namespace pare::onnximport {

std::string describeNode(const onnx::NodeProto &node) {
  StringRef name = node.name();
  if (name.empty() && node.output_size())
    name = node.output(0);
  return ("node '" + name + "' (" + node.op_type() + ")").str();
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void GraphImporter::define(StringRef name, ImportedValue value) {
  if (!name.empty())
    values_[name] = std::move(value);
}

const ImportedValue *GraphImporter::find(StringRef name) const {
  auto it = values_.find(name);
  if (it == values_.end()) {
    // Sorting saw a producer: the value is an output that its op did not set.
    graph_.fail("output '" + name +
                "' of the op that makes it is not "
                "supported");
    return nullptr;
  }
  return &it->second;
}

RankedTensorType GraphImporter::getType(StringRef name) {
  const ImportedValue *value = find(name);
  if (!value)
    return {};
  if (value->value)
    return cast<RankedTensorType>(value->value.getType());
  if (value->tensor)
    return value->tensor->type;
  return RankedTensorType::get(value->contents->shape,
                               value->contents->element);
}

Value GraphImporter::getValue(StringRef name) {
  const ImportedValue *found = find(name);
  if (!found || graph_.hasFailed())
    return {};
  if (found->value)
    return found->value;
  Value value = found->tensor ? materialize(name, *found->tensor)
                              : materialize(name, *found->contents);
  values_[name].value = value;
  return value;
}

static int64_t readInteger(IntegerType type, const uint8_t *p) {
  switch (type.getWidth()) {
  case 1:
    return *p != 0;
  case 8:
    return type.isUnsigned() ? int64_t(*p) : int64_t(int8_t(*p));
  case 16:
    return type.isUnsigned() ? int64_t(endian::read16le(p))
                             : int64_t(int16_t(endian::read16le(p)));
  case 32:
    return type.isUnsigned() ? int64_t(endian::read32le(p))
                             : int64_t(int32_t(endian::read32le(p)));
  default:
    return int64_t(endian::read64le(p));
  }
}

const Contents *GraphImporter::getContents(StringRef name) {
  const ImportedValue *found = find(name);
  if (!found)
    return nullptr;
  if (found->contents)
    return &*found->contents;
  if (!found->tensor)
    return nullptr;
  const TensorBytes &tensor = *found->tensor;
  Type element = tensor.type.getElementType();
  int64_t count = tensor.type.getNumElements();
  auto integer = dyn_cast<IntegerType>(element);
  if (count > (integer ? kMaxKnownIntegers : kMaxKnownFloats) ||
      !canBeKnown(element))
    return nullptr;
  Contents contents{element, SmallVector<int64_t>(tensor.type.getShape()), {}};
  TensorData data{tensor.type, tensor.bytes()};
  for (int64_t i = 0; i < count; ++i)
    contents.values.push_back(
        integer ? Element::of(graph_.constantDim(readInteger(
                      integer, tensor.bytes().data() +
                                   i * nn::getElementBytes(element))))
                : Element::of(data.get(i)));
  return &*(values_[name].contents = std::move(contents));
}

Value GraphImporter::materialize(StringRef name, TensorBytes &tensor) {
  constexpr size_t maxConstantBytes = 1024;
  ArrayRef<uint8_t> bytes = tensor.bytes();
  if (bytes.size() <= maxConstantBytes) {
    Location loc = nn::getNamedLoc(name, graph_.getContext());
    if (tensor.type.getElementType().isInteger(1)) {
      SmallVector<bool> bits;
      for (uint8_t byte : bytes)
        bits.push_back(byte != 0);
      return graph_.createConstant(loc,
                                   DenseElementsAttr::get(tensor.type, bits));
    }
    ArrayRef<char> raw(reinterpret_cast<const char *>(bytes.data()),
                       bytes.size());
    return graph_.createConstant(
        loc, DenseElementsAttr::getFromRawBuffer(tensor.type, raw));
  }
  WeightStore &store = graph_.getStore();
  if (!tensor.file)
    return graph_.createParam(store.addOwned(name, tensor.type, tensor.owned));
  if (llvm::Error error = store.addView(name, tensor.type, tensor.file,
                                        tensor.offset, tensor.size))
    return graph_.fail(llvm::toString(std::move(error)));
  return graph_.createParam(name);
}

/// The bytes of contents that depend on no symbol.
static TensorBytes encode(const Contents &contents, ArrayRef<double> numbers) {
  TensorBytes tensor;
  tensor.type = RankedTensorType::get(contents.shape, contents.element);
  unsigned width = nn::getElementBytes(contents.element);
  for (auto [element, number] : llvm::zip(contents.values, numbers)) {
    uint64_t bits;
    if (auto floating = dyn_cast<FloatType>(contents.element))
      bits = roundTo(number, floating).bitcastToAPInt().getZExtValue();
    else
      bits = uint64_t(*nn::getConstant(element.numerator));
    for (unsigned b = 0; b < width; ++b)
      tensor.owned.push_back(uint8_t(bits >> (8 * b)));
  }
  return tensor;
}

Value GraphImporter::materialize(StringRef name, const Contents &contents) {
  if (std::optional<SmallVector<double>> numbers = contents.getNumbers()) {
    TensorBytes tensor = encode(contents, *numbers);
    return materialize(name, tensor);
  }
  MLIRContext *context = graph_.getContext();
  Location loc = nn::getNamedLoc(name, context);
  auto makeTensor = [&](ArrayRef<nn::Dim> dims) {
    auto type = RankedTensorType::get({int64_t(dims.size())},
                                      graph_.getBuilder().getI64Type());
    Value values = graph_.createTyped<nn::DimValuesOp>(
        loc, type, AffineMapAttr::get(nn::getMap(dims, context)));
    nn::Shape shape;
    for (int64_t size : contents.shape)
      shape.push_back(graph_.constantDim(size));
    Value shaped = graph_.createReshape(loc, values, shape);
    return contents.element.isInteger(64)
               ? shaped
               : graph_.create<nn::CastOp>(loc, shaped, contents.element);
  };
  nn::Shape numerators, denominators;
  for (const Element &element : contents.values) {
    if (element.number)
      return graph_.fail("'" + name +
                         "' mixes dynamic dimensions and "
                         "fractions, which is not supported");
    numerators.push_back(element.numerator);
    denominators.push_back(element.denominator ? element.denominator
                                               : graph_.constantDim(1));
  }
  Value value = makeTensor(numerators);
  if (llvm::all_of(denominators,
                   [](nn::Dim dim) { return nn::isConstant(dim, 1); }))
    return value;
  return graph_.create<nn::BinaryOp>(loc, nn::BinaryKind::div, value,
                                     makeTensor(denominators));
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

llvm::Error GraphImporter::defineInitializers() {
  for (const onnx::TensorProto &tensor : file_.graph().initializer()) {
    if (tensor.name().empty())
      return llvm::createStringError("an initializer has no name");
    if (values_.contains(tensor.name()))
      return llvm::createStringError("initializer '" + tensor.name() +
                                     "' is there twice");
    llvm::Expected<TensorBytes> bytes =
        readTensor(tensor, "initializer '" + tensor.name() + "'");
    if (!bytes)
      return bytes.takeError();
    define(
        tensor.name(),
        {{}, std::nullopt, std::make_shared<TensorBytes>(std::move(*bytes))});
  }
  return llvm::Error::success();
}

static constexpr int64_t kMaxDim = int64_t(1) << 31;

nn::Shape GraphImporter::parseDims(const onnx::ValueInfoProto &info,
                                   ArrayRef<DimSpec> specs) {
  const onnx::TypeProto::Tensor &tensor = info.type().tensor_type();
  size_t rank =
      specs.empty() ? size_t(tensor.shape().dim_size()) : specs.size();
  nn::Shape shape;
  for (size_t axis = 0; axis < rank; ++axis) {
    int64_t size = 0, min = 0, max = 0;
    StringRef name;
    if (tensor.has_shape()) {
      const auto &dim = tensor.shape().dim(int(axis));
      size = dim.dim_value();
      name = dim.dim_param();
    }
    if (size < -1 || size > kMaxDim) {
      graph_.fail("input '" + info.name() + "' has the dimension " +
                  Twine(size));
      return shape;
    }
    if (!specs.empty() && specs[axis].size) {
      overridesStatic_ |= size > 0 && size != *specs[axis].size;
      size = *specs[axis].size;
    } else if (!specs.empty() && !specs[axis].name.empty()) {
      overridesStatic_ |= size > 0;
      size = 0;
      name = specs[axis].name;
      min = specs[axis].min;
      max = specs[axis].max;
    }
    if (size > 0) {
      shape.push_back(graph_.constantDim(size));
      continue;
    }
    // Exporters write 0, -1 and "?" where they do not know.
    std::string unnamed = info.name() + "_" + std::to_string(axis);
    if (name.empty() || name == "?" || name == "-1")
      name = unnamed;
    shape.push_back(graph_.getSymbol(name, min, max));
    if (graph_.getNumSymbols() > symbolAxes_.size())
      symbolAxes_.push_back(axis);
  }
  return shape;
}

llvm::Expected<RankedTensorType>
GraphImporter::getInputType(const onnx::ValueInfoProto &info) {
  auto fail = [&](const Twine &what) {
    return llvm::createStringError("input '" + info.name() + "' " + what);
  };
  if (!info.type().has_tensor_type())
    return fail("is not a tensor, which is not supported");
  const onnx::TypeProto::Tensor &tensor = info.type().tensor_type();
  Type element =
      onnximport::getElementType(tensor.elem_type(), *graph_.getContext());
  if (!element)
    return fail("has the element type " + getTypeName(tensor.elem_type()) +
                ", which is not supported");
  std::vector<DimSpec> specs;
  if (auto option = options_.shapes.find(info.name());
      option != options_.shapes.end()) {
    llvm::Expected<std::vector<DimSpec>> parsed =
        parseShapeSpec(option->second, info.name());
    if (!parsed)
      return parsed.takeError();
    specs = std::move(*parsed);
    if (tensor.has_shape() && specs.size() != size_t(tensor.shape().dim_size()))
      return fail("has " + Twine(tensor.shape().dim_size()) +
                  " dimensions, but its shape option '" + option->second +
                  "' gives " + Twine(specs.size()));
  } else if (!tensor.has_shape()) {
    return fail("has no shape in the model; give one with --shape " +
                info.name() + "=1x…");
  }
  nn::Shape shape = parseDims(info, specs);
  if (graph_.hasFailed())
    return graph_.takeError();
  RankedTensorType type = nn::getTensorType(shape, element);
  if (!GraphBuilder::isReasonable(type))
    return fail("is larger than any memory");
  return type;
}

llvm::Error GraphImporter::defineInputs() {
  std::string names;
  llvm::StringSet<> known;
  for (const onnx::ValueInfoProto &info : file_.graph().input()) {
    // Before IR version 4 initializers are listed as inputs too.
    if (values_.contains(info.name()) && !known.contains(info.name()))
      continue;
    if (info.name().empty())
      return llvm::createStringError("an input has no name");
    if (!known.insert(info.name()).second)
      return llvm::createStringError("input '" + info.name() +
                                     "' is there twice");
    llvm::Expected<RankedTensorType> type = getInputType(info);
    if (!type)
      return type.takeError();
    define(info.name(),
           {graph_.addInput(info.name(), *type), std::nullopt, nullptr});
    names += (names.empty() ? "" : ", ") + info.name();
  }
  for (const auto &[input, shape] : options_.shapes)
    if (!known.contains(input))
      return llvm::createStringError("the model has no input '" + input +
                                     "'; its inputs are " + names);
  setDefaultBounds();
  return llvm::Error::success();
}

void GraphImporter::setDefaultBounds() {
  constexpr int64_t maxBatch = 16, maxOther = 2048;
  for (auto [symbol, axis] : llvm::enumerate(symbolAxes_)) {
    int64_t fallback = axis == 0 ? maxBatch : maxOther;
    graph_.setDefaultBounds(symbol, 1,
                            options_.defaultDimMax > 0 ? options_.defaultDimMax
                                                       : fallback);
  }
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// Follows unmet producers from `start` until a node comes again: a node of a
/// cycle.
static int findCycle(int start, ArrayRef<SmallVector<int, 4>> producers,
                     ArrayRef<unsigned> unmet) {
  llvm::DenseSet<int> seen;
  int node = start;
  while (seen.insert(node).second)
    node = *llvm::find_if(producers[node], [&](int p) { return unmet[p] > 0; });
  return node;
}

llvm::Expected<std::vector<const onnx::NodeProto *>>
GraphImporter::sortNodes() {
  const onnx::GraphProto &graph = file_.graph();
  llvm::StringMap<int> producer;
  for (auto [i, node] : llvm::enumerate(graph.node()))
    for (const std::string &output : node.output())
      if (!output.empty() && (values_.contains(output) ||
                              !producer.try_emplace(output, int(i)).second))
        return llvm::createStringError(describeNode(node) + ": value '" +
                                       output + "' is defined twice");

  std::vector<SmallVector<int, 4>> producers(graph.node_size()),
      users(graph.node_size());
  std::vector<unsigned> unmet(graph.node_size(), 0);
  for (auto [i, node] : llvm::enumerate(graph.node())) {
    for (const std::string &input : node.input()) {
      if (input.empty())
        continue;
      used_.insert(input);
      auto it = producer.find(input);
      if (it == producer.end()) {
        if (values_.contains(input))
          continue;
        return llvm::createStringError(
            describeNode(node) + ": input '" + input +
            "' is missing: no initializer, input or node gives it");
      }
      producers[i].push_back(it->second);
      users[it->second].push_back(int(i));
      ++unmet[i];
    }
  }
  for (const onnx::ValueInfoProto &output : graph.output()) {
    used_.insert(output.name());
    if (!producer.contains(output.name()) && !values_.contains(output.name()))
      return llvm::createStringError("output '" + output.name() +
                                     "' is missing: no node gives it");
  }

  // Kahn's algorithm; among ready nodes the file's order decides.
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (int i = 0; i < graph.node_size(); ++i)
    if (unmet[i] == 0)
      ready.push(i);
  std::vector<const onnx::NodeProto *> order;
  while (!ready.empty()) {
    int i = ready.top();
    ready.pop();
    order.push_back(&graph.node(i));
    for (int user : users[i])
      if (--unmet[user] == 0)
        ready.push(user);
  }
  if (order.size() < size_t(graph.node_size())) {
    int start = int(llvm::find_if(unmet, [](unsigned n) { return n > 0; }) -
                    unmet.begin());
    return llvm::createStringError(
        "the graph has a cycle through " +
        describeNode(graph.node(findCycle(start, producers, unmet))));
  }
  return order;
}

void GraphImporter::importNode(const onnx::NodeProto &proto) {
  graph_.setScope(describeNode(proto));
  Node node(*this, proto);
  bool isKnown = proto.input_size() > 0;
  for (unsigned i = 0; isKnown && i < node.getNumInputs(); ++i)
    isKnown = !node.hasInput(i) || node.getContents(i);
  if (graph_.hasFailed() || (isKnown && evaluate(node)))
    return;
  const OpEntry *entry = findOp(proto.op_type(), getOpset());
  assert(entry && "unsupported ops are found before import");
  entry->import(node);
  for (const std::string &output : proto.output())
    if (!graph_.hasFailed() && used_.contains(output) &&
        !values_.contains(output))
      graph_.fail("output '" + output + "' is not supported");
}

llvm::Error GraphImporter::takeError() {
  std::string message = llvm::toString(graph_.takeError());
  if (graph_.getNumSymbols() > 0)
    message += " (with open input dimensions; --shape INPUT=1x… fixes them)";
  return llvm::createStringError(message);
}

//===----------------------------------------------------------------------===//
// The whole
//===----------------------------------------------------------------------===//

llvm::Error GraphImporter::checkOutput(const onnx::ValueInfoProto &info,
                                       RankedTensorType type) {
  auto fail = [&](const Twine &what) {
    return llvm::createStringError("output '" + info.name() +
                                   "' is declared with " + what);
  };
  if (!info.type().has_tensor_type())
    return llvm::Error::success();
  const onnx::TypeProto::Tensor &declared = info.type().tensor_type();
  if (declared.elem_type() != onnx::TensorProto::UNDEFINED &&
      onnximport::getElementType(declared.elem_type(), *graph_.getContext()) !=
          type.getElementType())
    return fail("the element type " + getTypeName(declared.elem_type()) +
                ", which its node does not give");
  if (!declared.has_shape() || overridesStatic_)
    return llvm::Error::success();
  if (declared.shape().dim_size() != type.getRank())
    return fail(Twine(declared.shape().dim_size()) + " dimensions, but has " +
                Twine(type.getRank()));
  for (auto [axis, dim] : llvm::enumerate(declared.shape().dim()))
    if (dim.dim_value() > 0 && !type.isDynamicDim(axis) &&
        dim.dim_value() != type.getDimSize(axis))
      return fail("the size " + Twine(dim.dim_value()) + " on axis " +
                  Twine(axis) + ", but has " + Twine(type.getDimSize(axis)));
  return llvm::Error::success();
}

llvm::Expected<OwningOpRef<ModuleOp>> GraphImporter::finish() {
  SmallVector<Value> outputs;
  std::vector<std::string> names;
  graph_.setScope("");
  for (const onnx::ValueInfoProto &info : file_.graph().output()) {
    Value value = getValue(info.name());
    if (!value)
      return takeError();
    if (llvm::Error error =
            checkOutput(info, cast<RankedTensorType>(value.getType())))
      return error;
    outputs.push_back(value);
    names.push_back(info.name());
  }
  if (outputs.empty())
    return llvm::createStringError("the graph has no output");
  return graph_.finish(outputs, names);
}

llvm::Expected<OwningOpRef<ModuleOp>> GraphImporter::run() {
  if (llvm::Error error = defineInitializers())
    return error;
  if (llvm::Error error = defineInputs())
    return error;
  llvm::Expected<std::vector<const onnx::NodeProto *>> order = sortNodes();
  if (!order)
    return order.takeError();
  for (const onnx::NodeProto *node : *order) {
    importNode(*node);
    if (graph_.hasFailed())
      return takeError();
  }
  return finish();
}

} // namespace pare::onnximport
