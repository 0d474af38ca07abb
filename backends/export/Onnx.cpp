//===- Onnx.cpp - ONNX files with other weights ---------------------------===//
//
// The file is edited where it is serialized: nodes and weights that change are
// written anew, all other bytes of the model are the source's.
//
// Products become MatMulNBits and lookups GatherBlockQuantized, ONNX Runtime's
// own operators (domain com.microsoft, docs/ContribOperators.md there): codes
// of 2, 4 or 8 bits, lowest bits first, with one scale per block of a row and
// one zero point, which is 2^(bits - 1) where none is given.
//
//===----------------------------------------------------------------------===//
#include "backends/export/Export.h"
#include "frontend/Importer.h"
#include "frontend/onnx/OnnxFile.h"
#include "frontend/onnx/Wire.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/raw_ostream.h"
#include <climits>

using namespace llvm;
using namespace pare::onnximport;

namespace pare::exporting {
namespace {

// Field numbers (onnx.proto).
enum : uint64_t {
  kModelGraph = 7,
  kModelOpsets = 8,
  kGraphNodes = 1,
  kGraphInitializers = 5,
  kGraphInputs = 11,
  kTensorRawData = 9
};

constexpr const char *kDomain = "com.microsoft";

bool isExpressible(const BlockFormat &format) {
  return format.codes != CodeKind::Codebook && !format.hasMinimum() &&
         (format.bits == 2 || format.bits == 4 || format.bits == 8);
}

/// Numbers of `bits` bits, lowest bits first; a row of `width` fills whole
/// bytes.
std::string packRows(ArrayRef<uint8_t> numbers, size_t width, unsigned bits) {
  size_t rows = numbers.size() / width, bytes = (width * bits + 7) / 8;
  std::string packed(rows * bytes, '\0');
  for (size_t row = 0; row < rows; ++row)
    for (size_t i = 0; i < width; ++i) {
      size_t at = i * bits;
      packed[row * bytes + at / 8] |=
          char(numbers[row * width + i] << (at % 8));
    }
  return packed;
}

onnx::TensorProto makeTensor(const std::string &name, int type,
                             ArrayRef<int64_t> shape, std::string bytes) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(type);
  for (int64_t dim : shape)
    tensor.add_dims(dim);
  tensor.set_raw_data(std::move(bytes));
  return tensor;
}

int64_t getInt(const onnx::NodeProto &node, StringRef name, int64_t fallback) {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (attribute.name() == name)
      return attribute.i();
  return fallback;
}

float getFloat(const onnx::NodeProto &node, StringRef name, float fallback) {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (attribute.name() == name)
      return attribute.f();
  return fallback;
}

void addInt(onnx::NodeProto &node, const char *name, int64_t value) {
  onnx::AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(value);
}

/// A run of the output: bytes of the source, or new ones.
struct Segment {
  ArrayRef<uint8_t> view;
  std::string owned;
  StringRef text() const { return owned.empty() ? toStringRef(view) : owned; }
};

class Rewriter {
public:
  Rewriter(OnnxFile &file, ArrayRef<uint8_t> bytes,
           const ExportRequest &request)
      : file(file), bytes(bytes), request(request) {}

  Error run();
  Expected<uint64_t> write();

private:
  struct Use {
    int node, input;
  };
  Error fail(StringRef tensor, const Twine &why) {
    return onOneLine(
        createStringError(file.path() + ": tensor '" + tensor + "' " + why));
  }
  void listUses(const onnx::GraphProto &graph, bool isMain);
  Error replace(StringRef name, const QuantizedWeight &weight);
  Error checkUse(StringRef name, const onnx::NodeProto &node, int input,
                 const QuantizedWeight &weight,
                 const onnx::TensorProto &source);
  Expected<std::vector<std::string>>
  addTensors(StringRef name, const QuantizedWeight &weight, int type);
  void rewriteNode(int index, const QuantizedWeight &weight,
                   ArrayRef<std::string> tensors);
  std::string makeName(const Twine &wanted);
  Error embed(const onnx::TensorProto &tensor, std::vector<Segment> &out);

  OnnxFile &file;
  ArrayRef<uint8_t> bytes;
  const ExportRequest &request;
  StringMap<SmallVector<Use, 1>> uses; ///< by nodes of the main graph
  StringSet<> elsewhere;               ///< used by outputs and inner graphs
  StringSet<> names;
  StringSet<> dropped;                 ///< tensors that are gone
  std::map<int, std::string> newNodes; ///< serialized fields in a node's place
  std::string newTensors;              ///< serialized fields
};

void Rewriter::listUses(const onnx::GraphProto &graph, bool isMain) {
  for (int i = 0; i < graph.node_size(); ++i) {
    const onnx::NodeProto &node = graph.node(i);
    for (int j = 0; j < node.input_size(); ++j) {
      names.insert(node.input(j));
      if (isMain)
        uses[node.input(j)].push_back({i, j});
      else
        elsewhere.insert(node.input(j));
    }
    for (const std::string &output : node.output())
      names.insert(output);
    for (const onnx::AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        listUses(attribute.g(), false);
      for (const onnx::GraphProto &inner : attribute.graphs())
        listUses(inner, false);
    }
  }
  for (const onnx::ValueInfoProto &output : graph.output())
    elsewhere.insert(output.name());
  for (const onnx::ValueInfoProto &input : graph.input())
    names.insert(input.name());
  for (const onnx::TensorProto &tensor : graph.initializer())
    names.insert(tensor.name());
}

std::string Rewriter::makeName(const Twine &wanted) {
  std::string name = wanted.str();
  for (unsigned i = 1; !names.insert(name).second; ++i)
    name = (wanted + "." + Twine(i)).str();
  return name;
}

Error Rewriter::checkUse(StringRef name, const onnx::NodeProto &node, int input,
                         const QuantizedWeight &weight,
                         const onnx::TensorProto &source) {
  StringRef op = node.op_type();
  std::string keep =
      ("; keep it as it is with --rule '" + name + "=none'").str();
  bool isForeign = !node.domain().empty() && node.domain() != "ai.onnx";
  bool isRows = op == "Gather" || (op == "Gemm" && getInt(node, "transB", 0));
  if (isForeign ||
      !((op == "MatMul" && input == 1) || (op == "Gemm" && input == 1) ||
        (op == "Gather" && input == 0)))
    return fail(name, "is used by " + op + ", which takes no blocks" + keep);
  if (op == "Gemm" &&
      (getInt(node, "transA", 0) || getFloat(node, "alpha", 1) != 1 ||
       getFloat(node, "beta", 1) != 1))
    return fail(name, "is used by a Gemm with transA, alpha or beta, which "
                      "MatMulNBits has not" +
                          keep);
  if (op == "Gather" && getInt(node, "axis", 0) != 0)
    return fail(name, "is gathered along an axis other than the first" + keep);
  int64_t rows = weight.rows(), columns = weight.columns();
  if (!isRows)
    std::swap(rows, columns);
  if (source.dims_size() != 2 || source.dims(0) != rows ||
      source.dims(1) != columns)
    return fail(name, "has another shape than its new weights" + keep);
  return Error::success();
}

/// Codes, scales and zero points as initializers; their names.
Expected<std::vector<std::string>>
Rewriter::addTensors(StringRef name, const QuantizedWeight &weight, int type) {
  const BlockFormat &format = weight.format();
  BlockPlanes planes = weight.unpack();
  int64_t rows = weight.rows(), blocks = weight.columns() / format.group;
  unsigned bits = format.bits;
  std::vector<uint8_t> zeros = planes.zeros;
  if (format.codes == CodeKind::Signed) // offset by the default, 128
    for (uint8_t &code : planes.codes)
      code ^= 0x80;
  else if (!format.zeroBits && format.offset != 1 << (bits - 1))
    zeros.assign(size_t(rows * blocks), uint8_t(format.offset));

  std::string scales;
  if (type == onnx::TensorProto::FLOAT) {
    std::vector<float> values = getGroupScales(format, planes);
    scales.assign(reinterpret_cast<const char *>(values.data()),
                  values.size() * sizeof(float));
  } else if (!format.hasTwoLevels() && format.scale == ScaleType::F16) {
    scales = toStringRef(ArrayRef(planes.scales));
  } else {
    return fail(name, "is float16, and scales of " + format.name +
                          " have more digits: use a format without '_k'");
  }
  std::string prefix = (name + "." + format.name).str();
  std::vector<std::string> made;
  auto add = [&](StringRef suffix, int type, ArrayRef<int64_t> shape,
                 std::string data) {
    made.push_back(makeName(prefix + "." + suffix));
    appendField(newTensors, kGraphInitializers,
                makeTensor(made.back(), type, shape, std::move(data))
                    .SerializeAsString());
  };
  bool isTable = file.graph().node(uses[name][0].node).op_type() == "Gather";
  int64_t blockBytes = int64_t(format.group) * bits / 8;
  SmallVector<int64_t> shape = {rows, blocks, blockBytes};
  if (isTable)
    shape = {rows, blocks * blockBytes};
  add("codes", onnx::TensorProto::UINT8, shape,
      packRows(planes.codes, size_t(weight.columns()), bits));
  add("scales", type, {rows, blocks}, std::move(scales));
  if (!zeros.empty()) {
    std::string packed = packRows(zeros, size_t(blocks), bits);
    int64_t width = int64_t(packed.size()) / rows;
    add("zeros", onnx::TensorProto::UINT8, {rows, width}, std::move(packed));
  }
  return made;
}

void Rewriter::rewriteNode(int index, const QuantizedWeight &weight,
                           ArrayRef<std::string> tensors) {
  const onnx::NodeProto &old = file.graph().node(index);
  onnx::NodeProto node = old;
  node.clear_attribute();
  node.clear_input();
  node.set_domain(kDomain);
  int64_t group = weight.format().group;
  if (old.op_type() == "Gather") {
    node.set_op_type("GatherBlockQuantized");
    node.add_input(tensors[0]);
    node.add_input(old.input(1));
    addInt(node, "gather_axis", 0);
    addInt(node, "quantize_axis", 1);
  } else {
    node.set_op_type("MatMulNBits");
    node.add_input(old.input(0));
    node.add_input(tensors[0]);
    addInt(node, "K", weight.columns());
    addInt(node, "N", weight.rows());
    if (request.accuracy != ProductAccuracy::Default)
      addInt(node, "accuracy_level",
             request.accuracy == ProductAccuracy::F32 ? 1 : 4);
  }
  for (const std::string &name : tensors.drop_front())
    node.add_input(name);
  addInt(node, "bits", weight.format().bits);
  addInt(node, "block_size", group);

  std::string &fields = newNodes[index];
  bool hasBias =
      old.op_type() == "Gemm" && old.input_size() > 2 && !old.input(2).empty();
  if (!hasBias) {
    appendField(fields, kGraphNodes, node.SerializeAsString());
    return;
  }
  node.set_output(0, makeName(old.output(0) + ".product"));
  onnx::NodeProto sum;
  sum.set_op_type("Add");
  if (!old.name().empty())
    sum.set_name(old.name() + ".bias");
  sum.add_input(node.output(0));
  sum.add_input(old.input(2));
  sum.add_output(old.output(0));
  appendField(fields, kGraphNodes, node.SerializeAsString());
  appendField(fields, kGraphNodes, sum.SerializeAsString());
}

Error Rewriter::replace(StringRef name, const QuantizedWeight &weight) {
  const onnx::GraphProto &graph = file.graph();
  const onnx::TensorProto *source = nullptr;
  for (const onnx::TensorProto &tensor : graph.initializer())
    if (tensor.name() == name)
      source = &tensor;
  for (int i = 0; i < graph.node_size() && !source; ++i) {
    const onnx::NodeProto &node = graph.node(i);
    if (node.op_type() != "Constant" || node.output_size() != 1 ||
        node.output(0) != name)
      continue;
    for (const onnx::AttributeProto &attribute : node.attribute())
      if (attribute.name() == "value")
        source = &attribute.t();
    newNodes[i] = ""; // nothing else uses it
  }
  if (!source)
    return fail(name, "is none of the file's: it cannot be written");
  if (elsewhere.contains(name))
    return fail(name, "is an output or used by an inner graph: keep it as it "
                      "is with --rule '" +
                          name + "=none'");
  if (source->data_type() != onnx::TensorProto::FLOAT &&
      source->data_type() != onnx::TensorProto::FLOAT16)
    return fail(name, "is " + getTypeName(source->data_type()) +
                          ", not float or float16: keep it as it is with "
                          "--rule '" +
                          name + "=none'");
  const SmallVector<Use, 1> &users = uses[name];
  if (users.empty())
    return fail(name, "has no uses");
  bool isTable = graph.node(users[0].node).op_type() == "Gather";
  for (const Use &use : users) {
    const onnx::NodeProto &node = graph.node(use.node);
    if (Error error = checkUse(name, node, use.input, weight, *source))
      return error;
    if ((node.op_type() == "Gather") != isTable)
      return fail(name, "is looked up and multiplied by, which need different "
                        "layouts: keep it as it is with --rule '" +
                            name + "=none'");
  }
  Expected<std::vector<std::string>> tensors =
      addTensors(name, weight, source->data_type());
  if (!tensors)
    return tensors.takeError();
  for (const Use &use : users)
    rewriteNode(use.node, weight, *tensors);
  dropped.insert(name);
  return Error::success();
}

Error Rewriter::run() {
  listUses(file.graph(), true);
  for (const auto &[name, weight] : request.weights)
    if (Error error = replace(name, weight))
      return error;
  return Error::success();
}

/// A tensor of external data as one that holds its bytes.
Error Rewriter::embed(const onnx::TensorProto &tensor,
                      std::vector<Segment> &out) {
  mlir::MLIRContext context;
  Expected<TensorBytes> data =
      file.read(tensor, "tensor '" + tensor.name() + "'", context);
  if (!data)
    return data.takeError();
  onnx::TensorProto own = tensor;
  own.clear_external_data();
  own.clear_data_location();
  std::string head = own.SerializeAsString();
  head += makeFieldHeader(kTensorRawData, data->bytes().size());
  out.push_back(
      {{},
       makeFieldHeader(kGraphInitializers, head.size() + data->bytes().size()) +
           head});
  out.push_back({data->bytes(), {}}); // `file` keeps it mapped
  return Error::success();
}

Expected<uint64_t> Rewriter::write() {
  Expected<std::vector<WireField>> model = splitFields(bytes);
  if (!model)
    return model.takeError();
  std::vector<Segment> inner, whole;
  unsigned graphs = 0;
  for (const WireField &field : *model) {
    if (field.number != kModelGraph)
      continue;
    ++graphs;
    Expected<std::vector<WireField>> graph = splitFields(field.value);
    if (!graph)
      return graph.takeError();
    int nodes = 0, tensors = 0, inputs = 0;
    for (const WireField &part : *graph) {
      if (part.number == kGraphNodes) {
        auto it = newNodes.find(nodes++);
        if (it != newNodes.end()) {
          if (!it->second.empty())
            inner.push_back({{}, it->second});
          continue;
        }
      } else if (part.number == kGraphInitializers) {
        const onnx::TensorProto &tensor = file.graph().initializer(tensors++);
        if (dropped.contains(tensor.name()))
          continue;
        if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
          if (Error error = embed(tensor, inner))
            return std::move(error);
          continue;
        }
      } else if (part.number == kGraphInputs) {
        // Files of old versions list weights as inputs too.
        if (dropped.contains(file.graph().input(inputs++).name()))
          continue;
      }
      inner.push_back({part.whole, {}});
    }
    inner.push_back({{}, newTensors});
  }
  if (graphs != 1)
    return createStringError(file.path() + ": has " + Twine(graphs) +
                             " graphs, not one");
  uint64_t size = 0;
  for (const Segment &segment : inner)
    size += segment.text().size();
  bool hasDomain = false;
  for (const onnx::OperatorSetIdProto &set : file.model().opset_import())
    hasDomain |= set.domain() == kDomain;
  for (const WireField &field : *model) {
    if (field.number != kModelGraph) {
      whole.push_back({field.whole, {}});
      continue;
    }
    whole.push_back({{}, makeFieldHeader(kModelGraph, size)});
    std::move(inner.begin(), inner.end(), std::back_inserter(whole));
  }
  if (!hasDomain) {
    onnx::OperatorSetIdProto set;
    set.set_domain(kDomain);
    set.set_version(1);
    whole.push_back({});
    appendField(whole.back().owned, kModelOpsets, set.SerializeAsString());
  }
  uint64_t total = 0;
  for (const Segment &segment : whole)
    total += segment.text().size();
  if (total > INT_MAX)
    return createStringError("'" + request.output + "' would have " +
                             Twine(total) +
                             " bytes, but ONNX files have at most 2 GB: "
                             "quantize more of the model");
  if (Error error = writeFile(request.output, [&](raw_ostream &stream) {
        for (const Segment &segment : whole)
          stream << segment.text();
      }))
    return std::move(error);
  return total;
}

class OnnxExporter : public Exporter {
public:
  StringRef name() const override { return "ONNX"; }
  StringRef runner() const override { return "ONNX Runtime"; }
  bool takesOutput(StringRef output) const override {
    return output.ends_with(".onnx");
  }
  bool takesSource(StringRef format) const override { return format == "onnx"; }
  bool supports(const BlockFormat &format, bool) const override {
    return isExpressible(format);
  }
  StringRef getTableFormat() const override { return "int8_g32"; }

  Expected<uint64_t> write(const ExportRequest &request) const override {
    Expected<std::unique_ptr<OnnxFile>> file = OnnxFile::open(request.source);
    if (!file)
      return file.takeError();
    Expected<std::shared_ptr<MappedFile>> bytes =
        MappedFile::open(request.source);
    if (!bytes)
      return bytes.takeError();
    Rewriter rewriter(**file, (*bytes)->bytes(), request);
    if (Error error = rewriter.run())
      return std::move(error);
    return rewriter.write();
  }
};

} // namespace

const Exporter &getOnnxExporter() {
  static const OnnxExporter exporter;
  return exporter;
}

} // namespace pare::exporting
