//===- Inspect.cpp - pare inspect -----------------------------------------===//
#include "tools/Cli.h"
#include "tools/Report.h"
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
           cl::desc("Fix an input's shape, or bound its dimensions"),
           cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print JSON"), cl::sub(command));
static cl::opt<bool> listTensors("tensors",
                                 cl::desc("List every tensor of a GGUF file"),
                                 cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print no warnings"),
                           cl::sub(command));

/// "f32 [batch, 3, 48, 320]".
static std::string describe(mlir::Type type, mlir::func::FuncOp entry) {
  std::string text;
  raw_string_ostream stream(text);
  auto names = entry->getAttrOfType<mlir::ArrayAttr>(nn::kDimNamesAttr);
  stream << mlir::cast<mlir::RankedTensorType>(type).getElementType() << " [";
  interleaveComma(nn::getShape(type), stream, [&](nn::Dim dim) {
    auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim);
    if (symbol && names && symbol.getPosition() < names.size())
      stream << mlir::cast<mlir::StringAttr>(names[symbol.getPosition()])
                    .getValue();
    else
      stream << dim;
  });
  stream << "]";
  return text;
}

static int printUnsupported(ArrayRef<Unsupported> list,
                            const std::optional<FileContents> &contents) {
  if (json) {
    json::Array rows;
    for (const Unsupported &u : list)
      rows.push_back(
          json::Object{{"op", u.op}, {"count", u.count}, {"why", u.why}});
    json::Object result{{"unsupported", std::move(rows)}};
    if (contents)
      result["file"] = toJson(*contents);
    outs() << formatv("{0:2}\n", json::Value(std::move(result)));
    return 0;
  }
  if (contents)
    printContents(*contents, listTensors);
  outs() << "does not compile; unsupported:\n";
  for (const Unsupported &u : list)
    outs() << formatv("  {0,-24} x{1,-5} {2}\n", u.op, u.count, u.why);
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
    return printUnsupported(*unsupported, *contents);
  Expected<ImportOptions> options = parseShapes(shapes);
  if (!options)
    return console.fail(options.takeError());
  mlir::MLIRContext context;
  loadDialects(context);
  Expected<Model> model = importModel(modelPath, *options, context, console);
  if (!model)
    return console.fail(model.takeError());

  mlir::func::FuncOp entry = nn::getEntry(*model->module);
  SmallVector<int64_t> smallest;
  if (auto minima =
          entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMinAttr))
    smallest.assign(minima.asArrayRef().begin(), minima.asArrayRef().end());
  std::map<std::string, unsigned> ops;
  int64_t flops = 0;
  entry.walk([&](mlir::Operation *op) {
    if (!mlir::isa<nn::NNDialect>(op->getDialect()) ||
        mlir::isa<nn::ParamOp, nn::ConstantOp>(op))
      return;
    std::string name = op->getName().stripDialect().str();
    if (auto unary = mlir::dyn_cast<nn::UnaryOp>(op))
      name = stringifyUnaryKind(unary.getKind()).str();
    if (auto binary = mlir::dyn_cast<nn::BinaryOp>(op))
      name = stringifyBinaryKind(binary.getKind()).str();
    ++ops[name];
    if (auto cost = mlir::dyn_cast<nn::CostInterface>(op))
      flops += nn::evaluate(cost.getFlops(), smallest);
  });
  uint64_t parameters = 0, bytes = 0;
  for (nn::WeightOp weight : model->module->getOps<nn::WeightOp>()) {
    const TensorData &data = model->weights->get(weight.getSymName());
    parameters += data.type.getNumElements();
    bytes += data.bytes.size();
  }

  auto names = [&](mlir::TypeRange types, auto nameOf) {
    std::vector<std::pair<std::string, std::string>> rows;
    for (auto [index, type] : enumerate(types))
      rows.push_back({nameOf(index), describe(type, entry)});
    return rows;
  };
  auto inputs = names(entry.getArgumentTypes(), [&](unsigned i) {
    return nn::getValueName(entry.getArgument(i)).str();
  });
  auto outputs = names(entry.getResultTypes(), [&](unsigned i) {
    auto name = entry.getResultAttrOfType<mlir::StringAttr>(i, nn::kNameAttr);
    return name ? name.str() : "output" + std::to_string(i);
  });

  if (json) {
    auto tensors = [](const auto &rows) {
      json::Array array;
      for (const auto &[name, type] : rows)
        array.push_back(json::Object{{"name", name}, {"type", type}});
      return array;
    };
    json::Object counts;
    for (const auto &[name, count] : ops)
      counts[name] = count;
    json::Object result{
        {"name", model->name},         {"format", model->format},
        {"inputs", tensors(inputs)},   {"outputs", tensors(outputs)},
        {"ops", std::move(counts)},    {"parameters", int64_t(parameters)},
        {"bytes", int64_t(bytes)},     {"flops", flops},
        {"unsupported", json::Array()}};
    if (*contents)
      result["file"] = toJson(**contents);
    outs() << formatv("{0:2}\n", json::Value(std::move(result)));
    return 0;
  }
  if (*contents)
    printContents(**contents, listTensors);
  outs() << model->name << " (" << model->format << ")\n";
  for (const auto &[name, type] : inputs)
    outs() << "  input   " << name << ": " << type << "\n";
  for (const auto &[name, type] : outputs)
    outs() << "  output  " << name << ": " << type << "\n";
  outs() << formatv("  {0:n} parameters, {1}, {2:f3} GFLOP{3}\n", parameters,
                    formatBytes(bytes), flops / 1e9,
                    smallest.empty() ? "" : " at the smallest dynamic shape");
  for (const auto &[name, count] : ops)
    outs() << formatv("  {0,-20} {1}\n", name, count);
  outs() << "  every op compiles\n";
  return 0;
}

Subcommand inspectCommand() { return {&command, run}; }

} // namespace pare::tools
