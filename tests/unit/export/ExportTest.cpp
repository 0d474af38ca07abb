//===- ExportTest.cpp - What exporters share ------------------------------===//
#include "tests/unit/export/Weights.h"

namespace pare::exporting {
namespace {

TEST(Export, OutputsBySource) {
  for (auto [source, output, name] :
       {std::tuple("gguf", "a.gguf", "GGUF"),
        {"onnx", "b/a.onnx", "ONNX"},
        {"safetensors", "out/", "compressed-tensors"},
        {"safetensors", "llama-3.2", "compressed-tensors"}}) {
    llvm::Expected<const Exporter *> found = findExporter(source, output);
    ASSERT_TRUE(bool(found)) << llvm::toString(found.takeError());
    EXPECT_EQ((*found)->name(), name);
  }
  for (auto [source, output] : {std::pair("gguf", "a.onnx"),
                                {"onnx", "a.gguf"},
                                {"gguf", "folder"},
                                {"safetensors", "a.gguf"},
                                {"safetensors", "a.onnx"}}) {
    llvm::Expected<const Exporter *> found = findExporter(source, output);
    expectError(found.takeError(), {output, source, "it can become"});
  }
}

TEST(Export, FormatsOfEach) {
  struct {
    const Exporter &exporter;
    std::vector<const char *> has, lacks;
  } cases[] = {
      {getGgufExporter(),
       {"int4_g32", "int5_g32", "int8_g32", "uint4_g32_k6x256",
        "uint5_g32_k6x256", "int3_g16_k6x256", "uint2_g16_k4x256",
        "ternary_g256", "q4_1", "q5_1", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"},
       {"int4_g64", "uint4_g32", "nf4_g32", "int3_g32", "int6_g32",
        "uint4_g32_k6x512", "uint4_g32_k4x256", "ternary_g32"}},
      {getOnnxExporter(),
       {"int4_g32", "uint4_g128", "int8_g16", "uint8_g256", "int2_g64",
        "ternary_g32", "int4_g32_k6x256", "q4_0"},
       {"int3_g32", "uint5_g32", "nf4_g32", "uint4_g32_k6x256", "q4_1",
        "fp8_e4m3_g32"}},
      {getCompressedTensorsExporter(),
       {"int4_g32", "uint4_g128", "int8_g64", "uint8_g32", "int4_g32_k6x256"},
       {"int3_g32", "ternary_g32", "nf4_g32", "uint4_g32_k6x256"}}};
  for (const auto &test : cases) {
    for (const char *name : test.has)
      EXPECT_TRUE(test.exporter.supports(*findBlockFormat(name), false))
          << test.exporter.name().str() << " " << name;
    for (const char *name : test.lacks) {
      const BlockFormat &format = *findBlockFormat(name);
      EXPECT_FALSE(test.exporter.supports(format, false))
          << test.exporter.name().str() << " " << name;
      expectError(checkFormat(test.exporter, format, false, "tensor 'w'"),
                  {"tensor \'w\': ", name, "nearest that it has: "});
    }
  }
  // Nearest by bits per weight.
  expectError(
      checkFormat(getOnnxExporter(), *findBlockFormat("nf4_g64"), false, "w"),
      {"nearest that it has: ", "int4_g64"});
  expectError(checkFormat(getCompressedTensorsExporter(),
                          *findBlockFormat("int4_g32"), true, "w"),
              {"no tables of int4_g32"});
}

/// Scales of two levels are products.
TEST(Export, GroupScales) {
  mlir::MLIRContext context;
  for (const char *name : {"int4_g32", "int4_g32_k6x256", "q6_k"}) {
    RandomWeight random(context, name, 2, 512);
    const BlockFormat &format = random.weight.format();
    std::vector<float> scales = getGroupScales(format, random.planes),
                       values = random.decode();
    ASSERT_EQ(scales.size(), values.size() / format.group);
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], scales[i / format.group] *
                               format.getValue(random.planes.codes[i]));
  }
}

} // namespace
} // namespace pare::exporting
