//===- BertTest.cpp - BERT-family graphs ----------------------------------===//
#include "Files.h"
#include "frontend/safetensors/SafetensorsImporter.h"
#include "mlir/IR/MLIRContext.h"

using namespace mlir;

namespace pare {
namespace {

using TensorList = std::vector<std::pair<std::string, std::vector<int64_t>>>;

constexpr llvm::StringLiteral tinyConfig = R"({"model_type":"bert",
  "hidden_size":8,"num_hidden_layers":2,"num_attention_heads":2,
  "intermediate_size":16,"hidden_act":"gelu","layer_norm_eps":1e-12,
  "max_position_embeddings":32,"type_vocab_size":2,"vocab_size":11})";

TensorList makeTinyBert(const std::string &prefix = "") {
  TensorList tensors = {
      {prefix + "embeddings.word_embeddings.weight", {11, 8}},
      {prefix + "embeddings.position_embeddings.weight", {32, 8}},
      {prefix + "embeddings.token_type_embeddings.weight", {2, 8}},
      {prefix + "embeddings.LayerNorm.weight", {8}},
      {prefix + "embeddings.LayerNorm.bias", {8}}};
  for (int layer = 0; layer < 2; ++layer) {
    std::string at = prefix + "encoder.layer." + std::to_string(layer) + ".";
    auto linear = [&](const std::string &name, int64_t in, int64_t out) {
      tensors.push_back({at + name + ".weight", {out, in}});
      tensors.push_back({at + name + ".bias", {out}});
    };
    auto norm = [&](const std::string &name) {
      tensors.push_back({at + name + ".weight", {8}});
      tensors.push_back({at + name + ".bias", {8}});
    };
    for (const char *part : {"query", "key", "value"})
      linear(std::string("attention.self.") + part, 8, 8);
    linear("attention.output.dense", 8, 8);
    norm("attention.output.LayerNorm");
    linear("intermediate.dense", 8, 16);
    linear("output.dense", 16, 8);
    norm("output.LayerNorm");
  }
  return tensors;
}

class BertTest : public ::testing::Test {
protected:
  void writeModel(const TensorList &tensors,
                  llvm::StringRef config = tinyConfig) {
    folder_.write("config.json", config);
    folder_.write("model.safetensors", makeSafetensors(tensors));
  }
  llvm::Expected<Model> import(std::map<std::string, std::string> shapes = {}) {
    ImportOptions options;
    options.shapes = std::move(shapes);
    return getSafetensorsImporter().import(folder_.path(), options, context_);
  }
  std::string importError(std::map<std::string, std::string> shapes = {}) {
    llvm::Expected<Model> model = import(std::move(shapes));
    return model ? "" : llvm::toString(model.takeError());
  }
  static bool contains(llvm::StringRef text, llvm::StringRef part) {
    return text.contains(part);
  }
  template <typename OpT> static unsigned count(Model &model) {
    unsigned n = 0;
    model.module->walk([&](OpT) { ++n; });
    return n;
  }

  TemporaryFolder folder_;
  MLIRContext context_;
};

TEST_F(BertTest, DynamicInputsByDefault) {
  writeModel(makeTinyBert());
  llvm::Expected<Model> model = import();
  ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
  func::FuncOp entry = nn::getEntry(*model->module);
  ASSERT_EQ(entry.getNumArguments(), 3u);
  EXPECT_EQ(nn::getValueName(entry.getArgument(0)), "input_ids");
  EXPECT_EQ(nn::getValueName(entry.getArgument(2)), "token_type_ids");
  EXPECT_EQ(entry.getResultAttrOfType<StringAttr>(0, nn::kNameAttr),
            "last_hidden_state");
  EXPECT_EQ(
      entry->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr).asArrayRef(),
      llvm::ArrayRef<int64_t>({64, 32}));
  nn::Shape shape = nn::getShape(entry.getResultTypes()[0]);
  ASSERT_EQ(shape.size(), 3u);
  EXPECT_EQ(shape[0], getAffineSymbolExpr(0, &context_));
  EXPECT_EQ(shape[1], getAffineSymbolExpr(1, &context_));
  EXPECT_TRUE(nn::isConstant(shape[2], 8));
  EXPECT_EQ(count<nn::AttentionOp>(*model), 2u);
  EXPECT_EQ(count<nn::LayerNormOp>(*model), 5u);
  EXPECT_EQ(count<nn::MatMulOp>(*model), 12u);
  EXPECT_EQ(count<nn::WeightOp>(*model), makeTinyBert().size());
  EXPECT_FALSE(model->encoder.has_value());
}

TEST_F(BertTest, WeightsAreViewsUnderTheirOwnNames) {
  writeModel(makeTinyBert("bert."));
  llvm::Expected<Model> model = import();
  ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
  llvm::StringRef name = "bert.encoder.layer.1.output.dense.weight";
  ASSERT_TRUE(model->weights->contains(name));
  EXPECT_EQ(model->weights->get(name).get(5), 5);
  EXPECT_TRUE(model->module->lookupSymbol<nn::WeightOp>(name));
}

TEST_F(BertTest, OneShapeFixesAllInputs) {
  writeModel(makeTinyBert());
  llvm::Expected<Model> model = import({{"input_ids", "4x16"}});
  ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
  func::FuncOp entry = nn::getEntry(*model->module);
  for (Type type : entry.getArgumentTypes())
    EXPECT_EQ(cast<RankedTensorType>(type).getShape(),
              llvm::ArrayRef<int64_t>({4, 16}));
  EXPECT_EQ(cast<RankedTensorType>(entry.getResultTypes()[0]).getShape(),
            llvm::ArrayRef<int64_t>({4, 16, 8}));
}

TEST_F(BertTest, BoundsOfSymbols) {
  writeModel(makeTinyBert());
  llvm::Expected<Model> model = import({{"input_ids", "1xtokens:2..24"}});
  ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
  func::FuncOp entry = nn::getEntry(*model->module);
  EXPECT_EQ(entry->getAttrOfType<ArrayAttr>(nn::kDimNamesAttr)[0],
            StringAttr::get(&context_, "tokens"));
  EXPECT_EQ(
      entry->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMinAttr).asArrayRef(),
      llvm::ArrayRef<int64_t>({2}));
  EXPECT_EQ(
      entry->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr).asArrayRef(),
      llvm::ArrayRef<int64_t>({24}));
}

TEST_F(BertTest, BadShapeOptions) {
  writeModel(makeTinyBert());
  EXPECT_TRUE(contains(importError({{"pixels", "1x16"}}),
                       "the model has no input 'pixels'; its inputs are "
                       "input_ids, attention_mask, token_type_ids"));
  EXPECT_TRUE(contains(importError({{"input_ids", "1x33"}}),
                       "longer than the model's 32 tokens"));
  EXPECT_TRUE(contains(importError({{"input_ids", "1x2x3"}}),
                       "must have two dimensions"));
  EXPECT_TRUE(contains(importError({{"input_ids", "1x0"}}), "cannot read"));
  EXPECT_TRUE(
      contains(importError({{"input_ids", "1x8"}, {"attention_mask", "1x9"}}),
               "differs from another input's"));
}

TEST_F(BertTest, MissingTensorIsNamed) {
  TensorList tensors = makeTinyBert();
  llvm::erase_if(tensors, [](const auto &tensor) {
    return tensor.first == "encoder.layer.1.output.dense.bias";
  });
  writeModel(tensors);
  EXPECT_TRUE(contains(importError(),
                       "tensor 'encoder.layer.1.output.dense.bias', which "
                       "config.json asks for, is missing"));
}

TEST_F(BertTest, ContradictingConfigNamesTensorAndShapes) {
  TensorList tensors = makeTinyBert();
  tensors[0].second = {12, 8};
  writeModel(tensors);
  EXPECT_TRUE(contains(importError(),
                       "tensor 'embeddings.word_embeddings.weight' has the "
                       "shape [12, 8], but config.json asks for [11, 8]"));
}

TEST_F(BertTest, UnsupportedConfigs) {
  writeModel(makeTinyBert(), R"({"model_type":"rwkv"})");
  EXPECT_TRUE(contains(importError(), "model_type 'rwkv'"));
  auto found = getSafetensorsImporter().findUnsupported(folder_.path());
  ASSERT_TRUE(bool(found));
  EXPECT_EQ(found->size(), 1u);
  writeModel(makeTinyBert(), R"({"model_type":"bert","hidden_act":"mish",)"
                             R"("position_embedding_type":"relative_key"})");
  EXPECT_TRUE(contains(importError(), "hidden_act mish"));
  EXPECT_TRUE(contains(importError(), "position_embedding_type relative_key"));
}

TEST_F(BertTest, ConfigValuesAreChecked) {
  auto replace = [](llvm::StringRef from, llvm::StringRef to) {
    std::string config = tinyConfig.str();
    config.replace(config.find(from), from.size(), to);
    return config;
  };
  writeModel(makeTinyBert(),
             replace("\"num_attention_heads\":2", "\"num_attention_heads\":3"));
  EXPECT_TRUE(contains(importError(), "not a multiple of num_attention_heads"));
  writeModel(makeTinyBert(), replace("\"vocab_size\":11", "\"vocab_size\":-1"));
  EXPECT_TRUE(contains(importError(), "'vocab_size' must be an integer"));
  writeModel(makeTinyBert(), "[1]");
  EXPECT_TRUE(contains(importError(), "expected a JSON object"));
  writeModel(makeTinyBert(), "{");
  EXPECT_TRUE(contains(importError(), "not valid JSON"));
}

TEST_F(BertTest, MissingConfig) {
  std::string file =
      folder_.write("model.safetensors", makeSafetensors(makeTinyBert()));
  llvm::Expected<Model> model =
      getSafetensorsImporter().import(file, {}, context_);
  ASSERT_FALSE(bool(model));
  EXPECT_TRUE(contains(llvm::toString(model.takeError()),
                       "needs the model's config.json beside it"));
}

TEST_F(BertTest, RobertaStartsItsPositionsAfterThePadding) {
  std::string config = tinyConfig.str();
  config.replace(config.find("\"bert\""), 6, "\"roberta\",\"pad_token_id\":1");
  writeModel(makeTinyBert("roberta."), config);
  llvm::Expected<Model> model = import();
  ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
  func::FuncOp entry = nn::getEntry(*model->module);
  EXPECT_EQ(entry->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr)[1], 30);
  entry.walk([&](nn::SliceOp slice) {
    EXPECT_TRUE(nn::isConstant(slice.getStarts().getResult(0), 2));
  });
}

} // namespace
} // namespace pare
