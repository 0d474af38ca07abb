#include "backends/emit/Link.h"
#include "backends/cpu/Codegen.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Object/Archive.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <set>

using namespace pare;

namespace {

class LinkTest : public testing::Test {
protected:
  LinkTest() : isa(llvm::cantFail(cpu::Isa::parse("x86-64-v3"))) {
    llvm::sys::fs::createUniqueDirectory("pare-link", folder);
  }
  ~LinkTest() override { llvm::sys::fs::remove_directories(folder); }

  std::string inFolder(llvm::StringRef name) {
    return (folder + "/" + name).str();
  }

  /// Compiles empty functions of these names to an object file.
  std::string object(llvm::StringRef file,
                     std::initializer_list<llvm::StringRef> functions) {
    mlir::MLIRContext context;
    context.loadDialect<mlir::func::FuncDialect>();
    std::string text;
    for (llvm::StringRef name : functions)
      text += ("func.func @" + name + "() { return }\n").str();
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    auto code = llvm::cantFail(cpu::compileKernels(*module, isa));
    std::error_code error;
    llvm::raw_fd_ostream stream(inFolder(file), error);
    EXPECT_FALSE(error) << error.message();
    stream.write(code.data(), code.size());
    return inFolder(file);
  }

  cpu::Isa isa;
  llvm::SmallString<128> folder;
};

TEST_F(LinkTest, ArchiveHasTwoMembersAndShowsOnlyWhatItExports) {
  std::string code = object("code.o", {"toy_run", "helper"}),
              weights = object("weights.o", {"toy_weights"}),
              output = inFolder("toy.a");
  llvm::Error error = emit::makeArchive(isa.triple, code, weights, {},
                                        {"toy_run"}, "toy", output);
  ASSERT_FALSE(error) << llvm::toString(std::move(error));

  auto buffer = llvm::MemoryBuffer::getFile(output);
  ASSERT_TRUE(buffer);
  auto archive = llvm::cantFail(
      llvm::object::Archive::create((*buffer)->getMemBufferRef()));
  std::vector<std::string> members;
  llvm::Error reading = llvm::Error::success();
  for (const auto &member : archive->children(reading))
    members.push_back(llvm::cantFail(member.getName()).str());
  ASSERT_FALSE(reading);
  EXPECT_EQ(members, (std::vector<std::string>{"toy.o", "toy_weights.o"}));

  std::set<std::string> symbols;
  for (const auto &symbol : archive->symbols())
    symbols.insert(symbol.getName().str());
  EXPECT_EQ(symbols, (std::set<std::string>{"toy_run", "toy_weights"}));

  // What it was made from by way of temporary files leaves none behind.
  std::set<std::string> files;
  std::error_code failed;
  for (llvm::sys::fs::directory_iterator it(folder, failed), end;
       it != end && !failed; it.increment(failed))
    files.insert(llvm::sys::path::filename(it->path()).str());
  EXPECT_EQ(files, (std::set<std::string>{"code.o", "toy.a", "weights.o"}));
}

TEST_F(LinkTest, UnknownSymbolIsAnError) {
  std::string code = object("code.o", {"toy_run"}), output = inFolder("toy");
  llvm::Error error =
      emit::linkExecutable(isa.triple, {code}, {"no_such_module"}, output);
  ASSERT_TRUE(bool(error));
  std::string message = llvm::toString(std::move(error));
  EXPECT_NE(message.find("cannot link '" + output + "'"), std::string::npos)
      << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_FALSE(llvm::sys::fs::exists(output));
}

} // namespace
