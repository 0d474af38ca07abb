//===- OnnxTest.cpp - ONNX files with other weights -----------------------===//
#include "frontend/onnx/OnnxFile.h"
#include "tests/unit/export/Weights.h"
#include "tests/unit/safetensors/Files.h"

namespace pare::exporting {
namespace {

onnx::NodeProto *addNode(onnx::GraphProto &graph, const char *op,
                         std::vector<std::string> inputs, const char *output) {
  onnx::NodeProto *node = graph.add_node();
  node->set_op_type(op);
  for (const std::string &input : inputs)
    node->add_input(input);
  node->add_output(output);
  return node;
}

void addTensor(onnx::GraphProto &graph, const char *name,
               std::vector<int64_t> shape) {
  onnx::TensorProto *tensor = graph.add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  int64_t count = 1;
  for (int64_t dim : shape) {
    tensor->add_dims(dim);
    count *= dim;
  }
  std::string bytes(size_t(count) * 4, '\0');
  for (size_t i = 0; i < bytes.size(); i += 4)
    bytes[i + 3] = 0x3f; // a small f32
  tensor->set_raw_data(bytes);
}

/// y = (x · a) · Bᵀ + c, and rows of a table.
onnx::ModelProto makeModel() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("test");
  model.add_opset_import()->set_version(17);
  onnx::GraphProto &graph = *model.mutable_graph();
  addTensor(graph, "a", {64, 96});
  addTensor(graph, "b", {32, 96});
  addTensor(graph, "c", {32});
  addTensor(graph, "table", {10, 32});
  addNode(graph, "MatMul", {"x", "a"}, "h");
  onnx::NodeProto *gemm = addNode(graph, "Gemm", {"h", "b", "c"}, "y");
  onnx::AttributeProto *attribute = gemm->add_attribute();
  attribute->set_name("transB");
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(1);
  addNode(graph, "Gather", {"table", "i"}, "z");
  graph.add_input()->set_name("x");
  graph.add_input()->set_name("a"); // as old files have it
  graph.add_output()->set_name("y");
  graph.add_output()->set_name("z");
  return model;
}

int64_t getInt(const onnx::NodeProto &node, const char *name) {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (attribute.name() == name)
      return attribute.i();
  ADD_FAILURE() << name;
  return 0;
}

TEST(Onnx, ReplacesProductsAndLookups) {
  TemporaryFolder folder;
  onnx::ModelProto old = makeModel(), made;
  std::string source = folder.write("in.onnx", old.SerializeAsString()),
              output = folder.path("out.onnx");
  mlir::MLIRContext context;
  RandomWeight a(context, "uint4_g32", 96, 64), b(context, "int8_g32", 32, 96),
      table(context, "int4_g16", 10, 32);
  ExportRequest request{source, output, {}, ProductAccuracy::Int8};
  request.weights.emplace("a", a.weight);
  request.weights.emplace("b", b.weight);
  request.weights.emplace("table", table.weight);
  llvm::Expected<uint64_t> size = getOnnxExporter().write(request);
  ASSERT_TRUE(bool(size)) << llvm::toString(size.takeError());

  auto file = MappedFile::open(output);
  ASSERT_TRUE(bool(file));
  llvm::ArrayRef<uint8_t> bytes = (*file)->bytes();
  EXPECT_EQ(bytes.size(), *size);
  ASSERT_TRUE(made.ParseFromArray(bytes.data(), int(bytes.size())));
  EXPECT_EQ(made.producer_name(), "test");
  ASSERT_EQ(made.opset_import_size(), 2);
  EXPECT_EQ(made.opset_import(1).domain(), "com.microsoft");
  const onnx::GraphProto &graph = made.graph();
  ASSERT_EQ(graph.node_size(), 4);
  EXPECT_EQ(graph.node(0).op_type(), "MatMulNBits");
  EXPECT_EQ(graph.node(0).input_size(), 4); // with zero points
  EXPECT_EQ(getInt(graph.node(0), "K"), 64);
  EXPECT_EQ(getInt(graph.node(0), "N"), 96);
  EXPECT_EQ(getInt(graph.node(0), "bits"), 4);
  EXPECT_EQ(getInt(graph.node(0), "block_size"), 32);
  EXPECT_EQ(getInt(graph.node(0), "accuracy_level"), 4);
  EXPECT_EQ(graph.node(1).op_type(), "MatMulNBits");
  EXPECT_EQ(graph.node(1).input_size(), 3);
  EXPECT_EQ(getInt(graph.node(1), "bits"), 8);
  EXPECT_EQ(graph.node(2).op_type(), "Add");
  EXPECT_EQ(graph.node(2).input(0), graph.node(1).output(0));
  EXPECT_EQ(graph.node(2).input(1), "c");
  EXPECT_EQ(graph.node(2).output(0), "y");
  EXPECT_EQ(graph.node(3).op_type(), "GatherBlockQuantized");
  EXPECT_EQ(graph.node(3).input(1), "i");
  // The weight that was an input too is neither now.
  ASSERT_EQ(graph.input_size(), 1);
  EXPECT_EQ(graph.input(0).name(), "x");
  EXPECT_EQ(graph.initializer(0).SerializeAsString(),
            old.graph().initializer(2).SerializeAsString());
  ASSERT_EQ(graph.initializer_size(), 1 + 3 + 2 + 2);

  // Codes: two to a byte, the first in its lower half; int8's from -128.
  const onnx::TensorProto &codes = graph.initializer(1);
  EXPECT_EQ(codes.name(), "a.uint4_g32.codes");
  for (size_t i = 0; i < a.planes.codes.size(); ++i)
    ASSERT_EQ(uint8_t(codes.raw_data()[i / 2]) >> (4 * (i % 2)) & 15,
              a.planes.codes[i]);
  const onnx::TensorProto &zeros = graph.initializer(3);
  for (size_t i = 0; i < a.planes.zeros.size(); ++i)
    ASSERT_EQ(uint8_t(zeros.raw_data()[i / 2]) >> (4 * (i % 2)) & 15,
              a.planes.zeros[i]);
  const onnx::TensorProto &wide = graph.initializer(4);
  EXPECT_EQ(wide.name(), "b.int8_g32.codes");
  for (size_t i = 0; i < b.planes.codes.size(); ++i)
    ASSERT_EQ(int(uint8_t(wide.raw_data()[i])) - 128,
              int(int8_t(b.planes.codes[i])));
}

/// Weights whose uses have no blocks are errors that name them.
TEST(Onnx, Errors) {
  mlir::MLIRContext context;
  RandomWeight a(context, "int4_g32", 96, 64), b(context, "int4_g32", 32, 96);
  struct {
    const char *name;
    RandomWeight &weight;
    const char *words;
    std::function<void(onnx::GraphProto &)> change;
  } cases[] = {
      {"absent", a, "none of the file", [](onnx::GraphProto &) {}},
      {"a", b, "another shape", [](onnx::GraphProto &) {}},
      {"a", a, "used by Neg, which takes no blocks",
       [](onnx::GraphProto &graph) { addNode(graph, "Neg", {"a"}, "n"); }},
      {"a", a, "is an output",
       [](onnx::GraphProto &graph) { graph.add_output()->set_name("a"); }},
      {"b", b, "a Gemm with transA, alpha or beta",
       [](onnx::GraphProto &graph) {
         onnx::AttributeProto *alpha = graph.mutable_node(1)->add_attribute();
         alpha->set_name("alpha");
         alpha->set_type(onnx::AttributeProto::FLOAT);
         alpha->set_f(2);
       }},
  };
  for (const auto &test : cases) {
    TemporaryFolder folder;
    onnx::ModelProto model = makeModel();
    test.change(*model.mutable_graph());
    std::string source = folder.write("in.onnx", model.SerializeAsString()),
                output = folder.path("out.onnx");
    ExportRequest request{source, output, {}, {}};
    request.weights.emplace(test.name, test.weight.weight);
    llvm::Expected<uint64_t> size = getOnnxExporter().write(request);
    expectError(size.takeError(), {test.name, test.words});
    EXPECT_FALSE(llvm::sys::fs::exists(output));
  }
}

} // namespace
} // namespace pare::exporting
