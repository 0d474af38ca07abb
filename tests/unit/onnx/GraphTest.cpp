//===- GraphTest.cpp - Graphs: order, names, shapes -----------------------===//
#include "TestModel.h"

using namespace mlir;

namespace pare {
namespace {

TEST_F(OnnxTest, NodesAreSorted) {
  TestModel model;
  model.input("x", {"4"}).output("y");
  model.node("Exp", {"a"}, {"y"});
  model.node("Relu", {"x"}, {"a"});
  Model imported = import(model);
  std::vector<nn::UnaryOp> ops = find<nn::UnaryOp>(imported);
  ASSERT_EQ(ops.size(), 2u);
  EXPECT_EQ(ops[0].getKind(), nn::UnaryKind::relu);
}

TEST_F(OnnxTest, CycleNamesANodeOfIt) {
  TestModel model;
  model.input("x", {"4"}).output("z");
  model.node("Relu", {"b"}, {"z"});
  model.node("Add", {"x", "b"}, {"a"});
  model.node("Exp", {"a"}, {"b"});
  std::string error = errorOf(model);
  EXPECT_CONTAINS(error, "the graph has a cycle through node '");
  EXPECT_FALSE(llvm::StringRef(error).contains("Relu")) << error;
}

TEST_F(OnnxTest, MissingValuesAreNamed) {
  TestModel model;
  model.input("x", {"4"}).output("y");
  model.node("Add", {"x", "w"}, {"y"});
  EXPECT_CONTAINS(errorOf(model),
                  "node 'Add_0' (Add): input 'w' is missing: no initializer, "
                  "input or node gives it");
  TestModel noOutput;
  noOutput.input("x", {"4"}).output("y");
  noOutput.node("Relu", {"x"}, {"z"});
  EXPECT_CONTAINS(errorOf(noOutput), "output 'y' is missing");
}

TEST_F(OnnxTest, DoubleDefinitionsAreNamed) {
  TestModel model;
  model.input("x", {"4"}).output("y");
  model.node("Relu", {"x"}, {"y"});
  model.node("Exp", {"x"}, {"y"});
  EXPECT_CONTAINS(errorOf(model), "node 'Exp_1' (Exp): value 'y' is defined "
                                  "twice");
  TestModel weights;
  weights.floats("w", {1});
  weights.floats("w", {1});
  weights.output("w");
  EXPECT_CONTAINS(errorOf(weights), "initializer 'w' is there twice");
}

TEST_F(OnnxTest, UnsupportedOpsAreAllNamedAndCounted) {
  TestModel model;
  model.input("x", {"4"}).output("y");
  model.node("NonMaxSuppression", {"x"}, {"a"});
  model.node("NonMaxSuppression", {"a"}, {"b"});
  model.node("Magic", {"b"}, {"c"}).set_domain("com.example");
  setString(model.node("Pad", {"c"}, {"y"}), "mode", "wrap");
  EXPECT_CONTAINS(errorOf(model),
                  "not supported: NonMaxSuppression x2 (no such op here), Pad "
                  "(mode wrap), com.example.Magic (no such op here)");
  auto found =
      getOnnxImporter().findUnsupported(write("model.onnx", model.serialize()));
  ASSERT_TRUE(bool(found));
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].op, "NonMaxSuppression");
  EXPECT_EQ((*found)[0].count, 2u);
}

TEST_F(OnnxTest, OpsHaveTheirOpset) {
  TestModel model(16);
  model.input("x", {"4"}).output("y");
  model.node("Gelu", {"x"}, {"y"});
  EXPECT_CONTAINS(errorOf(model), "not supported: Gelu");
}

TEST_F(OnnxTest, SymbolsInOrderOfAppearance) {
  TestModel model;
  model.input("x", {"n", "3", "len"}).input("z", {"n", "3", "0"}).output("y");
  model.node("Add", {"x", "z"}, {"y"});
  options.shapes["z"] = "nx3xlen"; // one name: names may hold an x
  EXPECT_CONTAINS(errorOf(model), "shape option 'nx3xlen' gives 1");
  options.shapes["z"] = "n,3,len";
  Model imported = import(model);
  ASSERT_TRUE(imported.module);
  func::FuncOp entry = nn::getEntry(*imported.module);
  auto names = entry->getAttrOfType<ArrayAttr>(nn::kDimNamesAttr);
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(cast<StringAttr>(names[0]), "n");
  EXPECT_EQ(cast<StringAttr>(names[1]), "len");
  EXPECT_EQ(
      entry->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr).asArrayRef(),
      llvm::ArrayRef<int64_t>({16, 2048}));
  EXPECT_EQ(resultType(imported),
            "tensor<?x3x?xf32, affine_map<()[s0, s1] -> (s0, 3, s1)>>");
  EXPECT_EQ(nn::getValueName(entry.getArgument(1)), "z");
}

TEST_F(OnnxTest, UnnamedDimensionsAreNamedAfterTheirInput) {
  TestModel model;
  model.input("x", {"-1", "?"}).output("y");
  model.node("Relu", {"x"}, {"y"});
  Model imported = import(model);
  ASSERT_TRUE(imported.module);
  auto names = nn::getEntry(*imported.module)
                   ->getAttrOfType<ArrayAttr>(nn::kDimNamesAttr);
  EXPECT_EQ(cast<StringAttr>(names[0]), "x_0");
  EXPECT_EQ(cast<StringAttr>(names[1]), "x_1");
}

TEST_F(OnnxTest, ShapeOptions) {
  TestModel model;
  model.input("x", {"n", "3", "len"}).output("y");
  model.node("Relu", {"x"}, {"y"});
  options.shapes["x"] = "2x3x40";
  Model fixed = import(model);
  EXPECT_EQ(resultType(fixed), "tensor<2x3x40xf32>");
  options.shapes["x"] = "batch:1..8x3x40";
  Model bounded = import(model);
  EXPECT_EQ(resultType(bounded),
            "tensor<?x3x40xf32, affine_map<()[s0] -> (s0, 3, 40)>>");
  EXPECT_EQ(nn::getEntry(*bounded.module)
                ->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr)[0],
            8);
  options.shapes["x"] = "2x3";
  EXPECT_CONTAINS(errorOf(model), "input 'x' has 3 dimensions, but its shape "
                                  "option '2x3' gives 2");
  options.shapes.clear();
  options.shapes["image"] = "2x3";
  EXPECT_CONTAINS(errorOf(model),
                  "the model has no input 'image'; its inputs are x");
}

TEST_F(OnnxTest, InputsWithoutShapeNeedOne) {
  TestModel model;
  model.input("x", {}).output("y");
  model.graph()
      .mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->clear_shape();
  model.node("Relu", {"x"}, {"y"});
  EXPECT_CONTAINS(errorOf(model), "give one with --shape x=");
  options.shapes["x"] = "1x4";
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<1x4xf32>");
}

TEST_F(OnnxTest, BadInputDimensions) {
  for (const char *dim : {"-2", "4294967296"}) {
    TestModel model;
    model.input("x", {dim}).output("y");
    model.node("Relu", {"x"}, {"y"});
    EXPECT_CONTAINS(errorOf(model),
                    std::string("input 'x' has the dimension ") + dim);
  }
  TestModel huge;
  huge.input("x", {"2000000000", "2000000000", "2000000000"}).output("y");
  huge.node("Relu", {"x"}, {"y"});
  EXPECT_CONTAINS(errorOf(huge), "larger than any memory");
}

TEST_F(OnnxTest, DeclaredOutputsMustAgree) {
  TestModel model;
  model.input("x", {"4", "5"}).output("y", {"4", "6"});
  model.node("Relu", {"x"}, {"y"});
  EXPECT_CONTAINS(
      errorOf(model),
      "output 'y' is declared with the size 6 on axis 1, but has 5");
  TestModel rank;
  rank.input("x", {"4", "5"}).output("y", {"4"});
  rank.node("Relu", {"x"}, {"y"});
  EXPECT_CONTAINS(errorOf(rank), "declared with 1 dimensions, but has 2");
  TestModel type;
  type.input("x", {"4"}).output("y", {"4"}, onnx::TensorProto::INT64);
  type.node("Relu", {"x"}, {"y"});
  EXPECT_CONTAINS(errorOf(type), "declared with the element type int64");
}

TEST_F(OnnxTest, InconsistentShapesNameTheNode) {
  TestModel model;
  model.input("x", {"4", "5"}).output("y");
  model.floats("w", {6, 7});
  model.node("MatMul", {"x", "w"}, {"y"});
  EXPECT_CONTAINS(errorOf(model), "node 'MatMul_0' (MatMul): nn.matmul: inner "
                                  "dimensions differ");
  TestModel types;
  types.input("x", {"4"})
      .input("z", {"4"}, onnx::TensorProto::INT64)
      .output("y");
  types.node("Add", {"x", "z"}, {"y"});
  EXPECT_CONTAINS(errorOf(types), "node 'Add_0' (Add): nn.binary: element "
                                  "types differ");
}

TEST_F(OnnxTest, InitializersListedAsInputs) {
  TestModel model;
  model.input("x", {"4"}).input("w", {"4"}).output("y");
  model.floats("w", {4});
  model.node("Add", {"x", "w"}, {"y"});
  Model imported = import(model);
  ASSERT_TRUE(imported.module);
  EXPECT_EQ(nn::getEntry(*imported.module).getNumArguments(), 1u);
}

TEST_F(OnnxTest, SourceNames) {
  TestModel model;
  model.input("x", {"4"}).output("y");
  model.node("Relu", {"x"}, {"hidden"});
  model.node("Exp", {"hidden"}, {"y"});
  Model imported = import(model);
  std::vector<nn::UnaryOp> ops = find<nn::UnaryOp>(imported);
  ASSERT_EQ(ops.size(), 2u);
  EXPECT_EQ(nn::getValueName(ops[0].getResult()), "hidden");
  EXPECT_EQ(nn::getEntry(*imported.module)
                .getResultAttrOfType<StringAttr>(0, nn::kNameAttr),
            "y");
}

TEST_F(OnnxTest, WrongAttributeType) {
  TestModel model;
  model.input("x", {"4", "4"}).output("y");
  setString(model.node("Concat", {"x", "x"}, {"y"}), "axis", "zero");
  EXPECT_CONTAINS(errorOf(model), "attribute 'axis' must be an integer");
}

} // namespace
} // namespace pare
