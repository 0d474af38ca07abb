#include "backends/emit/EntryPoints.h"
#include "mlir/Parser/Parser.h"
#include "llvm/IR/Constants.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"

#include <regex>

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

  static void expectDefined(const EntryPoints &entryPoints) {
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

TEST_F(EntryPointsTest, OptionsAreTheRuntimes) {
  // What is between "typedef struct {" and "} NAME;", without comments.
  auto membersOf = [](const std::string &text, const std::string &name) {
    size_t end = text.find("} " + name + ";");
    EXPECT_NE(end, std::string::npos) << name;
    std::string part = text.substr(0, end);
    part = part.substr(part.rfind("typedef struct {"));
    part = std::regex_replace(part, std::regex(R"(/\*[\s\S]*?\*/)"), "");
    return std::regex_replace(part, std::regex(R"(\s+)"), " ");
  };
  auto runtime =
      llvm::MemoryBuffer::getFile(PARE_SOURCE "/backends/runtime/Runtime.h");
  ASSERT_TRUE(bool(runtime));
  std::string expected =
      membersOf((*runtime)->getBuffer().str(), "PareOptions");
  expected = std::regex_replace(expected, std::regex("PareThreadPool"),
                                "net_thread_pool");
  expected = std::regex_replace(expected, std::regex("PareAllocator"),
                                "net_allocator");
  mlir::ModuleOp model = graph("tensor<2xf32>", "x");
  EXPECT_EQ(
      membersOf(EntryPoints("net.a", model).header({}, "host"), "net_options"),
      expected);
}

TEST_F(EntryPointsTest, LanguageModelsHaveCaches) {
  EXPECT_FALSE(
      has(EntryPoints("net", graph("tensor<2xf32>", "x")).header({}, "host"),
          "net_cache"));
  mlir::ModuleOp model = graph("tensor<2xf32>", "x");
  mlir::OpBuilder builder(&context);
  builder.setInsertionPointToStart(model.getBody());
  nn::CacheOp::create(builder, model.getLoc(), "layer.0", 1, 16, 64,
                      builder.getF16Type(), nullptr);
  EntryPoints entryPoints("net", model);
  std::string text = entryPoints.header({}, "host");
  std::vector<std::string> symbols = entryPoints.symbols();
  for (const char *name :
       {"reset", "reusable", "copy", "bytes", "save", "load"})
    EXPECT_TRUE(has(text, std::string("net_cache_") + name + "(") &&
                llvm::is_contained(symbols, std::string("net_cache_") + name))
        << name;
  expectDefined(entryPoints);
}

TEST_F(EntryPointsTest, NothingInAModelEndsAComment) {
  mlir::ModuleOp model = graph("tensor<2xf32>", "a*/ int evil; /*");
  std::string text = EntryPoints("net.a", model).header({}, "x86-64-v3");
  EXPECT_FALSE(has(text, "evil; /*"));
  EXPECT_FALSE(has(text, "*/ int evil"));
}

TEST_F(EntryPointsTest, DefinesWhatItExports) {
  mlir::ModuleOp model = graph("tensor<2xf32>", "x");
  expectDefined(EntryPoints("net", model));
}

} // namespace
