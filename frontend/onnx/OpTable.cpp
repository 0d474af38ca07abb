//===- OpTable.cpp - The registry of ONNX ops -----------------------------===//
#include "frontend/onnx/OpTable.h"
#include <map>

namespace pare::onnximport {

static const llvm::StringMap<const OpEntry *> &getTable() {
  static const llvm::StringMap<const OpEntry *> table = [] {
    llvm::StringMap<const OpEntry *> entries;
    for (llvm::ArrayRef<OpEntry> ops :
         {getConvOps(), getElementwiseOps(), getMatMulOps(), getMovementOps(),
          getNormOps(), getQuantOps(), getReduceOps(), getResizeOps(),
          getShapeOps(), getSliceOps()})
      for (const OpEntry &op : ops) {
        bool isNew = entries.try_emplace(op.name, &op).second;
        assert(isNew && "an op is registered twice");
        (void)isNew;
      }
    return entries;
  }();
  return table;
}

const OpEntry *findOp(llvm::StringRef name, int opset) {
  const OpEntry *entry = getTable().lookup(name);
  return entry && entry->since <= opset ? entry : nullptr;
}

llvm::StringRef getStringAttribute(const onnx::NodeProto &node,
                                   llvm::StringRef name,
                                   llvm::StringRef fallback) {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (attribute.name() == name && attribute.has_s())
      return attribute.s();
  return fallback;
}

int64_t getIntAttribute(const onnx::NodeProto &node, llvm::StringRef name,
                        int64_t fallback) {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (attribute.name() == name && attribute.has_i())
      return attribute.i();
  return fallback;
}

std::vector<Unsupported> findUnsupported(const onnx::GraphProto &graph,
                                         int opset) {
  std::map<std::pair<std::string, std::string>, unsigned> counts;
  for (const onnx::NodeProto &node : graph.node()) {
    bool isDefault = node.domain().empty() || node.domain() == "ai.onnx";
    std::string name =
        isDefault ? node.op_type() : node.domain() + "." + node.op_type();
    const OpEntry *entry = isDefault ? findOp(node.op_type(), opset) : nullptr;
    if (!entry)
      ++counts[{name, "no such op here"}];
    else if (std::string why = entry->check ? entry->check(node, opset) : "";
             !why.empty())
      ++counts[{name, why}];
  }
  if (graph.sparse_initializer_size())
    counts[{"sparse initializer", ""}] = graph.sparse_initializer_size();
  std::vector<Unsupported> found;
  for (const auto &[key, count] : counts)
    found.push_back({key.first, count, key.second});
  return found;
}

} // namespace pare::onnximport
