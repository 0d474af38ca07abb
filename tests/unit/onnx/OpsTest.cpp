//===- OpsTest.cpp - ONNX ops as nn ops -----------------------------------===//
#include "TestModel.h"

using namespace mlir;

namespace pare {
namespace {

TEST_F(OnnxTest, ShapeArithmeticLeavesNoOp) {
  // y = reshape(x, [shape(x)[0], -1]), as exporters write it.
  TestModel model;
  model.input("x", {"batch", "3", "8"}).output("y");
  model.integers("zero", {0}).clear_dims();
  model.integers("minus", {-1});
  model.integers("axes", {0});
  model.node("Shape", {"x"}, {"shape"});
  setInt(model.node("Gather", {"shape", "zero"}, {"n"}), "axis", 0);
  model.node("Unsqueeze", {"n", "axes"}, {"n1"});
  setInt(model.node("Concat", {"n1", "minus"}, {"to"}), "axis", 0);
  model.node("Reshape", {"x", "to"}, {"y"});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported),
            "tensor<?x24xf32, affine_map<()[s0] -> (s0, 24)>>");
  EXPECT_EQ(find<nn::ReshapeOp>(imported).size(), 1u);
  EXPECT_TRUE(find<nn::DimValuesOp>(imported).empty());
  EXPECT_TRUE(find<nn::ConstantOp>(imported).empty());
}

TEST_F(OnnxTest, ShapesUsedAsDataBecomeValues) {
  TestModel model;
  model.input("x", {"batch", "3"}).output("y", {}, onnx::TensorProto::INT64);
  model.node("Shape", {"x"}, {"y"});
  Model imported = import(model);
  std::vector<nn::DimValuesOp> values = find<nn::DimValuesOp>(imported);
  ASSERT_EQ(values.size(), 1u);
  EXPECT_EQ(values[0].getValues().getNumResults(), 2u);
  EXPECT_TRUE(nn::isConstant(values[0].getValues().getResult(1), 3));
}

TEST_F(OnnxTest, FloatShapeArithmetic) {
  // Half the width, through floats: floor(width * 0.5).
  TestModel model;
  model.input("x", {"1", "1", "width"}).output("y");
  model.integers("index", {2});
  model.floats("half", {1}, 0.5f);
  model.integers("head", {1, 1});
  model.node("Shape", {"x"}, {"shape"});
  setInt(model.node("Gather", {"shape", "index"}, {"w"}), "axis", 0);
  setInt(model.node("Cast", {"w"}, {"wf"}), "to", onnx::TensorProto::FLOAT);
  model.node("Mul", {"wf", "half"}, {"hf"});
  model.node("Floor", {"hf"}, {"ff"});
  setInt(model.node("Cast", {"ff"}, {"h"}), "to", onnx::TensorProto::INT64);
  setInt(model.node("Concat", {"head", "h"}, {"sizes"}), "axis", 0);
  model.node("Resize", {"x", "", "", "sizes"}, {"y"});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported),
            "tensor<1x1x?xf32, affine_map<()[s0] -> (1, 1, s0 floordiv 2)>>");
}

TEST_F(OnnxTest, ConvIsChannelsLastBetweenTransposes) {
  TestModel model;
  model.input("x", {"n", "3", "32", "32"}).output("y");
  model.floats("w", {8, 3, 3, 3});
  model.floats("b", {8});
  onnx::NodeProto &node = model.node("Conv", {"x", "w", "b"}, {"y"});
  setInts(node, "strides", {2, 2});
  setInts(node, "pads", {1, 1, 1, 1});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported),
            "tensor<?x8x16x16xf32, affine_map<()[s0] -> (s0, 8, 16, 16)>>");
  std::vector<nn::ConvOp> convs = find<nn::ConvOp>(imported);
  ASSERT_EQ(convs.size(), 1u);
  EXPECT_EQ(cast<RankedTensorType>(convs[0].getFilter().getType()).getShape(),
            llvm::ArrayRef<int64_t>({8, 3, 3, 3}));
  auto transpose = convs[0].getX().getDefiningOp<nn::TransposeOp>();
  ASSERT_TRUE(transpose);
  EXPECT_EQ(transpose.getPermutation(), llvm::ArrayRef<int64_t>({0, 2, 3, 1}));
}

TEST_F(OnnxTest, SamePaddingPutsTheOddOneAtTheEnd) {
  TestModel model;
  model.input("x", {"1", "1", "10"}).output("y");
  model.floats("w", {1, 1, 4});
  onnx::NodeProto &node = model.node("Conv", {"x", "w"}, {"y"});
  setString(node, "auto_pad", "SAME_UPPER");
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<1x1x10xf32>");
  EXPECT_EQ(find<nn::ConvOp>(imported)[0].getPads(),
            llvm::ArrayRef<int64_t>({1, 2}));
}

TEST_F(OnnxTest, GroupedTransposedConv) {
  TestModel model;
  model.input("x", {"1", "4", "5", "5"}).output("y");
  model.floats("w", {4, 3, 2, 2});
  onnx::NodeProto &node = model.node("ConvTranspose", {"x", "w"}, {"y"});
  setInt(node, "group", 2);
  setInts(node, "strides", {2, 2});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<1x6x10x10xf32>");
  EXPECT_EQ(cast<RankedTensorType>(
                find<nn::ConvTransposeOp>(imported)[0].getFilter().getType())
                .getShape(),
            llvm::ArrayRef<int64_t>({6, 2, 2, 2}));
}

TEST_F(OnnxTest, TransposedConvToAShape) {
  // (4 - 1) * 2 + 3 = 9 elements, cut to 8 or grown to 10.
  for (int64_t wanted : {8, 10}) {
    TestModel model;
    model.input("x", {"1", "1", "4"}).output("y");
    model.floats("w", {1, 1, 3});
    onnx::NodeProto &node = model.node("ConvTranspose", {"x", "w"}, {"y"});
    setInts(node, "strides", {2});
    setInts(node, "output_shape", {wanted});
    Model imported = import(model);
    EXPECT_EQ(resultType(imported),
              "tensor<1x1x" + std::to_string(wanted) + "xf32>");
  }
}

TEST_F(OnnxTest, HostileWindows) {
  for (auto [name, values] :
       {std::pair<std::string, std::vector<int64_t>>{"strides", {0, 1}},
        {"strides", {1}},
        {"dilations", {INT64_MAX, INT64_MAX}},
        {"pads", {-1, 0, 0, 0}},
        {"pads", {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}},
        {"kernel_shape", {5, 5}}}) {
    TestModel model;
    model.input("x", {"1", "1", "8", "8"}).output("y");
    model.floats("w", {1, 1, 3, 3});
    setInts(model.node("Conv", {"x", "w"}, {"y"}), name, values);
    EXPECT_CONTAINS(errorOf(model), "node 'Conv_0' (Conv)");
  }
}

TEST_F(OnnxTest, SliceToTheEnd) {
  TestModel model;
  model.input("x", {"n", "10"}).output("y");
  model.integers("starts", {1, -3});
  model.integers("ends", {INT64_MAX, INT64_MAX});
  model.node("Slice", {"x", "starts", "ends"}, {"y"});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported),
            "tensor<?x3xf32, affine_map<()[s0] -> (s0 - 1, 3)>>");
}

TEST_F(OnnxTest, SliceBackwards) {
  TestModel model;
  model.input("x", {"10"}).output("y");
  model.integers("starts", {-1});
  model.integers("ends", {INT64_MIN});
  model.integers("axes", {0});
  model.integers("steps", {-3});
  model.node("Slice", {"x", "starts", "ends", "axes", "steps"}, {"y"});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<4xf32>");
  nn::SliceOp slice = find<nn::SliceOp>(imported).front();
  EXPECT_TRUE(nn::isConstant(slice.getStarts().getResult(0), 9));
  EXPECT_EQ(slice.getSteps()[0], -3);
}

TEST_F(OnnxTest, SliceThatLimitsADimension) {
  // A table of 512 positions, cut to the sequence: longer ones cannot work.
  TestModel model;
  model.input("x", {"1", "length"}).output("y");
  model.floats("table", {1, 512});
  model.integers("zero", {0});
  model.integers("one", {1});
  model.node("Shape", {"x"}, {"shape"});
  setInt(model.node("Gather", {"shape", "one"}, {"end"}), "axis", 0);
  model.node("Slice", {"table", "zero", "end", "one"}, {"part"});
  model.node("Add", {"x", "part"}, {"y"});
  Model imported = import(model);
  ASSERT_TRUE(imported.module);
  EXPECT_EQ(nn::getEntry(*imported.module)
                ->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr)[0],
            512);
  ASSERT_EQ(imported.warnings.size(), 1u);
  EXPECT_CONTAINS(imported.warnings[0], "'length' is limited to 1..512");
  // Bounds that the user gives are not narrowed in silence.
  options.shapes["x"] = "1xlength:1..1024";
  EXPECT_CONTAINS(errorOf(model), "node 'Slice_2' (Slice)");
}

TEST_F(OnnxTest, SqueezeOfADynamicAxis) {
  TestModel model;
  model.input("x", {"4", "n"}).output("y");
  model.integers("axes", {1});
  model.node("Squeeze", {"x", "axes"}, {"y"});
  Model imported = import(model);
  ASSERT_TRUE(imported.module);
  EXPECT_EQ(nn::getEntry(*imported.module)
                ->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr)[0],
            1);
  options.shapes["x"] = "4x3";
  EXPECT_CONTAINS(errorOf(model), "axis 1 must have size 1");
}

TEST_F(OnnxTest, GatherAtOneIndexIsASlice) {
  TestModel model;
  model.input("x", {"3", "n", "8"}).output("y");
  model.integers("index", {-1}).clear_dims();
  model.node("Gather", {"x", "index"}, {"y"});
  Model imported = import(model);
  EXPECT_EQ(resultType(imported),
            "tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>");
  ASSERT_EQ(find<nn::SliceOp>(imported).size(), 1u);
  EXPECT_TRUE(nn::isConstant(
      find<nn::SliceOp>(imported)[0].getStarts().getResult(0), 2));
  EXPECT_TRUE(find<nn::GatherOp>(imported).empty());
}

TEST_F(OnnxTest, GatherOutsideOfItsAxis) {
  TestModel model;
  model.input("x", {"3", "8"}).output("y");
  model.integers("index", {3});
  model.node("Gather", {"x", "index"}, {"y"});
  EXPECT_CONTAINS(errorOf(model), "its index is outside of axis 0");
}

TEST_F(OnnxTest, ReshapeRules) {
  auto reshape = [&](std::vector<int64_t> shape, bool allowZero = false) {
    TestModel model;
    model.input("x", {"2", "3", "4"}).output("y");
    model.integers("shape", shape);
    setInt(model.node("Reshape", {"x", "shape"}, {"y"}), "allowzero",
           allowZero);
    return model;
  };
  Model kept = import(reshape({0, -1}));
  EXPECT_EQ(resultType(kept), "tensor<2x12xf32>");
  EXPECT_CONTAINS(errorOf(reshape({5, -1})), "do not divide");
  EXPECT_CONTAINS(errorOf(reshape({5, 5})), "changes the number of elements");
  EXPECT_CONTAINS(errorOf(reshape({-1, -1})), "negative dimension");
  EXPECT_CONTAINS(errorOf(reshape({2, 3, 4, 0})), "keeps axis 3");
  EXPECT_CONTAINS(errorOf(reshape({0, 5}, true)), "changes the number");
  EXPECT_CONTAINS(errorOf(reshape({INT64_MAX, INT64_MAX})), "Reshape_0");
}

TEST_F(OnnxTest, SoftmaxBeforeOpset13Flattens) {
  for (int opset : {12, 13}) {
    TestModel model(opset);
    model.input("x", {"2", "3", "4"}).output("y");
    setInt(model.node("Softmax", {"x"}, {"y"}), "axis", 1);
    Model imported = import(model);
    EXPECT_EQ(resultType(imported), "tensor<2x3x4xf32>");
    EXPECT_EQ(find<nn::ReshapeOp>(imported).size(), opset == 12 ? 2u : 0u);
  }
}

TEST_F(OnnxTest, ReduceAxesMovedToAnInput) {
  for (int opset : {13, 18}) {
    TestModel model(opset);
    model.input("x", {"2", "3", "4"}).output("y");
    model.integers("axes", {-1});
    onnx::NodeProto &node = model.node("ReduceMean", {"x"}, {"y"});
    if (opset == 13)
      setInts(node, "axes", {-1});
    else
      node.add_input("axes");
    setInt(node, "keepdims", 0);
    Model imported = import(model);
    EXPECT_EQ(resultType(imported), "tensor<2x3xf32>");
  }
}

TEST_F(OnnxTest, SplitsAndTheirSizes) {
  TestModel model;
  model.input("x", {"2", "7"}).output("b");
  model.integers("sizes", {3, 4});
  setInt(model.node("Split", {"x", "sizes"}, {"a", "b"}), "axis", 1);
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<2x4xf32>");
  TestModel uneven;
  uneven.input("x", {"2", "7"}).output("b");
  setInt(uneven.node("Split", {"x"}, {"a", "b"}), "axis", 1);
  EXPECT_CONTAINS(errorOf(uneven), "does not divide into 2 parts");
}

TEST_F(OnnxTest, NumbersThatAreNoSizes) {
  for (int64_t size : {INT64_MIN, INT64_MAX, int64_t(1) << 41})
    for (const char *op : {"Split", "Reshape", "Expand", "Tile", "Gather"}) {
      TestModel model;
      model.input("x", {"n"}).output("y");
      model.integers("sizes", {size});
      model.node(op, {"x", "sizes"}, {"y"});
      EXPECT_CONTAINS(errorOf(model), std::string(op) + "_0");
    }
}

TEST_F(OnnxTest, ResizeByScalesKeepsThem) {
  TestModel model;
  model.input("x", {"1", "4", "10", "10"}).output("y");
  onnx::TensorProto &scales = model.floats("scales", {4}, 1.0f);
  float values[] = {1, 1, 1.5f, 2};
  scales.set_raw_data(values, sizeof(values));
  onnx::NodeProto &node = model.node("Resize", {"x", "", "scales"}, {"y"});
  setString(node, "mode", "linear");
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<1x4x15x20xf32>");
  nn::ResizeOp resize = find<nn::ResizeOp>(imported).front();
  EXPECT_EQ(resize.getScales(), llvm::ArrayRef<float>({1.5f, 2.0f}));
}

TEST_F(OnnxTest, QuantizedWeightsPerChannel) {
  TestModel model;
  model.input("x", {"2", "4"}).output("y");
  onnx::TensorProto &codes = model.floats("codes", {3, 4});
  codes.set_data_type(onnx::TensorProto::INT8);
  codes.set_raw_data(std::string(12, '\x05'));
  model.floats("scale", {3}, 0.5f);
  setInt(model.node("DequantizeLinear", {"codes", "scale"}, {"w"}), "axis", 0);
  setInt(model.node("Gemm", {"x", "w"}, {"y"}), "transB", 1);
  Model imported = import(model);
  EXPECT_EQ(resultType(imported), "tensor<2x3xf32>");
  // The scale runs along the rows.
  std::vector<nn::BinaryOp> ops = find<nn::BinaryOp>(imported);
  ASSERT_EQ(ops.size(), 1u);
  EXPECT_EQ(cast<RankedTensorType>(ops[0].getRhs().getType()).getShape(),
            llvm::ArrayRef<int64_t>({3, 1}));
}

TEST_F(OnnxTest, MissingInputsOfKnownValues) {
  // Found by fuzzing: an op on constants that lacks an operand.
  for (const char *op : {"Gather", "Slice", "Reshape", "Expand", "Range",
                         "Where", "Concat", "Add", "Cast", "Squeeze",
                         "Unsqueeze", "ConstantOfShape", "Tile", "Split"}) {
    TestModel model;
    model.integers("c", {1});
    model.output("y", {}, onnx::TensorProto::INT64);
    model.node(op, {"c"}, {"y"});
    EXPECT_FALSE(llvm::StringRef(errorOf(model)).contains('\n')) << op;
  }
}

TEST_F(OnnxTest, NoInputRunsAwayWithTheImporter) {
  // Shape expressions that double in size with every op are refused.
  TestModel model;
  model.input("x", {"n"}).output("v60", {}, onnx::TensorProto::INT64);
  model.integers("one", {1});
  model.node("Shape", {"x"}, {"v0"});
  for (int i = 0; i < 60; ++i) {
    std::string from = "v" + std::to_string(i), sum = "s" + std::to_string(i);
    model.node("Add", {from, "one"}, {sum});
    model.node("Mul", {sum, sum}, {"v" + std::to_string(i + 1)});
  }
  // Too large to be known, the rest is computed at run time.
  Model imported = import(model);
  EXPECT_FALSE(find<nn::BinaryOp>(imported).empty());
}

} // namespace
} // namespace pare
