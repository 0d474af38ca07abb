//===- CompressedTensorsTest.cpp - Folders with other weights -------------===//
#include "frontend/Json.h"
#include "frontend/safetensors/Reader.h"
#include "tests/unit/export/Weights.h"
#include "tests/unit/safetensors/Files.h"

namespace pare::exporting {
namespace {

constexpr const char *kConfig =
    "{\n  \"model_type\": \"test\", \"x\": 1e-05\n}\n";

void fill(const TemporaryFolder &folder) {
  folder.write("in/config.json", kConfig);
  folder.write("in/model.safetensors", makeSafetensors({{"a.weight", {24, 64}},
                                                        {"b.weight", {8, 64}},
                                                        {"b.bias", {8}},
                                                        {"raw", {8, 64}}}));
  folder.write("in/tokenizer.json", "{}");
  folder.write("in/1_Pooling/config.json", "pooling");
  folder.write("in/pytorch_model.bin", "weights");
}

std::string read(llvm::StringRef path) {
  auto file = MappedFile::open(path);
  EXPECT_TRUE(bool(file)) << llvm::toString(file.takeError());
  return llvm::toStringRef((*file)->bytes()).str();
}

/// Number `i` of `bits` bits in a row of bytes.
unsigned getNumber(const uint8_t *row, int64_t i, unsigned bits) {
  return row[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
}

TEST(CompressedTensors, WritesWeights) {
  TemporaryFolder folder;
  fill(folder);
  mlir::MLIRContext context;
  RandomWeight a(context, "uint4_g32", 24, 64), b(context, "int8_g64", 8, 64);
  ExportRequest request{folder.path("in"), folder.path("out"), {}, {}};
  request.weights.emplace("a.weight", a.weight);
  request.weights.emplace("b.weight", b.weight);
  llvm::Expected<uint64_t> size = getCompressedTensorsExporter().write(request);
  ASSERT_TRUE(bool(size)) << llvm::toString(size.takeError());

  EXPECT_EQ(read(folder.path("out/1_Pooling/config.json")), "pooling");
  EXPECT_EQ(read(folder.path("out/tokenizer.json")), "{}");
  EXPECT_FALSE(llvm::sys::fs::exists(folder.path("out/pytorch_model.bin")));
  std::string config = read(folder.path("out/config.json"));
  EXPECT_TRUE(llvm::StringRef(config).starts_with(
      "{\n  \"model_type\": \"test\", \"x\": 1e-05,"));
  auto parsed = readJsonObject(folder.path("out/config.json"));
  ASSERT_TRUE(bool(parsed)) << llvm::toString(parsed.takeError());
  llvm::json::Object *groups =
      parsed->getObject("quantization_config")->getObject("config_groups");
  ASSERT_EQ(groups->size(), 2u);
  // In the order of the formats' names: int8_g64, uint4_g32.
  llvm::json::Object *second = groups->getObject("group_1");
  EXPECT_EQ((*second->getArray("targets"))[0].getAsString(), "a");
  EXPECT_EQ(second->getObject("weights")->getInteger("num_bits"), 4);
  EXPECT_EQ(second->getObject("weights")->getBoolean("symmetric"), false);
  EXPECT_EQ(second->getObject("weights")->getInteger("group_size"), 32);

  safetensors::Tensors tensors;
  ASSERT_FALSE(bool(safetensors::readFile(folder.path("out/model.safetensors"),
                                          context, tensors)));
  EXPECT_EQ(tensors.size(), 2u + 4 + 3);
  auto get = [&](llvm::StringRef name) {
    const safetensors::Tensor &tensor = tensors[name];
    return tensor.file->bytes().slice(tensor.offset, tensor.size);
  };
  EXPECT_EQ(tensors["a.weight_packed"].type.getShape(),
            llvm::ArrayRef<int64_t>({24, 8}));
  EXPECT_EQ(tensors["a.weight_zero_point"].type.getShape(),
            llvm::ArrayRef<int64_t>({3, 2}));
  std::vector<float> values = a.decode();
  auto scales = get("a.weight_scale");
  for (int64_t i = 0; i < 24; ++i)
    for (int64_t j = 0; j < 64; ++j) {
      unsigned code = getNumber(get("a.weight_packed").data() + i * 32, j, 4);
      // Eight rows to a word.
      const uint8_t *word =
          get("a.weight_zero_point").data() + (i / 8 * 2 + j / 32) * 4;
      unsigned zero = getNumber(word, i % 8, 4);
      float scale;
      std::memcpy(&scale, scales.data() + (i * 2 + j / 32) * 4, 4);
      ASSERT_EQ(values[size_t(i * 64 + j)],
                float(int(code) - int(zero)) * scale);
    }
  values = b.decode();
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 64; ++j) {
      float scale;
      std::memcpy(&scale, get("b.weight_scale").data() + i * 4, 4);
      ASSERT_EQ(values[size_t(i * 64 + j)],
                float(int(get("b.weight_packed")[size_t(i * 64 + j)]) - 128) *
                    scale);
    }
  safetensors::Tensors old;
  ASSERT_FALSE(bool(safetensors::readFile(folder.path("in/model.safetensors"),
                                          context, old)));
  for (const char *name : {"raw", "b.bias"})
    EXPECT_EQ(get(name),
              old[name].file->bytes().slice(old[name].offset, old[name].size));
}

TEST(CompressedTensors, Errors) {
  TemporaryFolder folder;
  fill(folder);
  mlir::MLIRContext context;
  RandomWeight a(context, "int4_g32", 24, 64),
      turned(context, "int4_g32", 64, 32), raw(context, "int4_g32", 8, 64);
  for (auto [name, weight, words] :
       {std::tuple("absent.weight", &a, "none of the file"),
        std::tuple("a.weight", &turned, "inputs first"),
        std::tuple("raw", &raw, "no module's weight")}) {
    ExportRequest request{folder.path("in"), folder.path("out"), {}, {}};
    request.weights.emplace(name, weight->weight);
    expectError(getCompressedTensorsExporter().write(request).takeError(),
                {name, words});
    EXPECT_FALSE(llvm::sys::fs::exists(folder.path("out")));
  }
  const Exporter &exporter = getCompressedTensorsExporter();
  expectError(exporter.checkSource(folder.path("in/model.safetensors")),
              {"name the model's folder"});
  folder.write("in/config.json", "{\"quantization_config\": {}}");
  expectError(exporter.checkSource(folder.path("in")),
              {"config.json", "quantization_config already"});
  folder.write("in/config.json", kConfig);
  folder.write("out/x", "");
  ExportRequest request{folder.path("in"), folder.path("out"), {}, {}};
  request.weights.emplace("a.weight", a.weight);
  expectError(exporter.write(request).takeError(), {"is there already"});
}

} // namespace
} // namespace pare::exporting
