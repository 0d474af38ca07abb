//===- OnnxEdit.cpp - ONNX files with other nodes and weights -------------===//
#include "backends/export/OnnxEdit.h"
#include "backends/export/Export.h"
#include "frontend/Importer.h"
#include "frontend/onnx/Wire.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <climits>

using namespace llvm;
using namespace pare::onnximport;

namespace pare::exporting {

// Field numbers (onnx.proto).
enum : uint64_t {
  kModelGraph = 7,
  kModelOpsets = 8,
  kGraphNodes = 1,
  kGraphInitializers = 5,
  kGraphInputs = 11,
  kTensorRawData = 9
};

/// A run of the output: bytes of the source, or new ones.
struct FileSegment {
  ArrayRef<uint8_t> view;
  std::string owned;
  StringRef text() const { return owned.empty() ? toStringRef(view) : owned; }
};

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

bool isPlainGemm(const onnx::NodeProto &node) {
  return !getInt(node, "transA", 0) && getFloat(node, "alpha", 1) == 1 &&
         getFloat(node, "beta", 1) == 1;
}

bool isStandard(const onnx::NodeProto &node) {
  return node.domain().empty() || node.domain() == "ai.onnx";
}

Expected<std::unique_ptr<OnnxEdit>> OnnxEdit::open(StringRef path) {
  Expected<std::unique_ptr<OnnxFile>> file = OnnxFile::open(path);
  if (!file)
    return file.takeError();
  Expected<std::shared_ptr<MappedFile>> bytes = MappedFile::open(path);
  if (!bytes)
    return bytes.takeError();
  std::unique_ptr<OnnxEdit> edit(new OnnxEdit);
  edit->file_ = std::move(*file);
  edit->bytes_ = std::move(*bytes);
  edit->listUses(edit->graph(), true);
  return std::move(edit);
}

void OnnxEdit::listUses(const onnx::GraphProto &graph, bool isMain) {
  for (int i = 0; i < graph.node_size(); ++i) {
    const onnx::NodeProto &node = graph.node(i);
    for (int j = 0; j < node.input_size(); ++j) {
      names_.insert(node.input(j));
      if (isMain)
        uses_[node.input(j)].push_back({i, j});
      else
        elsewhere_.insert(node.input(j));
    }
    for (const std::string &output : node.output())
      names_.insert(output);
    for (const onnx::AttributeProto &attribute : node.attribute()) {
      if (isMain && node.op_type() == "Constant" && node.output_size() == 1 &&
          attribute.name() == "value") {
        tensors_[node.output(0)] = &attribute.t();
        constants_[node.output(0)] = i;
      }
      if (attribute.has_g())
        listUses(attribute.g(), false);
      for (const onnx::GraphProto &inner : attribute.graphs())
        listUses(inner, false);
    }
  }
  for (const onnx::ValueInfoProto &output : graph.output())
    elsewhere_.insert(output.name());
  for (const onnx::ValueInfoProto &input : graph.input())
    names_.insert(input.name());
  for (const onnx::TensorProto &tensor : graph.initializer()) {
    names_.insert(tensor.name());
    if (isMain)
      tensors_[tensor.name()] = &tensor;
  }
}

ArrayRef<OnnxEdit::Use> OnnxEdit::uses(StringRef tensor) const {
  auto it = uses_.find(tensor);
  return it == uses_.end() ? ArrayRef<Use>() : ArrayRef<Use>(it->second);
}

const onnx::TensorProto *OnnxEdit::findTensor(StringRef name) const {
  return tensors_.lookup(name);
}

Error OnnxEdit::fail(StringRef tensor, const Twine &why) const {
  return onOneLine(
      createStringError(file_->path() + ": tensor '" + tensor + "' " + why));
}

std::string OnnxEdit::makeName(const Twine &wanted) {
  std::string name = wanted.str();
  for (unsigned i = 1; !names_.insert(name).second; ++i)
    name = (wanted + "." + Twine(i)).str();
  return name;
}

std::string OnnxEdit::addTensor(const Twine &wanted, int type,
                                ArrayRef<int64_t> shape, std::string bytes) {
  onnx::TensorProto tensor;
  tensor.set_name(makeName(wanted));
  tensor.set_data_type(type);
  for (int64_t dim : shape)
    tensor.add_dims(dim);
  tensor.set_raw_data(std::move(bytes));
  appendField(newTensors_, kGraphInitializers, tensor.SerializeAsString());
  return tensor.name();
}

void OnnxEdit::drop(StringRef tensor) {
  if (auto it = constants_.find(tensor); it != constants_.end())
    replaced_[it->second] = "";
  else
    dropped_.insert(tensor);
}

void OnnxEdit::replaceNode(int index, ArrayRef<onnx::NodeProto> nodes) {
  std::string &fields = replaced_[index];
  fields.clear();
  for (const onnx::NodeProto &node : nodes)
    appendField(fields, kGraphNodes, node.SerializeAsString());
}

void OnnxEdit::addNode(int after, const onnx::NodeProto &node) {
  appendField(added_[after], kGraphNodes, node.SerializeAsString());
}

void OnnxEdit::useDomain(const char *domain, int version) {
  domains_.try_emplace(domain, version);
}

/// A tensor of external data as one that holds its bytes.
Error OnnxEdit::embed(const onnx::TensorProto &tensor,
                      std::vector<FileSegment> &out) {
  mlir::MLIRContext context;
  Expected<TensorBytes> data =
      file_->read(tensor, "tensor '" + tensor.name() + "'", context);
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
  out.push_back({data->bytes(), {}}); // `file_` keeps it mapped
  return Error::success();
}

Expected<uint64_t> OnnxEdit::write(StringRef output) {
  Expected<std::vector<WireField>> model = splitFields(bytes_->bytes());
  if (!model)
    return model.takeError();
  std::vector<FileSegment> inner, whole;
  auto add = [&](const std::map<int, std::string> &fields, int index) {
    auto it = fields.find(index);
    if (it == fields.end())
      return false;
    if (!it->second.empty())
      inner.push_back({{}, it->second});
    return true;
  };
  unsigned graphs = 0;
  for (const WireField &field : *model) {
    if (field.number != kModelGraph)
      continue;
    ++graphs;
    Expected<std::vector<WireField>> graph = splitFields(field.value);
    if (!graph)
      return graph.takeError();
    int nodes = 0, tensors = 0, inputs = 0;
    add(added_, kStart);
    for (const WireField &part : *graph) {
      if (part.number == kGraphNodes) {
        if (!add(replaced_, nodes))
          inner.push_back({part.whole, {}});
        add(added_, nodes++);
        continue;
      }
      if (part.number == kGraphInitializers) {
        const onnx::TensorProto &tensor = this->graph().initializer(tensors++);
        if (dropped_.contains(tensor.name()))
          continue;
        if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
          if (Error error = embed(tensor, inner))
            return std::move(error);
          continue;
        }
      } else if (part.number == kGraphInputs) {
        // Files of old versions list weights as inputs too.
        if (dropped_.contains(this->graph().input(inputs++).name()))
          continue;
      }
      inner.push_back({part.whole, {}});
    }
    inner.push_back({{}, newTensors_});
  }
  if (graphs != 1)
    return createStringError(file_->path() + ": has " + Twine(graphs) +
                             " graphs, not one");
  uint64_t size = 0;
  for (const FileSegment &segment : inner)
    size += segment.text().size();
  for (const onnx::OperatorSetIdProto &set : file_->model().opset_import())
    domains_.erase(set.domain());
  for (const WireField &field : *model) {
    if (field.number != kModelGraph) {
      whole.push_back({field.whole, {}});
      continue;
    }
    whole.push_back({{}, makeFieldHeader(kModelGraph, size)});
    std::move(inner.begin(), inner.end(), std::back_inserter(whole));
  }
  for (const auto &[domain, version] : domains_) {
    onnx::OperatorSetIdProto set;
    set.set_domain(domain);
    set.set_version(version);
    whole.push_back({});
    appendField(whole.back().owned, kModelOpsets, set.SerializeAsString());
  }
  uint64_t total = 0;
  for (const FileSegment &segment : whole)
    total += segment.text().size();
  if (total > INT_MAX)
    return createStringError("'" + output + "' would have " + Twine(total) +
                             " bytes, but ONNX files have at most 2 GB: "
                             "quantize more of the model");
  if (Error error = writeFile(output, [&](raw_ostream &stream) {
        for (const FileSegment &segment : whole)
          stream << segment.text();
      }))
    return std::move(error);
  return total;
}

} // namespace pare::exporting
