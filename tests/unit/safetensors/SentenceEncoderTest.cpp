//===- SentenceEncoderTest.cpp - sentence-transformers folders ------------===//
#include "frontend/safetensors/SentenceEncoder.h"
#include "Files.h"

namespace pare::safetensors {
namespace {

class SentenceEncoderTest : public ::testing::Test {
protected:
  void writeModules(llvm::StringRef pooling, llvm::StringRef extra = "") {
    folder_.write("modules.json",
                  (R"([{"path":"","type":"a.models.Transformer"},)"
                   R"({"path":"1_Pooling","type":"a.models.Pooling"})" +
                   extra + "]")
                      .str());
    folder_.write("1_Pooling/config.json", pooling);
  }
  std::string readError() {
    auto encoder = readSentenceEncoder(folder_.path());
    return encoder ? "" : llvm::toString(encoder.takeError());
  }
  static bool contains(llvm::StringRef text, llvm::StringRef part) {
    return text.contains(part);
  }
  TemporaryFolder folder_;
};

TEST_F(SentenceEncoderTest, PlainFolder) {
  auto encoder = readSentenceEncoder(folder_.path());
  ASSERT_TRUE(bool(encoder));
  EXPECT_FALSE(encoder->has_value());
}

TEST_F(SentenceEncoderTest, PoolingNormalizationAndLength) {
  writeModules(R"({"word_embedding_dimension":8,"pooling_mode_cls_token":false,
                   "pooling_mode_mean_tokens":true})",
               R"(,{"path":"2_Normalize","type":"a.models.Normalize"})");
  folder_.write("sentence_bert_config.json", R"({"max_seq_length":256})");
  auto encoder = readSentenceEncoder(folder_.path());
  ASSERT_TRUE(bool(encoder)) << llvm::toString(encoder.takeError());
  ASSERT_TRUE(encoder->has_value());
  EXPECT_EQ((*encoder)->pooling, EncoderInfo::Pooling::Mean);
  EXPECT_TRUE((*encoder)->normalize);
  EXPECT_EQ((*encoder)->maxTokens, 256);
  EXPECT_EQ((*encoder)->transformerFolder, folder_.path());
}

TEST_F(SentenceEncoderTest, PoolingMustBeOneKnownMode) {
  writeModules(
      R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true})");
  EXPECT_TRUE(contains(readError(), "exactly one pooling mode"));
  writeModules(R"({"pooling_mode_weightedmean_tokens":true})");
  EXPECT_TRUE(contains(readError(), "pooling_mode_weightedmean_tokens is not "
                                    "supported"));
}

TEST_F(SentenceEncoderTest, OtherModulesAreNamed) {
  writeModules(R"({"pooling_mode_mean_tokens":true})",
               R"(,{"path":"","type":"a.models.Dense"})");
  EXPECT_TRUE(
      contains(readError(), "module 'a.models.Dense' is not supported"));
}

TEST_F(SentenceEncoderTest, ModulesStayInTheFolder) {
  folder_.write("modules.json",
                R"([{"path":"../other","type":"a.models.Transformer"}])");
  EXPECT_TRUE(contains(readError(), "leaves the model's folder"));
}

TEST_F(SentenceEncoderTest, DamagedFiles) {
  folder_.write("modules.json", "{}");
  EXPECT_TRUE(contains(readError(), "expected a JSON array"));
  folder_.write("modules.json", "[{}]");
  EXPECT_TRUE(contains(readError(), "every module needs a type and a path"));
}

} // namespace
} // namespace pare::safetensors
