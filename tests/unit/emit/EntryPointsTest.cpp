#include "backends/emit/EntryPoints.h"
#include "mlir/Parser/Parser.h"
#include "llvm/IR/Constants.h"
#include "gtest/gtest.h"

using namespace pare;
using emit::EntryPoints;

namespace {

class EntryPointsTest : public testing::Test {
protected:
  EntryPointsTest() {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  }
  /// A model y = x with this signature.
  mlir::ModuleOp graph(llvm::StringRef input, llvm::StringRef name,
                       llvm::StringRef attributes = "") {
    std::string text =
        ("func.func @main(%x: " + input + " {nn.name = \"" + name +
         "\"}) -> (" + input + " {nn.name = \"float\"}) " + attributes +
         " { return %x : " + input + " }")
            .str();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    return *module;
  }
  static bool has(llvm::StringRef text, llvm::StringRef part) {
    return text.contains(part);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST_F(EntryPointsTest, PrefixIsTheFilesNameAsAnIdentifier) {
  mlir::ModuleOp model = graph("tensor<2xf32>", "x");
  EXPECT_EQ(EntryPoints("out/libminilm.so", model).prefix(), "minilm");
  EXPECT_EQ(EntryPoints("ch_PP-OCRv4.a", model).prefix(), "ch_PP_OCRv4");
  EXPECT_EQ(EntryPoints("8bit", model).prefix(), "_8bit");
  EXPECT_EQ(EntryPoints("lib", model).prefix(), "lib");
}

TEST_F(EntryPointsTest, HeaderNamesParametersAfterTheModel) {
  mlir::ModuleOp model = graph("tensor<2x3xi64>", "input.1");
  std::string text = EntryPoints("net.a", model).header({}, "x86-64-v3");
  // `float` is no identifier in C, nor is `input.1`.
  EXPECT_TRUE(has(text, "int net_run(net_context *context, const int64_t "
                        "*input_1, int64_t *float_2);"))
      << text;
  EXPECT_TRUE(has(text, "input_1: read, int64 [2, 3]; 'input.1' in the model"));
}

TEST_F(EntryPointsTest, NothingInAModelEndsAComment) {
  mlir::ModuleOp model = graph("tensor<2xf32>", "a*/ int evil; /*");
  std::string text = EntryPoints("net.a", model).header({}, "x86-64-v3");
  EXPECT_FALSE(has(text, "evil; /*"));
  EXPECT_FALSE(has(text, "*/ int evil"));
}

TEST_F(EntryPointsTest, DefinesWhatItExports) {
  mlir::ModuleOp model = graph("tensor<2xf32>", "x");
  EntryPoints entryPoints("net", model);
  llvm::LLVMContext llvmContext;
  llvm::Module kernels("net", llvmContext);
  auto *type = llvm::Type::getInt64Ty(llvmContext);
  auto *tables = new llvm::GlobalVariable(
      kernels, type, true, llvm::GlobalValue::ExternalLinkage,
      llvm::ConstantInt::get(type, 0), "pare_model");
  entryPoints.define(kernels);
  EXPECT_TRUE(tables->hasInternalLinkage());
  for (const std::string &symbol : entryPoints.symbols()) {
    llvm::Function *function = kernels.getFunction(symbol);
    ASSERT_TRUE(function && !function->isDeclaration()) << symbol;
    EXPECT_TRUE(function->hasExternalLinkage());
  }
}

} // namespace
