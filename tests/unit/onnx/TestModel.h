//===- TestModel.h - Small ONNX models made by tests ------------*- C++ -*-===//
#ifndef PARE_TESTS_ONNX_TESTMODEL_H
#define PARE_TESTS_ONNX_TESTMODEL_H

#include "frontend/onnx/OnnxImporter.h"
#include "mlir/IR/MLIRContext.h"
#include "onnx.pb.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <string>
#include <vector>

namespace pare {

/// An ONNX model put together line by line.
class TestModel {
public:
  explicit TestModel(int opset = 17) {
    model.set_ir_version(8);
    model.set_producer_name("test");
    model.add_opset_import()->set_version(opset);
    model.mutable_graph()->set_name("graph");
  }

  onnx::GraphProto &graph() { return *model.mutable_graph(); }

  /// A dimension is a size, or a name.
  TestModel &input(const std::string &name, std::vector<std::string> dims,
                   int type = onnx::TensorProto::FLOAT) {
    setType(*graph().add_input(), name, dims, type);
    return *this;
  }
  TestModel &output(const std::string &name, std::vector<std::string> dims = {},
                    int type = onnx::TensorProto::FLOAT) {
    onnx::ValueInfoProto &info = *graph().add_output();
    setType(info, name, dims, type);
    if (dims.empty())
      info.mutable_type()->mutable_tensor_type()->clear_shape();
    return *this;
  }
  onnx::NodeProto &node(const std::string &op, std::vector<std::string> inputs,
                        std::vector<std::string> outputs) {
    onnx::NodeProto &node = *graph().add_node();
    node.set_op_type(op);
    node.set_name(op + "_" + std::to_string(graph().node_size() - 1));
    for (const std::string &input : inputs)
      node.add_input(input);
    for (const std::string &output : outputs)
      node.add_output(output);
    return node;
  }
  onnx::TensorProto &floats(const std::string &name, std::vector<int64_t> dims,
                            float value = 1.0f) {
    onnx::TensorProto &tensor = *graph().add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    int64_t count = 1;
    for (int64_t dim : dims) {
      tensor.add_dims(dim);
      count *= dim;
    }
    std::vector<float> values(count, value);
    tensor.set_raw_data(values.data(), values.size() * sizeof(float));
    return tensor;
  }
  onnx::TensorProto &integers(const std::string &name,
                              std::vector<int64_t> values) {
    onnx::TensorProto &tensor = *graph().add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::INT64);
    tensor.add_dims(int64_t(values.size()));
    tensor.set_raw_data(values.data(), values.size() * sizeof(int64_t));
    return tensor;
  }
  std::string serialize() const { return model.SerializeAsString(); }

  onnx::ModelProto model;

private:
  static void setType(onnx::ValueInfoProto &info, const std::string &name,
                      const std::vector<std::string> &dims, int type) {
    info.set_name(name);
    onnx::TypeProto::Tensor &tensor =
        *info.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    tensor.mutable_shape();
    for (const std::string &dim : dims) {
      auto &entry = *tensor.mutable_shape()->add_dim();
      int64_t size;
      if (llvm::StringRef(dim).getAsInteger(10, size))
        entry.set_dim_param(dim);
      else
        entry.set_dim_value(size);
    }
  }
};

inline void setInt(onnx::NodeProto &node, const std::string &name,
                   int64_t value) {
  onnx::AttributeProto &attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
}
inline void setInts(onnx::NodeProto &node, const std::string &name,
                    std::vector<int64_t> values) {
  onnx::AttributeProto &attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INTS);
  for (int64_t value : values)
    attribute.add_ints(value);
}
inline void setString(onnx::NodeProto &node, const std::string &name,
                      const std::string &value) {
  onnx::AttributeProto &attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::STRING);
  attribute.set_s(value);
}

/// Imports models through files, as users do.
class OnnxTest : public ::testing::Test {
protected:
  OnnxTest() {
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("pare-onnx", folder_));
  }
  ~OnnxTest() override { llvm::sys::fs::remove_directories(folder_); }

  std::string write(llvm::StringRef name, llvm::StringRef bytes) {
    llvm::SmallString<128> path(folder_);
    llvm::sys::path::append(path, name);
    // A new file: overwriting one makes file systems flush it.
    llvm::sys::fs::remove(path);
    std::error_code error;
    llvm::raw_fd_ostream(path, error) << bytes;
    EXPECT_FALSE(error);
    return std::string(path);
  }
  llvm::Expected<Model> importBytes(llvm::StringRef bytes) {
    return getOnnxImporter().import(write("model.onnx", bytes), options,
                                    context);
  }
  /// The error of importing these bytes, "" for none.
  std::string errorOf(llvm::StringRef bytes) {
    llvm::Expected<Model> model = importBytes(bytes);
    return model ? "" : llvm::toString(model.takeError());
  }
  std::string errorOf(const TestModel &model) {
    return errorOf(model.serialize());
  }
  /// Imports a model that must be good.
  Model import(const TestModel &source) {
    llvm::Expected<Model> model = importBytes(source.serialize());
    if (model)
      return std::move(*model);
    ADD_FAILURE() << llvm::toString(model.takeError());
    return {};
  }
  /// The type of a result of the entry, as text.
  static std::string resultType(Model &model, unsigned i = 0) {
    if (!model.module)
      return "";
    std::string text;
    llvm::raw_string_ostream(text)
        << nn::getEntry(*model.module).getResultTypes()[i];
    return text;
  }
  template <typename OpT> static std::vector<OpT> find(Model &model) {
    std::vector<OpT> found;
    if (model.module)
      model.module->walk([&](OpT op) { found.push_back(op); });
    return found;
  }

  llvm::SmallString<128> folder_;
  mlir::MLIRContext context;
  ImportOptions options;
};

#define EXPECT_CONTAINS(text, part)                                            \
  EXPECT_TRUE(llvm::StringRef(text).contains(part)) << text

} // namespace pare

#endif
