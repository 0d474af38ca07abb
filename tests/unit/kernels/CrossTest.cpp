//===- CrossTest.cpp - Kernels of another architecture, emulated ----------===//
//
// The aarch64 kernels run under qemu-aarch64 in a program without a C library
// and must give bit for bit what the kernels of this machine give: sums are in
// the same order with the same fused multiply-adds.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/BlockGemm.h"
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/Pack.h"
#include "tests/unit/gguf/RandomBlocks.h"
#include "tests/unit/kernels/Jit.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace pare::cpu;
using pare::test::Kernels;
using pare::test::orFail;

namespace {

constexpr int64_t kM = 61, kN = 405, kK = 70;

GemmSpec specOf(MicroKernel::Format format) {
  GemmSpec spec;
  spec.format = format;
  spec.m = Extent::runtime(0);
  spec.n = Extent::of(kN);
  spec.k = Extent::of(kK);
  spec.lda = Extent::of(format == MicroKernel::S8 ? paddedCodes(kK) : kK);
  spec.ldc = Extent::of(kN);
  spec.ptrRowScale = 3;
  spec.ptrColScale = 4;
  spec.ptrCompensation = 5;
  return spec;
}

/// A kernel, its buffers as bytes, and what this machine makes of them.
struct Case {
  std::string label;
  std::function<void(KernelBuilder &)> emit;
  std::function<int64_t(const Isa &)> countTasks;
  int64_t m;                        ///< dims[0]
  std::vector<std::string> buffers; ///< empty: the result
  std::string expected;

  void build(Kernels &kernels) const {
    KernelBuilder b(kernels.module(), "kernel", kernels.isa());
    emit(b);
    b.finish();
  }
};

constexpr size_t kScratchBytes = 1 << 20;

template <typename T> std::string bytesOf(const std::vector<T> &v) {
  return std::string(reinterpret_cast<const char *>(v.data()),
                     v.size() * sizeof(T));
}

/// Random operands, and what this machine makes of them.
Case makeGemm(MicroKernel::Format format) {
  Case test;
  test.label = format == MicroKernel::F32 ? "f32" : "int8";
  test.emit = [=](KernelBuilder &b) { emitGemm(b, specOf(format)); };
  test.countTasks = [=](const Isa &isa) {
    return gemmTiling(specOf(format), isa).tasks(kM, kN);
  };
  test.m = kM;
  Kernels kernels;
  test.build(kernels);
  kernels.compile();
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  std::vector<float> rowScale(kM), colScale(packedColumns(kN)), c(kM * kN);
  for (auto *scales : {&rowScale, &colScale})
    for (float &x : *scales)
      x = normal(rng);
  int64_t lda = specOf(format).lda.fixed;
  std::vector<float> a(kM * lda), b(kK * kN), packed(packedSizeF32(kK, kN));
  std::vector<int8_t> codes(kM * lda), w(kK * kN), panels(packedSizeS8(kK, kN));
  for (float &x : a)
    x = normal(rng);
  for (float &x : b)
    x = normal(rng);
  for (int8_t &x : codes)
    x = int8_t(int(rng() % 255) - 127);
  for (int8_t &x : w)
    x = int8_t(int(rng() % 255) - 127);
  packF32(b.data(), kK, kN, kN, 1, packed.data());
  packS8(w.data(), kK, kN, kN, 1, panels.data());
  std::vector<int32_t> compensation(packedColumns(kN));
  sumColumnsS8(w.data(), kK, kN, kN, 1, -128, compensation.data());

  // The codes as this machine stores them; the others store plain bytes.
  bool isS8 = format == MicroKernel::S8;
  CodeStorage storage = kernels.isa().codeStorage();
  std::vector<int16_t> words(codes.begin(), codes.end());
  std::vector<uint8_t> bytes;
  for (int8_t code : codes)
    bytes.push_back(code + (storage == CodeStorage::U8Plus128 ? 128 : 0));
  const void *rows = a.data();
  if (isS8)
    rows = codeBytes(storage) == 2 ? static_cast<const void *>(words.data())
                                   : bytes.data();
  const void *weights = packed.data();
  if (isS8)
    weights = panels.data();
  kernels.call("kernel",
               {rows, weights, c.data(), rowScale.data(), colScale.data(),
                compensation.data()},
               {kM}, gemmTiling(specOf(format), kernels.isa()).tasks(kM, kN));
  test.buffers = {isS8 ? bytesOf(codes) : bytesOf(a),
                  isS8 ? bytesOf(panels) : bytesOf(packed),
                  "",
                  bytesOf(rowScale),
                  bytesOf(colScale),
                  bytesOf(compensation)};
  test.expected = bytesOf(c);
  return test;
}

/// A product by random blocks of a storage's format.
Case makeBlockGemm(const pare::BlockStorage &storage, bool isInteger) {
  constexpr int64_t m = 7, n = 37, k = 512;
  BlockGemmSpec spec;
  spec.format = &storage.format;
  spec.isInteger = isInteger;
  spec.m = Extent::runtime(0);
  spec.n = n;
  spec.k = k;
  Case test;
  test.label = storage.format.name.str() + (isInteger ? " int8" : " f32");
  test.emit = [=](KernelBuilder &b) { emitBlockGemm(b, spec); };
  test.countTasks = [=](const Isa &isa) {
    EXPECT_LE(size_t(blockGemmTiling(spec, isa).scratchBytes), kScratchBytes);
    return blockGemmTiling(spec, isa).tasks(m, n);
  };
  test.m = m;
  Kernels kernels;
  test.build(kernels);
  kernels.compile();
  std::mt19937 rng(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(m * k), scales(m * k / kBlockStep), c(m * n);
  std::vector<int8_t> codes(m * k);
  for (float &value : x)
    value = normal(rng);
  for (float &scale : scales)
    scale = normal(rng);
  for (int8_t &code : codes)
    code = int8_t(int(rng() % 255) - 127);
  std::vector<uint8_t> packed(BlockLayout(storage.format).packedBytes(n, k));
  packBlocks(storage, pare::test::makeBlocks(storage, n * k, rng), n, k,
             packed);
  std::vector<char> scratch(kScratchBytes);
  const void *rows =
      isInteger ? static_cast<const void *>(codes.data()) : x.data();
  kernels.call("kernel", {rows, scales.data(), packed.data(), c.data()}, {m},
               test.countTasks(kernels.isa()), scratch.data());
  test.buffers = {isInteger ? bytesOf(codes) : bytesOf(x), bytesOf(scales),
                  bytesOf(packed), ""};
  test.expected = bytesOf(c);
  return test;
}

std::vector<Case> makeCases() {
  std::vector<Case> cases = {makeGemm(MicroKernel::F32),
                             makeGemm(MicroKernel::S8)};
  for (const char *type : {"Q4_1", "Q5_0", "Q8_0", "Q6_K", "IQ4_NL", "MXFP4"})
    for (bool isInteger : {true, false})
      cases.push_back(
          makeBlockGemm(*pare::gguf::findTensorType(type)->storage, isInteger));
  for (const char *name : {"uint5_g16", "uint4_g128", "int3_g32_k6x64",
                           "int8_g32_2of4", "int4_g16_2of4"})
    for (bool isInteger : {true, false})
      cases.push_back(makeBlockGemm(
          pare::getPlainStorage(*pare::findBlockFormat(name)), isInteger));
  for (const char *name : {"nf4_g64", "fp8_e4m3_g32", "fp8_e5m2_g64"})
    cases.push_back(makeBlockGemm(
        pare::getPlainStorage(*pare::findBlockFormat(name)), false));
  return cases;
}

std::string quoted(const std::string &bytes) {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "[" << bytes.size() << " x i8] c\"";
  for (unsigned char c : bytes)
    out << llvm::format("\\%02X", c);
  out << "\", align 64\n";
  return text;
}

/// A program that runs the kernel's tasks and exits with 0 if the result is
/// the expected one.
std::string programIR(const Case &test, int64_t tasks) {
  std::string text, pointers;
  llvm::raw_string_ostream out(text);
  size_t size = test.expected.size();
  for (auto [i, bytes] : llvm::enumerate(test.buffers)) {
    pointers += i ? ", ptr " : "ptr ";
    pointers += bytes.empty() ? "@c" : "@in" + std::to_string(i);
    if (!bytes.empty())
      out << "@in" << i << " = constant " << quoted(bytes);
  }
  out << "@expected = constant " << quoted(test.expected) << "@c = global ["
      << size << " x i8] zeroinitializer, align 64\n"
      << "@scratch = global [" << kScratchBytes
      << " x i8] zeroinitializer, align 64\n"
      << "@dims = constant [1 x i64] [i64 " << test.m << "]\n"
      << "@ptrs = constant [" << test.buffers.size() << " x ptr] [" << pointers
      << "]\n"
      << "declare void @kernel(ptr, ptr, i64, ptr)\n"
      << "define void @_start() {\n"
         "entry:\n  br label %run\n"
         "run:\n"
         "  %task = phi i64 [0, %entry], [%task1, %run]\n"
         "  call void @kernel(ptr @ptrs, ptr @dims, i64 %task, ptr @scratch)\n"
         "  %task1 = add i64 %task, 1\n"
      << "  %more = icmp slt i64 %task1, " << tasks << "\n"
      << "  br i1 %more, label %run, label %check\n"
         "check:\n"
         "  %i = phi i64 [0, %run], [%i1, %check]\n"
         "  %bad = phi i64 [0, %run], [%bad1, %check]\n"
         "  %pc = getelementptr i8, ptr @c, i64 %i\n"
         "  %pe = getelementptr i8, ptr @expected, i64 %i\n"
         "  %vc = load volatile i8, ptr %pc\n"
         "  %ve = load volatile i8, ptr %pe\n"
         "  %ne = icmp ne i8 %vc, %ve\n"
         "  %one = zext i1 %ne to i64\n"
         "  %bad1 = or i64 %bad, %one\n"
         "  %i1 = add i64 %i, 1\n"
      << "  %again = icmp slt i64 %i1, " << size << "\n"
      << "  br i1 %again, label %check, label %exit\n"
         "exit:\n"
         "  call i64 asm sideeffect \"svc #0\", "
         "\"={x0},{x8},0,~{memory}\"(i64 93, i64 %bad1)\n"
         "  unreachable\n}\n";
  return text;
}

void write(const llvm::Twine &path, llvm::ArrayRef<char> bytes) {
  std::error_code error;
  llvm::raw_fd_ostream out(path.str(), error);
  ASSERT_FALSE(error) << error.message();
  out.write(bytes.data(), bytes.size());
}

class Cross : public testing::TestWithParam<const char *> {};

TEST_P(Cross, SameBitsAsHere) {
  auto emulator = llvm::sys::findProgramByName("qemu-aarch64");
  auto linker = llvm::sys::findProgramByName("ld.lld-22");
  if (!linker)
    linker = llvm::sys::findProgramByName("ld.lld");
  if (!emulator || !linker)
    GTEST_SKIP() << "needs qemu-aarch64 and ld.lld";
  if (!pare::test::isa("host").hasFma)
    GTEST_SKIP() << "this machine rounds multiply-adds twice";

  // The program around the kernels makes its system calls in assembly.
  LLVMInitializeAArch64AsmParser();
  Isa isa = pare::test::isa(GetParam());
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("pare-cross", folder));
  for (const Case &test : makeCases()) {
    Kernels kernels(isa);
    test.build(kernels);
    auto object = orFail(compileKernels(kernels.module(), isa));
    int64_t tasks = test.countTasks(isa);

    llvm::LLVMContext context;
    llvm::SMDiagnostic diagnostic;
    auto program =
        llvm::parseAssemblyString(programIR(test, tasks), diagnostic, context);
    ASSERT_TRUE(program) << diagnostic.getMessage().str();
    program->setTargetTriple(llvm::Triple(isa.triple));
    auto main = orFail(emitObject(*program, isa));

    std::string base = folder.str().str();
    std::string kernel = base + "/kernel.o", start = base + "/main.o";
    std::string exe = base + "/test";
    write(kernel, object);
    write(start, main);
    ASSERT_EQ(llvm::sys::ExecuteAndWait(
                  *linker, {"ld.lld", "-static", kernel, start, "-o", exe}),
              0);
    EXPECT_EQ(llvm::sys::ExecuteAndWait(*emulator,
                                        {"qemu-aarch64", "-cpu", "max", exe}),
              0)
        << isa.name << " " << test.label;
  }
  llvm::sys::fs::remove_directories(folder);
}

INSTANTIATE_TEST_SUITE_P(Targets, Cross,
                         testing::Values("aarch64", "aarch64+dotprod"));

} // namespace
