//===- Emit.cpp - From an optimised graph to files ------------------------===//
#include "backends/emit/Emit.h"
#include "backends/cpu/Codegen.h"
#include "backends/cpu/Select.h"
#include "backends/emit/EntryPoints.h"
#include "backends/emit/Link.h"
#include "backends/emit/ModelObject.h"
#include "backends/emit/WeightsObject.h"
#include "frontend/tokenizer/Tokenizer.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;

namespace pare::emit {

Error checkOutput(StringRef path) {
  auto fail = [&](const Twine &why) {
    return createStringError("cannot write '" + path + "': " + why);
  };
  sys::fs::file_status status;
  sys::fs::status(path, status);
  if (sys::fs::exists(status) && !sys::fs::is_regular_file(status))
    return fail(sys::fs::is_directory(status) ? "it is a folder"
                                              : "it is not a regular file");
  StringRef folder = sys::path::parent_path(path);
  if (folder.empty())
    folder = ".";
  if (!sys::fs::is_directory(folder))
    return fail("there is no folder '" + folder + "'");
  if (std::error_code error =
          sys::fs::access(folder, sys::fs::AccessMode::Write))
    return fail(error.message());
  return Error::success();
}

namespace {
/// The files that `output` stands for.
std::vector<std::string> getOutputs(OutputKind kind, StringRef output) {
  if (kind != OutputKind::Library)
    return {output.str()};
  StringRef base = output;
  if (base.consume_back(".a") || base.consume_back(".so"))
    return {output.str(), (base + ".h").str()};
  return {(base + ".a").str(), (base + ".so").str(), (base + ".h").str()};
}

/// Files that are removed unless they are kept under their final name.
class Outputs {
public:
  ~Outputs() {
    for (const std::string &path : temporaries)
      sys::fs::remove(path);
  }
  std::string temporary(StringRef output, StringRef suffix) {
    temporaries.push_back(
        (output + "." + Twine(sys::Process::getProcessId()) + suffix).str());
    sys::RemoveFileOnSignal(temporaries.back());
    return temporaries.back();
  }
  Error keep(const std::string &temporary, StringRef output) {
    if (Error error = checkOutput(output))
      return error;
    if (std::error_code error = sys::fs::rename(temporary, output))
      return createStringError(error, "cannot write '%s': %s",
                               output.str().c_str(), error.message().c_str());
    return Error::success();
  }

private:
  std::vector<std::string> temporaries;
};
} // namespace

static Error writeFile(StringRef path, StringRef bytes) {
  std::error_code error;
  raw_fd_ostream stream(path, error);
  if (!error) {
    stream << bytes;
    stream.flush();
    error = stream.error();
    stream.clear_error();
  }
  if (error)
    return createStringError(error, "cannot write '%s': %s", path.str().c_str(),
                             error.message().c_str());
  return Error::success();
}

static std::string print(mlir::Operation *op,
                         mlir::OpPrintingFlags flags = {}) {
  std::string text;
  raw_string_ostream stream(text);
  op->print(stream, flags);
  return text;
}

/// Streams every packed weight to the object; returns their offsets.
static Expected<std::vector<uint64_t>>
writeWeights(const cpu::Program &program, WeightsObject &object,
             const ProgressFn &listener) {
  uint64_t total = 0;
  for (const cpu::PackedWeight &packed : program.packed)
    total += packed.bytes;
  PhaseProgress progress(listener, "pack weights", total);
  std::vector<uint64_t> offsets;
  std::vector<uint8_t> buffer;
  for (const cpu::PackedWeight &packed : program.packed) {
    buffer.assign(packed.bytes, 0);
    packed.write(buffer);
    Expected<uint64_t> offset = object.append(buffer);
    if (!offset)
      return offset.takeError();
    offsets.push_back(*offset);
    progress.finish(packed.bytes);
  }
  return offsets;
}

/// Whether a model answers in text.
static bool hasGenerator(const ModelInfo &info) {
  return info.decoder && !info.decoder->tokenizer.empty();
}

/// The parts of a tokenizer that a table needs in the runtime.
static void addParts(ArrayRef<uint8_t> table,
                     std::vector<std::string> &modules) {
  for (const char *part : tokenizer::runtimeParts(table))
    modules.push_back(part);
}

/// Writes the files of a library.
static Error emitLibrary(const EntryPoints &entryPoints, const ModelInfo &info,
                         const cpu::Isa &isa, const std::string &code,
                         const std::string &weights, StringRef output,
                         Outputs &outputs, EmitReport &report) {
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<std::string> modules;
  if (hasGenerator(info))
    addParts(info.decoder->tokenizer, modules);
  for (const std::string &path : getOutputs(OutputKind::Library, output)) {
    std::string temporary = outputs.temporary(path, ".tmp");
    files.push_back({temporary, path});
    auto write = [&, path = StringRef(path)]() -> Error {
      if (path.ends_with(".a"))
        return makeArchive(isa.triple, code, weights, modules,
                           entryPoints.symbols(), entryPoints.prefix(),
                           temporary);
      if (path.ends_with(".so"))
        return linkShared(isa.triple, {code, weights}, modules,
                          sys::path::filename(path), temporary);
      return writeFile(temporary, entryPoints.header(info, isa.name));
    };
    if (Error error = write())
      return error;
    if (!StringRef(path).ends_with(".h"))
      sys::fs::file_size(temporary, report.fileBytes);
  }
  for (const auto &[temporary, path] : files)
    if (Error error = outputs.keep(temporary, path))
      return error;
  return Error::success();
}

/// Copies shared libraries into the folder of `output`.
static Error copyBeside(ArrayRef<std::string> libraries, StringRef output,
                        Outputs &outputs, EmitReport &report) {
  for (const std::string &library : libraries) {
    SmallString<256> path(sys::path::parent_path(output));
    sys::path::append(path, sys::path::filename(library));
    std::string temporary = outputs.temporary(path, ".tmp");
    if (std::error_code error = sys::fs::copy_file(library, temporary))
      return createStringError(error, "cannot copy '%s' to '%s': %s",
                               library.c_str(), path.c_str(),
                               error.message().c_str());
    if (Error error = outputs.keep(temporary, path))
      return error;
    report.libraries.push_back(std::string(path));
  }
  return Error::success();
}

Expected<EmitReport> emitModel(mlir::ModuleOp graph, const WeightStore &weights,
                               const ModelInfo &info, const cpu::Isa &isa,
                               OutputKind kind, StringRef output,
                               const cpu::SelectOptions &select,
                               const ProgressFn &progress) {
  for (const std::string &path : getOutputs(kind, output))
    if (Error error = checkOutput(path))
      return std::move(error);
  Outputs outputs;
  EmitReport report;
  std::string temporary = outputs.temporary(output, ".tmp");
  if (kind == OutputKind::Mlir) {
    if (Error error = writeFile(temporary, print(graph)))
      return std::move(error);
    if (Error error = outputs.keep(temporary, output))
      return std::move(error);
    return report;
  }

  Expected<cpu::Program> program =
      cpu::selectKernels(graph, weights, isa, select);
  if (!program)
    return program.takeError();
  report.choices = program->choices;
  bool usesOneDnn = any_of(program->calls, [](const cpu::KernelCall &call) {
    return call.provider == "onednn";
  });
  if (usesOneDnn && kind == OutputKind::Library)
    return createStringError(
        "--emit lib takes generated kernels only: libraries have no other "
        "files beside them; leave out --kernels");

  std::string weightsPath = outputs.temporary(output, ".weights.o");
  bool isX86 = Triple(isa.triple).isX86();
  EntryPoints entryPoints(output, graph, hasGenerator(info));
  WeightsFacts facts;
  if (kind == OutputKind::Library)
    facts.symbol = entryPoints.weightsSymbol();
  auto weightsObject = WeightsObject::create(
      weightsPath, isX86 ? ELF::EM_X86_64 : ELF::EM_AARCH64, facts.symbol);
  if (!weightsObject)
    return weightsObject.takeError();
  Expected<std::vector<uint64_t>> offsets =
      writeWeights(*program, **weightsObject, progress);
  if (!offsets)
    return offsets.takeError();
  if (Error error =
          (*weightsObject)
              ->finish(print(graph, mlir::OpPrintingFlags().enableDebugInfo())))
    return std::move(error);

  Expected<Layout> layout = layOut(*program, graph, *offsets);
  if (!layout)
    return layout.takeError();
  report.calls = program->calls.size();
  report.weightBytes = (*weightsObject)->weightBytes();

  mlir::ModuleOp kernels = *program->kernels;
  report.kernels = std::distance(kernels.begin(), kernels.end());
  if (Error error = cpu::lowerKernels(kernels, isa))
    return std::move(error);
  LLVMContext context;
  Expected<std::unique_ptr<llvm::Module>> module =
      cpu::toLLVMIR(kernels, context, isa);
  if (!module)
    return module.takeError();
  facts.bytes = report.weightBytes;
  facts.sha256 = (*weightsObject)->hash();
  if (Error error =
          addModel(**module, *program, *layout, graph, info, isa, facts))
    return std::move(error);
  if (kind == OutputKind::Library)
    entryPoints.define(**module);
  if (Error error = cpu::optimize(**module, isa, progress))
    return std::move(error);
  if (kind == OutputKind::Llvm) {
    std::string text;
    raw_string_ostream(text) << **module;
    if (Error error = writeFile(temporary, text))
      return std::move(error);
    if (Error error = outputs.keep(temporary, output))
      return std::move(error);
    return report;
  }

  Expected<SmallVector<char>> object = cpu::emitObject(**module, isa, progress);
  if (!object)
    return object.takeError();
  std::string objectPath = outputs.temporary(output, ".model.o");
  if (Error error =
          writeFile(objectPath, StringRef(object->data(), object->size())))
    return std::move(error);
  if (kind == OutputKind::Library) {
    if (Error error = emitLibrary(entryPoints, info, isa, objectPath,
                                  weightsPath, output, outputs, report))
      return std::move(error);
    return report;
  }
  std::vector<std::string> modules;
  if (info.encoder) {
    modules.push_back("pare_module_embed");
    addParts(info.encoder->tokenizer, modules);
  }
  if (hasGenerator(info)) {
    modules.push_back("pare_module_decoder");
    addParts(info.decoder->tokenizer, modules);
  }
  if (!info.images.empty())
    modules.push_back("pare_module_image");
  if (usesOneDnn) {
    Expected<std::vector<std::string>> libraries = findOneDnn(isa.triple);
    if (!libraries)
      return libraries.takeError();
    if (Error error = linkWithOneDnn(isa.triple, {objectPath, weightsPath},
                                     modules, *libraries, temporary))
      return std::move(error);
    if (Error error = copyBeside(*libraries, output, outputs, report))
      return std::move(error);
  } else if (Error error = linkExecutable(isa.triple, {objectPath, weightsPath},
                                          modules, temporary)) {
    return std::move(error);
  }
  sys::fs::file_status status;
  sys::fs::status(temporary, status);
  report.fileBytes = status.getSize();
  if (Error error = outputs.keep(temporary, output))
    return std::move(error);
  return report;
}

} // namespace pare::emit
