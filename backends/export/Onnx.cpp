//===- Onnx.cpp - ONNX files with other weights ---------------------------===//
//
// Products become MatMulNBits and lookups GatherBlockQuantized, ONNX Runtime's
// own operators (domain com.microsoft, docs/ContribOperators.md there): codes
// of 2, 4 or 8 bits, lowest bits first, with one scale per block of a row and
// one zero point, which is 2^(bits - 1) where none is given.
//
//===----------------------------------------------------------------------===//
#include "backends/export/Export.h"
#include "backends/export/OnnxEdit.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace pare::onnximport;

namespace pare::exporting {
namespace {

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

class Rewriter {
public:
  Rewriter(OnnxEdit &edit, const ExportRequest &request)
      : edit(edit), request(request) {}

  Error run();

private:
  Error replace(StringRef name, const QuantizedWeight &weight);
  Error checkUse(StringRef name, const onnx::NodeProto &node, int input,
                 const QuantizedWeight &weight,
                 const onnx::TensorProto &source);
  Expected<std::vector<std::string>>
  addTensors(StringRef name, const QuantizedWeight &weight, int type);
  void rewriteNode(int index, const QuantizedWeight &weight,
                   ArrayRef<std::string> tensors);

  OnnxEdit &edit;
  const ExportRequest &request;
};

Error Rewriter::checkUse(StringRef name, const onnx::NodeProto &node, int input,
                         const QuantizedWeight &weight,
                         const onnx::TensorProto &source) {
  StringRef op = node.op_type();
  std::string keep =
      ("; keep it as it is with --rule '" + name + "=none'").str();
  bool isRows = op == "Gather" || (op == "Gemm" && getInt(node, "transB", 0));
  if (!isStandard(node) ||
      !((op == "MatMul" && input == 1) || (op == "Gemm" && input == 1) ||
        (op == "Gather" && input == 0)))
    return edit.fail(name,
                     "is used by " + op + ", which takes no blocks" + keep);
  if (op == "Gemm" && !isPlainGemm(node))
    return edit.fail(name,
                     "is used by a Gemm with transA, alpha or beta, which "
                     "MatMulNBits has not" +
                         keep);
  if (op == "Gather" && getInt(node, "axis", 0) != 0)
    return edit.fail(name,
                     "is gathered along an axis other than the first" + keep);
  int64_t rows = weight.rows(), columns = weight.columns();
  if (!isRows)
    std::swap(rows, columns);
  if (source.dims_size() != 2 || source.dims(0) != rows ||
      source.dims(1) != columns)
    return edit.fail(name, "has another shape than its new weights" + keep);
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
    return edit.fail(name, "is float16, and scales of " + format.name +
                               " have more digits: use a format without '_k'");
  }
  std::string prefix = (name + "." + format.name).str();
  std::vector<std::string> made;
  auto add = [&](StringRef suffix, int type, ArrayRef<int64_t> shape,
                 std::string data) {
    made.push_back(
        edit.addTensor(prefix + "." + suffix, type, shape, std::move(data)));
  };
  bool isTable =
      edit.graph().node(edit.uses(name)[0].node).op_type() == "Gather";
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
  const onnx::NodeProto &old = edit.graph().node(index);
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

  bool hasBias =
      old.op_type() == "Gemm" && old.input_size() > 2 && !old.input(2).empty();
  if (!hasBias)
    return edit.replaceNode(index, node);
  node.set_output(0, edit.makeName(old.output(0) + ".product"));
  onnx::NodeProto sum;
  sum.set_op_type("Add");
  if (!old.name().empty())
    sum.set_name(old.name() + ".bias");
  sum.add_input(node.output(0));
  sum.add_input(old.input(2));
  sum.add_output(old.output(0));
  edit.replaceNode(index, {node, sum});
}

Error Rewriter::replace(StringRef name, const QuantizedWeight &weight) {
  const onnx::TensorProto *source = edit.findTensor(name);
  if (!source)
    return edit.fail(name, "is none of the file's: it cannot be written");
  if (edit.isUsedElsewhere(name))
    return edit.fail(name,
                     "is an output or used by an inner graph: keep it as it "
                     "is with --rule '" +
                         name + "=none'");
  if (source->data_type() != onnx::TensorProto::FLOAT &&
      source->data_type() != onnx::TensorProto::FLOAT16)
    return edit.fail(name, "is " + getTypeName(source->data_type()) +
                               ", not float or float16: keep it as it is with "
                               "--rule '" +
                               name + "=none'");
  ArrayRef<OnnxEdit::Use> users = edit.uses(name);
  if (users.empty())
    return edit.fail(name, "has no uses");
  bool isTable = edit.graph().node(users[0].node).op_type() == "Gather";
  for (const OnnxEdit::Use &use : users) {
    const onnx::NodeProto &node = edit.graph().node(use.node);
    if (Error error = checkUse(name, node, use.input, weight, *source))
      return error;
    if ((node.op_type() == "Gather") != isTable)
      return edit.fail(name,
                       "is looked up and multiplied by, which need different "
                       "layouts: keep it as it is with --rule '" +
                           name + "=none'");
  }
  Expected<std::vector<std::string>> tensors =
      addTensors(name, weight, source->data_type());
  if (!tensors)
    return tensors.takeError();
  for (const OnnxEdit::Use &use : users)
    rewriteNode(use.node, weight, *tensors);
  edit.drop(name);
  return Error::success();
}

Error Rewriter::run() {
  for (const auto &[name, weight] : request.weights)
    if (Error error = replace(name, weight))
      return error;
  return Error::success();
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
    Expected<std::unique_ptr<OnnxEdit>> edit = OnnxEdit::open(request.source);
    if (!edit)
      return edit.takeError();
    (*edit)->useDomain(kDomain, 1);
    if (Error error = Rewriter(**edit, request).run())
      return std::move(error);
    return (*edit)->write(request.output);
  }
  Expected<std::unique_ptr<StaticExport>>
  openStatic(StringRef source, ArrayRef<GlobPattern> keepFloat) const override {
    return openOnnxStatic(source, keepFloat);
  }
};

} // namespace

const Exporter &getOnnxExporter() {
  static const OnnxExporter exporter;
  return exporter;
}

} // namespace pare::exporting
