//===- FileTest.cpp - ONNX files, whole and damaged -----------------------===//
#include "TestModel.h"
#include "frontend/onnx/Wire.h"

using namespace mlir;

namespace pare {
namespace {

/// A model with an initializer above and one below the size of a constant.
TestModel makeModel() {
  TestModel model;
  model.input("x", {"batch", "16"}).output("y", {"batch", "17"});
  model.floats("weight", {16, 17}, 0.5f);
  model.floats("bias", {17}, 2.0f);
  model.node("MatMul", {"x", "weight"}, {"product"});
  model.node("Add", {"product", "bias"}, {"y"});
  return model;
}

TEST_F(OnnxTest, WeightsAreViewsOfTheFile) {
  Model model = import(makeModel());
  ASSERT_TRUE(model.weights && model.weights->contains("weight"));
  const TensorData &weight = model.weights->get("weight");
  EXPECT_EQ(weight.bytes.size(), 16u * 17 * 4);
  EXPECT_EQ(weight.get(100), 0.5);
  // Up to 1 KiB is a constant in the graph.
  EXPECT_FALSE(model.weights->contains("bias"));
  EXPECT_EQ(find<nn::WeightOp>(model).size(), 1u);
  EXPECT_EQ(find<nn::ConstantOp>(model).size(), 1u);
}

TEST_F(OnnxTest, ReducedCopyHoldsLocations) {
  std::string bytes = makeModel().serialize();
  llvm::ArrayRef<uint8_t> file(reinterpret_cast<const uint8_t *>(bytes.data()),
                               bytes.size());
  llvm::Expected<std::string> reduced = onnximport::copyWithoutWeights(file);
  ASSERT_TRUE(bool(reduced));
  EXPECT_LT(reduced->size(), 500u);
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(*reduced));
  auto location =
      onnximport::readRawLocation(model.graph().initializer(0).raw_data());
  ASSERT_TRUE(location.has_value());
  EXPECT_EQ(location->size, 16u * 17 * 4);
  float first;
  std::memcpy(&first, bytes.data() + location->offset, 4);
  EXPECT_EQ(first, 0.5f);
}

TEST_F(OnnxTest, EveryTruncationIsOneLine) {
  std::string bytes = makeModel().serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string error = errorOf(llvm::StringRef(bytes).take_front(size));
    EXPECT_NE(error, "") << "cut at " << size;
    EXPECT_FALSE(llvm::StringRef(error).contains('\n')) << error;
    EXPECT_CONTAINS(error, "model.onnx");
  }
}

TEST_F(OnnxTest, EveryChangedByteIsSurvived) {
  std::string bytes = makeModel().serialize();
  // Most of the file is the weight, where any byte is good.
  for (size_t i = 0; i < bytes.size(); i += i > 150 && i < 1150 ? 97 : 1)
    for (unsigned char flip : {0x01, 0x08, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[i] = char(damaged[i] ^ flip);
      EXPECT_FALSE(llvm::StringRef(errorOf(damaged)).contains('\n'));
    }
}

TEST_F(OnnxTest, NotOnnx) {
  EXPECT_CONTAINS(errorOf("<!DOCTYPE html><html>"), "model.onnx: not a");
  EXPECT_CONTAINS(errorOf(""), "it has no graph");
}

TEST_F(OnnxTest, OpsetsOutsideTheKnownRange) {
  TestModel newer(23), older(9);
  for (TestModel *model : {&newer, &older}) {
    model->input("x", {"1"}).output("y");
    model->node("Relu", {"x"}, {"y"});
  }
  EXPECT_CONTAINS(errorOf(newer), "needs ONNX opset 23, newer than 22");
  EXPECT_CONTAINS(errorOf(older), "has the ONNX opset 9, older than 10");
}

TEST_F(OnnxTest, EveryTypedFieldIsRead) {
  TestModel model;
  model.output("y", {"2"}, onnx::TensorProto::INT32);
  onnx::TensorProto &tensor = *model.graph().add_initializer();
  tensor.set_name("y");
  tensor.set_data_type(onnx::TensorProto::INT32);
  tensor.add_dims(2);
  tensor.add_int32_data(7);
  EXPECT_CONTAINS(errorOf(model), "initializer 'y' does not have the 2 values");
  tensor.add_int32_data(-3);
  Model imported = import(model);
  std::vector<nn::ConstantOp> constants = find<nn::ConstantOp>(imported);
  ASSERT_EQ(constants.size(), 1u);
  auto values =
      cast<DenseElementsAttr>(constants[0].getValue()).getValues<int32_t>();
  EXPECT_EQ(std::vector<int32_t>(values.begin(), values.end()),
            (std::vector<int32_t>{7, -3}));
}

TEST_F(OnnxTest, RawDataMustFitTheShape) {
  TestModel model = makeModel();
  model.graph().mutable_initializer(0)->set_dims(0, 17);
  EXPECT_CONTAINS(errorOf(model),
                  "initializer 'weight' has 1088 bytes of data, but its shape "
                  "and type need 1156");
  model.graph().mutable_initializer(0)->set_dims(0, -1);
  EXPECT_CONTAINS(errorOf(model), "has a negative dimension");
  model.graph().mutable_initializer(0)->set_dims(0, int64_t(1) << 62);
  EXPECT_CONTAINS(errorOf(model), "has more bytes than any memory");
  model.graph().mutable_initializer(0)->set_data_type(
      onnx::TensorProto::STRING);
  EXPECT_CONTAINS(errorOf(model), "element type string");
}

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

TestModel makeExternal(const std::string &location,
                       const std::string &offset = "8",
                       const std::string &length = "1088") {
  TestModel model = makeModel();
  onnx::TensorProto &tensor = *model.graph().mutable_initializer(0);
  tensor.clear_raw_data();
  tensor.set_data_location(onnx::TensorProto::EXTERNAL);
  for (auto [key, value] :
       {std::pair<std::string, std::string>{"location", location},
        {"offset", offset},
        {"length", length}}) {
    onnx::StringStringEntryProto &entry = *tensor.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }
  return model;
}

TEST_F(OnnxTest, ExternalDataIsMapped) {
  std::vector<float> values(2 + 272, 0.25f);
  write("weights.bin",
        llvm::StringRef(reinterpret_cast<const char *>(values.data()),
                        values.size() * 4));
  Model model = import(makeExternal("weights.bin"));
  ASSERT_TRUE(model.weights && model.weights->contains("weight"));
  EXPECT_EQ(model.weights->get("weight").get(271), 0.25);
}

TEST_F(OnnxTest, ExternalDataIsChecked) {
  EXPECT_CONTAINS(errorOf(makeExternal("gone.bin")),
                  "initializer 'weight' names the file 'gone.bin', which does "
                  "not exist");
  EXPECT_CONTAINS(errorOf(makeExternal("/etc/passwd")), "absolute path");
  EXPECT_CONTAINS(errorOf(makeExternal("../x.bin")),
                  "leaves the model's folder");
  write("weights.bin", std::string(1088, '\0'));
  EXPECT_CONTAINS(errorOf(makeExternal("weights.bin")),
                  "needs 1088 bytes at offset 8, but the file has 1088 bytes");
  EXPECT_CONTAINS(errorOf(makeExternal("weights.bin", "0", "4")),
                  "external length '4', but its shape and type need 1088");
  EXPECT_CONTAINS(errorOf(makeExternal("weights.bin", "-1")),
                  "external offset '-1', which is not a number");
  EXPECT_EQ(errorOf(makeExternal("weights.bin", "0")), "");
  ASSERT_FALSE(llvm::sys::fs::create_link("/etc/hostname",
                                          (folder_ + "/link.bin").str()));
  EXPECT_CONTAINS(errorOf(makeExternal("link.bin")),
                  "link that leaves the model's folder");
}

} // namespace
} // namespace pare
