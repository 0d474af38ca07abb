//===- Inspect.cpp - pare inspect -----------------------------------------===//
#include "backends/cpu/Select.h"
#include "tools/Cli.h"
#include "tools/CompileFlags.h"
#include "tools/Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <map>

using namespace llvm;

namespace pare::tools {

static cl::SubCommand
    command("inspect",
            "Show what a model is made of, and what of it would not compile\n\n"
            "  pare inspect model.onnx\n"
            "  pare inspect minilm/ --shape input_ids=1x128 --json\n"
            "  pare inspect model.gguf --tensors\n");

static cl::opt<std::string> modelPath(cl::Positional, cl::Required,
                                      cl::desc("MODEL"), cl::sub(command));
static cl::list<std::string>
    shapes("shape", cl::value_desc("input=1x3x48x320"),
           cl::desc("Fix an input's shape, or bound its dimensions: "
                    "input=batch:1..8x128 (default: the model's own)"),
           cl::sub(command));
static AdapterFlags adapters(command);
static cl::opt<bool> json("json", cl::desc("Print JSON"), cl::sub(command));
static cl::opt<bool> listTensors("tensors",
                                 cl::desc("List every tensor of a GGUF file"),
                                 cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print no warnings"),
                           cl::sub(command));

namespace {
/// An input or an output.
struct TensorRow {
  std::string name, type;
  std::vector<std::string> shape; ///< sizes, and expressions of dynamic ones
};

struct Summary {
  std::string name, format;
  std::vector<TensorRow> inputs, outputs;
  std::vector<std::tuple<std::string, int64_t, int64_t>> dims; ///< min, max
  std::map<std::string, unsigned> ops;
  uint64_t parameters = 0, bytes = 0;
  int64_t flops = 0; ///< at the smallest dynamic shape
  std::vector<Unsupported> unsupported;
};
} // namespace

static TensorRow describe(std::string name, mlir::Type type,
                          mlir::func::FuncOp entry) {
  TensorRow row{std::move(name), "", {}};
  raw_string_ostream(row.type)
      << mlir::cast<mlir::RankedTensorType>(type).getElementType();
  auto names = entry->getAttrOfType<mlir::ArrayAttr>(nn::kDimNamesAttr);
  for (nn::Dim dim : nn::getShape(type)) {
    auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim);
    std::string &text = row.shape.emplace_back();
    raw_string_ostream stream(text);
    if (symbol && names && symbol.getPosition() < names.size())
      stream << mlir::cast<mlir::StringAttr>(names[symbol.getPosition()])
                    .getValue();
    else
      stream << dim;
  }
  return row;
}

static Summary summarize(Model &model) {
  Summary summary;
  summary.name = model.name;
  summary.format = model.format;
  mlir::func::FuncOp entry = nn::getEntry(*model.module);
  for (mlir::BlockArgument arg : entry.getArguments())
    summary.inputs.push_back(
        describe(nn::getValueName(arg).str(), arg.getType(), entry));
  for (auto [i, type] : enumerate(entry.getResultTypes())) {
    auto name = entry.getResultAttrOfType<mlir::StringAttr>(i, nn::kNameAttr);
    summary.outputs.push_back(describe(
        name ? name.str() : "output" + std::to_string(i), type, entry));
  }
  SmallVector<int64_t> smallest;
  auto names = entry->getAttrOfType<mlir::ArrayAttr>(nn::kDimNamesAttr);
  auto minima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMinAttr);
  auto maxima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMaxAttr);
  if (names && minima && maxima)
    for (auto [name, min, max] :
         zip_equal(names.getAsValueRange<mlir::StringAttr>(),
                   minima.asArrayRef(), maxima.asArrayRef())) {
      summary.dims.push_back({name.str(), min, max});
      smallest.push_back(min);
    }
  entry.walk([&](mlir::Operation *op) {
    if (!mlir::isa<nn::NNDialect>(op->getDialect()) ||
        mlir::isa<nn::ParamOp, nn::ConstantOp>(op))
      return;
    ++summary.ops[getKind(op)];
    if (auto cost = mlir::dyn_cast<nn::CostInterface>(op))
      summary.flops += nn::evaluate(cost.getFlops(), smallest);
  });
  for (nn::WeightOp weight : model.module->getOps<nn::WeightOp>()) {
    const TensorData &data = model.weights->get(weight.getSymName());
    summary.parameters += data.type.getNumElements();
    summary.bytes += data.bytes.size();
  }
  return summary;
}

/// Ops for which, when the graph is ready for it, there is no kernel on this
/// machine. The graph is consumed.
static Expected<std::vector<Unsupported>> findWithoutKernel(Model &model) {
  Expected<cpu::Isa> isa = cpu::Isa::parse("host");
  if (!isa)
    return isa.takeError();
  PipelineOptions pipeline;
  pipeline.weights = model.weights.get();
  if (Error error = runPasses(*model.module, pipeline, modelPath))
    return std::move(error);
  std::map<std::pair<std::string, std::string>, unsigned> missing;
  mlir::Block &body = nn::getEntry(*model.module).getBody().front();
  for (mlir::Operation &op : body.without_terminator())
    if (std::optional<std::string> why = cpu::whyNoKernel(&op, *isa))
      ++missing[{getKind(&op), *why}];
  std::vector<Unsupported> result;
  for (const auto &[op, count] : missing)
    result.push_back({op.first, count, op.second});
  return std::move(result);
}

static json::Value toJson(ArrayRef<Unsupported> list) {
  json::Array rows;
  for (const Unsupported &u : list)
    rows.push_back(
        json::Object{{"op", u.op}, {"count", u.count}, {"why", u.why}});
  return rows;
}

static void printUnsupported(ArrayRef<Unsupported> list) {
  outs() << "does not compile; unsupported:\n";
  for (const Unsupported &u : list)
    outs() << formatv("  {0,-24} x{1,-5} {2}\n", u.op, u.count, u.why);
}

/// What cannot be imported has no graph to summarize.
static int print(ArrayRef<Unsupported> unsupported,
                 const std::optional<FileContents> &contents) {
  if (json) {
    json::Object result{{"unsupported", toJson(unsupported)}};
    if (contents)
      result["file"] = toJson(*contents);
    outs() << formatv("{0:2}\n", json::Value(std::move(result)));
    return 0;
  }
  if (contents)
    printContents(*contents, listTensors);
  printUnsupported(unsupported);
  return 0;
}

static json::Value toJson(ArrayRef<TensorRow> rows) {
  json::Array array;
  for (const TensorRow &row : rows) {
    json::Array shape;
    for (StringRef size : row.shape) {
      int64_t number;
      shape.push_back(size.getAsInteger(10, number) ? json::Value(size)
                                                    : json::Value(number));
    }
    array.push_back(json::Object{
        {"name", row.name}, {"type", row.type}, {"shape", std::move(shape)}});
  }
  return array;
}

static int printJson(const Summary &summary,
                     const std::optional<FileContents> &contents) {
  json::Object ops;
  for (const auto &[name, count] : summary.ops)
    ops[name] = count;
  json::Array dims;
  for (const auto &[name, min, max] : summary.dims)
    dims.push_back(json::Object{{"name", name}, {"min", min}, {"max", max}});
  json::Object result{{"name", summary.name},
                      {"format", summary.format},
                      {"inputs", toJson(summary.inputs)},
                      {"outputs", toJson(summary.outputs)},
                      {"dims", std::move(dims)},
                      {"ops", std::move(ops)},
                      {"parameters", int64_t(summary.parameters)},
                      {"bytes", int64_t(summary.bytes)},
                      {"flops", summary.flops},
                      {"unsupported", toJson(summary.unsupported)}};
  if (contents)
    result["file"] = toJson(*contents);
  outs() << formatv("{0:2}\n", json::Value(std::move(result)));
  return 0;
}

static int printText(const Summary &summary,
                     const std::optional<FileContents> &contents) {
  if (contents)
    printContents(*contents, listTensors);
  outs() << summary.name << " (" << summary.format << ")\n";
  for (const TensorRow &row : summary.inputs)
    outs() << "  input   " << row.name << ": " << row.type << " ["
           << join(row.shape, ", ") << "]\n";
  for (const TensorRow &row : summary.outputs)
    outs() << "  output  " << row.name << ": " << row.type << " ["
           << join(row.shape, ", ") << "]\n";
  for (const auto &[name, min, max] : summary.dims)
    outs() << "  dim     " << name << " from " << min << " to " << max << "\n";
  outs() << formatv("  {0:n} parameters, {1}, {2}{3}\n", summary.parameters,
                    formatBytes(summary.bytes), formatFlops(summary.flops),
                    summary.dims.empty() ? ""
                                         : " at the smallest dynamic shape");
  for (const auto &[name, count] : summary.ops)
    outs() << formatv("  {0,-20} {1}\n", name, count);
  if (summary.unsupported.empty())
    outs() << "  every op compiles\n";
  else
    printUnsupported(summary.unsupported);
  return 0;
}

static int run() {
  Console console(quiet);
  Expected<const Importer *> importer = findImporter(modelPath);
  if (!importer)
    return console.fail(importer.takeError());
  Expected<std::vector<Unsupported>> unsupported =
      (*importer)->findUnsupported(modelPath);
  if (!unsupported)
    return console.fail(unsupported.takeError());
  Expected<std::optional<FileContents>> contents =
      (*importer)->describe(modelPath);
  if (!contents)
    return console.fail(contents.takeError());
  if (!unsupported->empty())
    return print(*unsupported, *contents);
  Expected<ImportOptions> options = parseShapes(shapes);
  if (!options)
    return console.fail(options.takeError());
  adapters.get(*options);
  mlir::MLIRContext context;
  loadDialects(context);
  Expected<Model> model = importModel(modelPath, *options, context, console);
  if (!model)
    return console.fail(model.takeError());
  Summary summary = summarize(*model);
  unsupported = findWithoutKernel(*model);
  if (!unsupported)
    return console.fail(unsupported.takeError());
  summary.unsupported = std::move(*unsupported);
  return json ? printJson(summary, *contents) : printText(summary, *contents);
}

Subcommand inspectCommand() { return {&command, run}; }

} // namespace pare::tools
