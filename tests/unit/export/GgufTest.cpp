//===- GgufTest.cpp - GGUF files with other weights -----------------------===//
#include "tests/unit/export/Weights.h"
#include "tests/unit/gguf/Files.h"

namespace pare::exporting {
namespace {

std::string makeSource() {
  gguf::Writer writer;
  writer.addString("general.architecture", "test");
  writer.addU32("general.file_type", 1);
  writer.addStrings("tokenizer.ggml.tokens", {"a", "", "bc"});
  gguf::addRandom(writer, "norm", "F32", {512});
  gguf::addRandom(writer, "weight", "F16", {4, 512});
  gguf::addRandom(writer, "kept", "Q4_1", {3, 64});
  return gguf::toBytes(writer);
}

class Gguf
    : public testing::TestWithParam<std::pair<const char *, const char *>> {};

/// What is written decodes to the weights; all else is there as it was.
TEST_P(Gguf, WritesWeights) {
  auto [format, type] = GetParam();
  TemporaryFolder folder;
  std::string source = folder.write("in.gguf", makeSource()),
              output = folder.path("out.gguf");
  mlir::MLIRContext context;
  RandomWeight random(context, format, 4, 512);
  ExportRequest request{source, output, {}, {}};
  request.weights.emplace("weight", random.weight);
  llvm::Expected<uint64_t> bytes = getGgufExporter().write(request);
  ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());

  llvm::Expected<gguf::File> old = gguf::File::open(source),
                             made = gguf::File::open(output);
  ASSERT_TRUE(bool(old));
  ASSERT_TRUE(bool(made)) << llvm::toString(made.takeError());
  const gguf::Tensor &weight = *made->find("weight");
  EXPECT_EQ(weight.type->name, type);
  std::vector<float> values(4 * 512);
  weight.type->storage->decode(weight.bytes(), values);
  EXPECT_EQ(values, random.decode());
  for (const char *name : {"norm", "kept"})
    EXPECT_EQ(made->find(name)->bytes(), old->find(name)->bytes());
  ASSERT_EQ(made->tensors().size(), 3u);
  EXPECT_EQ(made->tensors()[1].name, "weight");

  // No longer mostly F16.
  const gguf::Metadata &metadata = made->metadata();
  EXPECT_NE(metadata.find("general.file_type")->getInteger(), 1);
  EXPECT_EQ(metadata.find("general.quantization_version")->getInteger(), 2);
  EXPECT_EQ(metadata.find("tokenizer.ggml.tokens")->bytes(),
            old->metadata().find("tokenizer.ggml.tokens")->bytes());
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Gguf,
    testing::Values(std::pair("int4_g32", "Q4_0"), std::pair("q4_1", "Q4_1"),
                    std::pair("int5_g32", "Q5_0"), std::pair("q5_1", "Q5_1"),
                    std::pair("int8_g32", "Q8_0"),
                    std::pair("uint2_g16_k4x256", "Q2_K"),
                    std::pair("int3_g16_k6x256", "Q3_K"),
                    std::pair("uint4_g32_k6x256", "Q4_K"),
                    std::pair("uint5_g32_k6x256", "Q5_K"),
                    std::pair("q6_k", "Q6_K"), std::pair("iq4_nl", "IQ4_NL"),
                    std::pair("iq4_xs", "IQ4_XS"),
                    std::pair("ternary_g256", "TQ2_0")));

TEST(GgufErrors, NameTheTensor) {
  TemporaryFolder folder;
  std::string source = folder.write("in.gguf", makeSource()),
              output = folder.path("out.gguf");
  mlir::MLIRContext context;
  RandomWeight small(context, "int4_g32", 2, 512),
      other(context, "uint4_g32", 4, 512);
  for (auto [name, weight, words] :
       {std::tuple("absent", &small, "none of the file"),
        std::tuple("weight", &small, "has shape 4x512"),
        std::tuple("weight", &other, "GGUF has no weights in uint4_g32")}) {
    ExportRequest request{source, output, {}, {}};
    request.weights.emplace(name, weight->weight);
    llvm::Expected<uint64_t> bytes = getGgufExporter().write(request);
    expectError(bytes.takeError(), {name, words});
    EXPECT_FALSE(llvm::sys::fs::exists(output));
  }
}

} // namespace
} // namespace pare::exporting
