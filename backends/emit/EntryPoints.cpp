//===- EntryPoints.cpp - The C interface of one model: its functions ------===//
#include "backends/emit/EntryPoints.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;
namespace nn = pare::nn;

namespace pare::emit {

namespace {
/// Gives out C identifiers, each once.
class Identifiers {
public:
  std::string get(StringRef text) {
    std::string base;
    for (char c : text)
      base += isAlnum(c) ? c : '_';
    if (base.empty() || isDigit(base.front()))
      base.insert(0, "_");
    std::string name = base;
    for (unsigned i = 2; isReserved(name) || !used.insert(name).second; ++i)
      name = base + "_" + std::to_string(i);
    return name;
  }

private:
  static bool isReserved(StringRef name) {
    static const StringSet<> words = {
        "auto",    "bool",     "break",    "case",    "char",     "class",
        "const",   "context",  "continue", "default", "delete",   "do",
        "double",  "else",     "enum",     "extern",  "float",    "for",
        "goto",    "if",       "inline",   "int",     "long",     "namespace",
        "new",     "operator", "private",  "public",  "register", "restrict",
        "return",  "short",    "signed",   "sizeof",  "static",   "struct",
        "switch",  "template", "this",     "typedef", "union",    "unsigned",
        "virtual", "void",     "volatile", "while"};
    return words.contains(name);
  }

  StringSet<> used;
};
} // namespace

EntryPoints::EntryPoints(StringRef fileName, mlir::ModuleOp graph,
                         bool hasGenerator)
    : hasGenerator(hasGenerator) {
  StringRef stem = sys::path::filename(fileName);
  if (stem.ends_with(".a") || stem.ends_with(".so"))
    stem = sys::path::stem(stem);
  if (stem.size() > 3)
    stem.consume_front("lib");
  prefix_ = Identifiers().get(stem);

  hasCaches = !graph.getOps<nn::CacheOp>().empty();

  Identifiers names;
  mlir::func::FuncOp entry = nn::getEntry(graph);
  auto symbols = entry->getAttrOfType<mlir::ArrayAttr>(nn::kDimNamesAttr);
  auto minima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMinAttr);
  auto maxima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMaxAttr);
  for (unsigned i = 0, e = symbols ? symbols.size() : 0; i < e; ++i)
    dims.push_back(
        {names.get(mlir::cast<mlir::StringAttr>(symbols[i]).getValue()),
         minima[i], maxima[i]});
  auto parameter = [&](StringRef name, mlir::Type type) {
    return Parameter{name.str(), names.get(name),
                     mlir::cast<mlir::RankedTensorType>(type)};
  };
  for (mlir::BlockArgument arg : entry.getArguments())
    inputs.push_back(parameter(nn::getValueName(arg), arg.getType()));
  for (auto [index, type] : enumerate(entry.getResultTypes())) {
    auto name =
        entry.getResultAttrOfType<mlir::StringAttr>(index, nn::kNameAttr);
    outputs.push_back(
        parameter(name ? name.str() : "output" + std::to_string(index), type));
  }
}

namespace {
/// A function of language models that only passes its arguments on: of type
/// 'v'oid*, 'i'nt32 or 'l'ong, the result first, 'n'one or another.
struct PlainFunction {
  const char *suffix, *callee, *types;
};
constexpr PlainFunction kCacheFunctions[] = {
    {"_cache_reset", "pare_cache_reset", "ivi"},
    {"_cache_reusable", "pare_cache_reusable", "ivii"},
    {"_cache_copy", "pare_cache_copy", "iviii"},
    {"_cache_bytes", "pare_cache_bytes", "lvi"},
    {"_cache_save", "pare_cache_save", "iviivl"},
    {"_cache_load", "pare_cache_load", "ivivlv"},
};
constexpr PlainFunction kGeneratorFunctions[] = {
    {"_generator_close", "pare_generator_close", "nv"},
    {"_generator_advice", "pare_generator_advice", "nvv"},
    {"_generator_prompt", "pare_generator_prompt", "ivvv"},
    {"_generator_chat", "pare_generator_chat", "ivvvvv"},
    {"_generator_next", "pare_generator_next", "vvv"},
    {"_generator_finish", "pare_generator_finish", "vv"},
    {"_generator_error", "pare_generator_error", "vv"},
};
} // namespace

std::vector<std::string> EntryPoints::symbols() const {
  std::vector<std::string> names;
  for (const char *suffix :
       {"_create", "_destroy", "_run", "_shapes", "_error", "_threads"})
    names.push_back(prefix_ + suffix);
  if (hasCaches)
    for (const PlainFunction &function : kCacheFunctions)
      names.push_back(prefix_ + function.suffix);
  if (hasGenerator) {
    names.push_back(prefix_ + "_generator_open");
    for (const PlainFunction &function : kGeneratorFunctions)
      names.push_back(prefix_ + function.suffix);
  }
  return names;
}

namespace {
/// Writes the functions. Each only passes its arguments on to the runtime.
class FunctionBuilder {
public:
  FunctionBuilder(Module &module, StringRef prefix)
      : module(module), prefix(prefix), builder(module.getContext()),
        pointer(builder.getPtrTy()) {}

  Function *begin(StringRef suffix, Type *result, ArrayRef<Type *> parameters) {
    auto *function =
        Function::Create(FunctionType::get(result, parameters, false),
                         GlobalValue::ExternalLinkage, prefix + suffix, module);
    function->addFnAttr(Attribute::NoUnwind);
    // Runs before the runtime has looked at what the CPU can do.
    bool isX86 = module.getTargetTriple().isX86();
    function->addFnAttr("target-cpu", isX86 ? "x86-64" : "generic");
    function->addFnAttr("target-features", "");
    builder.SetInsertPoint(
        BasicBlock::Create(module.getContext(), "entry", function));
    return function;
  }

  /// Returns what the runtime's `callee` does with `arguments`.
  void finish(StringRef callee, Type *result, ArrayRef<Value *> arguments) {
    SmallVector<Type *> types;
    for (Value *argument : arguments)
      types.push_back(argument->getType());
    FunctionCallee function = module.getOrInsertFunction(
        callee, FunctionType::get(result, types, false));
    CallInst *call = builder.CreateCall(function, arguments);
    if (result->isVoidTy())
      builder.CreateRetVoid();
    else
      builder.CreateRet(call);
  }

  /// The arguments [first, first + count) in an array on the stack.
  Value *gather(Function *function, unsigned first, unsigned count,
                Type *element) {
    Value *array =
        builder.CreateAlloca(element, builder.getInt32(std::max(count, 1u)));
    for (unsigned i = 0; i < count; ++i)
      builder.CreateStore(function->getArg(first + i),
                          builder.CreateConstGEP1_32(element, array, i));
    return array;
  }

  Type *getType(char code) {
    return code == 'v'   ? pointer
           : code == 'i' ? builder.getInt32Ty()
           : code == 'l' ? builder.getInt64Ty()
                         : builder.getVoidTy();
  }

  void define(const PlainFunction &function) {
    SmallVector<Type *> types;
    for (const char *type = function.types; *type; ++type)
      types.push_back(getType(*type));
    Function *made =
        begin(function.suffix, types[0], ArrayRef(types).drop_front());
    SmallVector<Value *> arguments;
    for (Argument &argument : made->args())
      arguments.push_back(&argument);
    finish(function.callee, types[0], arguments);
  }

  /// Makes something of the model, as pare_create does.
  void defineMaker(StringRef suffix, StringRef callee, GlobalVariable *model) {
    Function *made =
        begin(suffix, pointer, {pointer, pointer, builder.getInt64Ty()});
    finish(callee, pointer,
           {model, made->getArg(0), made->getArg(1), made->getArg(2)});
  }

  Module &module;
  StringRef prefix;
  IRBuilder<> builder;
  PointerType *pointer;
};
} // namespace

void EntryPoints::define(Module &module) const {
  FunctionBuilder b(module, prefix_);
  Type *i64 = b.builder.getInt64Ty(), *i32 = b.builder.getInt32Ty(),
       *none = b.builder.getVoidTy();
  GlobalVariable *model = module.getNamedGlobal("pare_model");
  assert(model && "the module defines no model");
  model->setLinkage(GlobalValue::InternalLinkage);

  b.defineMaker("_create", "pare_create", model);
  Function *destroy = b.begin("_destroy", none, {b.pointer});
  b.finish("pare_destroy", none, {destroy->getArg(0)});
  Function *error = b.begin("_error", b.pointer, {b.pointer});
  b.finish("pare_error", b.pointer, {error->getArg(0)});
  Function *threads = b.begin("_threads", i32, {b.pointer});
  b.finish("pare_threads", i32, {threads->getArg(0)});

  if (hasCaches)
    for (const PlainFunction &function : kCacheFunctions)
      b.define(function);
  if (hasGenerator) {
    b.defineMaker("_generator_open", "pare_generator_open", model);
    for (const PlainFunction &function : kGeneratorFunctions)
      b.define(function);
  }

  SmallVector<Type *> parameters = {b.pointer};
  parameters.append(dims.size(), i64);
  parameters.append(outputs.size(), b.pointer);
  Function *shapes = b.begin("_shapes", i32, parameters);
  b.finish("pare_shapes_at", i32,
           {shapes->getArg(0), b.gather(shapes, 1, dims.size(), i64),
            b.gather(shapes, 1 + dims.size(), outputs.size(), b.pointer)});

  parameters.append(inputs.size(), b.pointer);
  Function *run = b.begin("_run", i32, parameters);
  unsigned first = 1 + dims.size();
  b.finish("pare_run_at", i32,
           {run->getArg(0), b.gather(run, 1, dims.size(), i64),
            b.gather(run, first, inputs.size(), b.pointer),
            b.gather(run, first + inputs.size(), outputs.size(), b.pointer)});
}

} // namespace pare::emit
