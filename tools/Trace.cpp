//===- Trace.cpp - All named values of one run ----------------------------===//
#include "tools/Trace.h"
#include "passes/reference/Interpreter.h"
#include "tools/Cli.h"
#include "tools/Report.h"
#include <numeric>
#include <random>

using namespace llvm;

namespace pare::tools {

namespace {
class ModelTrace : public Traceable {
public:
  ModelTrace(Model model, ProgressFn listener)
      : model(std::move(model)), listener(std::move(listener)) {}
  Expected<Interface> getInterface() override;
  Expected<Trace> run(const Inputs &inputs) override;

private:
  Model model;
  ProgressFn listener;
};

class ArtifactTrace : public Traceable {
public:
  ArtifactTrace(Artifact artifact, mlir::MLIRContext &context,
                const TemporaryFolder &folder)
      : artifact(std::move(artifact)), context(context), folder(folder) {}
  Expected<Interface> getInterface() override;
  Expected<Trace> run(const Inputs &inputs) override;

private:
  Expected<Trace> readTrace(StringRef probes, StringRef outputs);
  Expected<StringMap<std::string>> getOps(const Inputs &inputs);

  Artifact artifact;
  mlir::MLIRContext &context;
  const TemporaryFolder &folder;
};
} // namespace

Expected<std::unique_ptr<Traceable>>
Traceable::open(StringRef path, const ImportOptions &options,
                mlir::MLIRContext &context, const TemporaryFolder &folder,
                Console &console) {
  if (isArtifact(path))
    return std::make_unique<ArtifactTrace>(Artifact{path.str(), path.str()},
                                           context, folder);
  Expected<Model> model = importModel(path, options, context, console);
  if (!model)
    return model.takeError();
  return std::make_unique<ModelTrace>(std::move(*model), console.listener());
}

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

Expected<Interface> ModelTrace::getInterface() {
  Interface interface;
  mlir::func::FuncOp entry = nn::getEntry(*model.module);
  for (mlir::BlockArgument arg : entry.getArguments()) {
    auto type = mlir::cast<mlir::RankedTensorType>(arg.getType());
    interface.inputs.push_back({nn::getValueName(arg).str(),
                                type.getElementType(), nn::getShape(type)});
  }
  auto minima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMinAttr);
  auto maxima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMaxAttr);
  if (minima && maxima)
    for (auto [min, max] : zip_equal(minima.asArrayRef(), maxima.asArrayRef()))
      interface.bounds.push_back({min, max});
  return std::move(interface);
}

/// How long the interpreter takes for `op`, in arithmetic operations.
static uint64_t estimateWork(mlir::Operation *op, ArrayRef<int64_t> symbols) {
  auto cost = mlir::dyn_cast<nn::CostInterface>(op);
  return 1 + (cost
                  ? std::max<int64_t>(0, nn::evaluate(cost.getFlops(), symbols))
                  : 0);
}

Expected<Trace> ModelTrace::run(const Inputs &inputs) {
  mlir::func::FuncOp entry = nn::getEntry(*model.module);
  std::vector<HostTensor> arguments;
  for (mlir::BlockArgument arg : entry.getArguments()) {
    auto it = inputs.find(nn::getValueName(arg).str());
    if (it == inputs.end())
      return createStringError(model.name + ": input '" +
                               nn::getValueName(arg) +
                               "' is missing on the other side");
    arguments.push_back(it->second);
  }
  Expected<SmallVector<int64_t>> symbols = bindSymbols(entry, arguments);
  if (!symbols)
    return createStringError(model.name + ": " + toString(symbols.takeError()));
  uint64_t work = 0;
  entry.walk([&](mlir::Operation *op) { work += estimateWork(op, *symbols); });
  PhaseProgress progress(listener, "interpret", work);
  Trace trace;
  auto probe = [&](mlir::Value value, const HostTensor &tensor) {
    StringRef name = nn::getValueName(value);
    mlir::Operation *op = value.getDefiningOp();
    if (op && value == op->getResult(0))
      progress.finish(estimateWork(op, *symbols));
    // An importer's helper values share the name of what they lead to: the
    // last one is it.
    if (!name.empty() && op && !mlir::isa<nn::ParamOp, nn::ConstantOp>(op))
      trace[name.str()] = {tensor, getKind(op)};
  };
  auto outputs =
      Interpreter(*model.module, *model.weights).run(arguments, probe);
  if (!outputs)
    return createStringError(model.name + ": " + toString(outputs.takeError()));
  for (auto [index, output] : enumerate(*outputs)) {
    auto name =
        entry.getResultAttrOfType<mlir::StringAttr>(index, nn::kNameAttr);
    if (name && !trace.contains(name.str()))
      trace[name.str()] = {output, "output"};
  }
  return std::move(trace);
}

//===----------------------------------------------------------------------===//
// Artifacts
//===----------------------------------------------------------------------===//

static mlir::Type parseType(StringRef name, mlir::MLIRContext &context) {
  mlir::Builder builder(&context);
  if (name == "bool")
    return builder.getI1Type();
  if (name == "bfloat16")
    return builder.getBF16Type();
  bool isUnsigned = name.consume_front("u"),
       isInteger = name.consume_front("int");
  unsigned bits = 0;
  if ((!isInteger && !name.consume_front("float")) ||
      name.getAsInteger(10, bits))
    return {};
  if (isInteger)
    return isUnsigned ? builder.getIntegerType(bits, false)
                      : builder.getIntegerType(bits);
  return bits == 16   ? builder.getF16Type()
         : bits == 32 ? mlir::Type(builder.getF32Type())
                      : builder.getF64Type();
}

Expected<Interface> ArtifactTrace::getInterface() {
  Expected<json::Object> info = readInfo(artifact, folder);
  if (!info)
    return info.takeError();
  Interface interface;
  StringMap<unsigned> symbols;
  auto list = [](const json::Object *from, StringRef key) {
    static const json::Array none;
    const json::Array *array = from ? from->getArray(key) : nullptr;
    return array ? array : &none;
  };
  for (const json::Value &value : *list(&*info, "dims"))
    if (const json::Object *dim = value.getAsObject()) {
      symbols.try_emplace(dim->getString("name").value_or(""), symbols.size());
      interface.bounds.push_back({dim->getInteger("min").value_or(1),
                                  dim->getInteger("max").value_or(1)});
    }
  for (const json::Value &value : *list(&*info, "inputs")) {
    const json::Object *input = value.getAsObject();
    InputSpec spec;
    spec.name = input->getString("name").value_or("").str();
    spec.element = parseType(input->getString("dtype").value_or(""), context);
    if (!spec.element)
      return createStringError(artifact.label + ": input '" + spec.name +
                               "' has an unknown type");
    for (const json::Value &dim : *list(input, "shape"))
      if (auto size = dim.getAsInteger())
        spec.shape.push_back(nn::constant(*size, &context));
      else
        spec.shape.push_back(mlir::getAffineSymbolExpr(
            symbols.lookup(dim.getAsString().value_or("")), &context));
    interface.inputs.push_back(std::move(spec));
  }
  return std::move(interface);
}

/// The op of each value; a profile of one run has them. A language model's
/// profile is of texts, so that its values have none.
Expected<StringMap<std::string>> ArtifactTrace::getOps(const Inputs &inputs) {
  if (inputs.count("tokens") && inputs.count("sequences"))
    return StringMap<std::string>();
  std::vector<std::string> arguments = {"bench", "--json", "--profile",
                                        "--runs=1", "--warmup=0"};
  for (const auto &[name, tensor] : inputs) {
    std::string shape = printShape(tensor.shape());
    if (!shape.empty())
      arguments.push_back("--shape=" + name + "=" + shape);
  }
  Expected<json::Value> bench = queryArtifact(artifact, arguments, folder);
  if (!bench)
    return bench.takeError();
  StringMap<std::string> ops;
  if (const json::Array *steps = bench->getAsObject()->getArray("steps"))
    for (const json::Value &value : *steps)
      if (const json::Object *step = value.getAsObject())
        ops[step->getString("name").value_or("")] =
            step->getString("op").value_or("").str();
  return std::move(ops);
}

Expected<Trace> ArtifactTrace::readTrace(StringRef probes, StringRef outputs) {
  Trace trace;
  for (StringRef path : {probes, outputs}) {
    Expected<std::vector<NamedArray>> arrays = readArrays(path, context);
    if (!arrays)
      return arrays.takeError();
    for (NamedArray &array : *arrays)
      if (path == probes || !trace.contains(array.name))
        trace[array.name] = {std::move(array.tensor), "output"};
  }
  return std::move(trace);
}

Expected<Trace> ArtifactTrace::run(const Inputs &inputs) {
  std::string probes = folder.file("probes.npz"),
              outputs = folder.file("outputs.npz");
  std::vector<std::string> arguments = {"run",  "--quiet",  "--probe",
                                        probes, "--output", outputs};
  for (auto [index, input] : enumerate(inputs)) {
    std::string path = folder.file("input" + Twine(index) + ".npy");
    if (Error error = writeArray(path, input.second))
      return std::move(error);
    arguments.push_back("--input=" + input.first + "=" + path);
  }
  if (Error error = runArtifact(artifact, arguments, folder).takeError())
    return std::move(error);
  Expected<Trace> trace = readTrace(probes, outputs);
  if (!trace)
    return trace.takeError();
  Expected<StringMap<std::string>> ops = getOps(inputs);
  if (!ops)
    return ops.takeError();
  for (auto &[name, value] : *trace)
    if (auto it = ops->find(name); it != ops->end())
      value.op = it->second;
  return trace;
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

/// Whether the inputs are rows of a language model (decoder/Builder.h).
static bool hasRows(const Interface &interface) {
  return all_of(
      ArrayRef<StringRef>{"tokens", "positions", "sequences", "outputs"},
      [&](StringRef name) {
        return any_of(interface.inputs, [&](const InputSpec &input) {
          return input.name == name;
        });
      });
}

static HostTensor makeInput(StringRef name, mlir::RankedTensorType type,
                            bool isOfRows, std::mt19937_64 &random) {
  HostTensor tensor(type);
  mlir::Type element = type.getElementType();
  if (mlir::isa<mlir::FloatType>(element)) {
    std::vector<double> values(type.getNumElements());
    for (double &value : values) // 24 bits, so that f32 holds it exactly
      value = double(int64_t(random() >> 40) - (1 << 23)) / (1 << 23);
    tensor.write<double>(values);
    return tensor;
  }
  std::vector<int64_t> values(type.getNumElements());
  if (isOfRows && name != "tokens") {
    // One sequence from its start; logits of each row.
    if (name != "sequences")
      std::iota(values.begin(), values.end(), 0);
    tensor.write<int64_t>(values);
    return tensor;
  }
  for (int64_t &value : values)
    value = name == "attention_mask" || element.isInteger(1) ? 1
            : name == "token_type_ids"                       ? 0
            : element.isInteger(8) ? int64_t(random() % 128)
                                   : 1 + int64_t(random() % 100);
  tensor.write<int64_t>(values);
  return tensor;
}

Expected<Inputs> makeInputs(const Interface &interface, Inputs given,
                            uint64_t seed) {
  bool isOfRows = hasRows(interface);
  SmallVector<int64_t> symbols(interface.bounds.size(), 0);
  for (const InputSpec &input : interface.inputs) {
    auto it = given.find(input.name);
    if (it == given.end())
      continue;
    if (it->second.shape().size() != input.shape.size())
      return createStringError("input '" + input.name + "' has " +
                               Twine(it->second.shape().size()) +
                               " axes, expected " + Twine(input.shape.size()));
    for (auto [dim, size] : zip_equal(input.shape, it->second.shape()))
      if (auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim))
        symbols[symbol.getPosition()] = size;
  }
  for (const InputSpec &input : interface.inputs)
    for (auto [axis, dim] : enumerate(input.shape))
      if (auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim)) {
        int64_t &size = symbols[symbol.getPosition()];
        auto [min, max] = interface.bounds[symbol.getPosition()];
        if (!size)
          size = std::clamp<int64_t>(axis || isOfRows ? 32 : 1, min, max);
      }
  std::mt19937_64 random(seed);
  Inputs inputs;
  for (const InputSpec &input : interface.inputs) {
    if (auto it = given.find(input.name); it != given.end()) {
      inputs[input.name] = std::move(it->second);
      given.erase(it);
      continue;
    }
    auto type = mlir::RankedTensorType::get(nn::evaluate(input.shape, symbols),
                                            input.element);
    inputs[input.name] = makeInput(input.name, type, isOfRows, random);
  }
  if (!given.empty())
    return createStringError("no input is called '" + given.begin()->first +
                             "'");
  return std::move(inputs);
}

} // namespace pare::tools
