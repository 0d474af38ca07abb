//===- Diff.cpp - pare diff -----------------------------------------------===//
#include "tools/Cli.h"
#include "tools/Compare.h"
#include "tools/CompileFlags.h"
#include "tools/Report.h"
#include "tools/Trace.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace llvm;

namespace pare::tools {

static cl::SubCommand command(
    "diff",
    "Show the error of each layer between two versions of a model, worst "
    "first\n\n"
    "A is measured against B; each is a model, run by the reference\n"
    "interpreter, or an artifact.\n\n"
    "  pare diff ./minilm.int8 minilm/\n"
    "  pare diff ./rec.int8 ./rec.f32 --input x=line.npy --top 10\n");

static cl::opt<std::string> pathA(cl::Positional, cl::Required, cl::desc("A"),
                                  cl::sub(command));
static cl::opt<std::string> pathB(cl::Positional, cl::Required, cl::desc("B"),
                                  cl::sub(command));
static cl::list<std::string>
    inputFiles("input", cl::value_desc("name=file"),
               cl::desc("An input (.npy), or all by name (.npz); those not "
                        "given are made up"),
               cl::sub(command));
static cl::list<std::string> shapes("shape", cl::value_desc("input=1x3x48x320"),
                                    cl::desc("Fix an input's shape in a model "
                                             "(default: the model's own)"),
                                    cl::sub(command));
static AdapterFlags adapters(command);
static cl::opt<unsigned>
    seed("seed", cl::init(0), cl::value_desc("n"),
         cl::desc("Of the numbers that are made up (default: 0)"),
         cl::sub(command));
static cl::opt<unsigned> top("top", cl::init(30), cl::value_desc("n"),
                             cl::desc("Values to show (default: 30; 0: all)"),
                             cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print JSON"), cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but results"),
                           cl::sub(command));

namespace {
struct Row {
  std::string name, shape, opA, opB;
  Difference difference;
  size_t order; ///< in A
};

struct Comparison {
  std::vector<Row> rows;
  std::vector<std::string> skipped; ///< in both, but of other shapes or types
  unsigned onlyA = 0, onlyB = 0;
};
} // namespace

static bool isBefore(const Row &a, const Row &b) {
  bool badA = a.difference.nonFinite, badB = b.difference.nonFinite;
  if (badA != badB)
    return badA;
  if (a.difference.rmsError != b.difference.rmsError)
    return a.difference.rmsError > b.difference.rmsError;
  return a.order < b.order;
}

static Comparison compareTraces(const Trace &a, const Trace &b) {
  Comparison result;
  for (const auto &[name, value] : a) {
    auto it = b.find(name);
    if (it == b.end()) {
      ++result.onlyA;
      continue;
    }
    std::optional<Difference> difference =
        compareInAnyLayout(value.tensor, it->second.tensor);
    if (!difference) {
      result.skipped.push_back(name);
      continue;
    }
    std::string shape = printShape(it->second.tensor.shape());
    result.rows.push_back({name, shape.empty() ? "scalar" : shape, value.op,
                           it->second.op, *difference, result.rows.size()});
  }
  result.onlyB = b.size() - result.rows.size() - result.skipped.size();
  llvm::sort(result.rows, isBefore);
  return result;
}

static int printJson(const Comparison &comparison, unsigned shown) {
  json::Array values;
  for (const Row &row : ArrayRef(comparison.rows).take_front(shown))
    values.push_back(
        json::Object{{"name", row.name},
                     {"shape", row.shape},
                     {"cosine", toJson(row.difference.cosine)},
                     {"max_error", toJson(row.difference.maxError)},
                     {"rms_error", toJson(row.difference.rmsError)},
                     {"non_finite", int64_t(row.difference.nonFinite)},
                     {"op_a", row.opA},
                     {"op_b", row.opB}});
  json::Array skipped;
  for (const std::string &name : comparison.skipped)
    skipped.push_back(name);
  outs() << formatv("{0:2}\n", json::Value(json::Object{
                                   {"values", std::move(values)},
                                   {"not_comparable", std::move(skipped)},
                                   {"only_a", comparison.onlyA},
                                   {"only_b", comparison.onlyB}}));
  return 0;
}

static int printText(const Comparison &comparison, unsigned shown,
                     Console &console) {
  Table table({"value", "shape", "cosine", "max error", "rms error", "op"},
              {1, 5});
  for (const Row &row : ArrayRef(comparison.rows).take_front(shown)) {
    std::string op = row.opA == row.opB ? row.opA : row.opA + " | " + row.opB;
    if (row.difference.nonFinite)
      op += formatv(" ({0} not finite)", row.difference.nonFinite);
    table.add({row.name, row.shape, formatv("{0:f6}", row.difference.cosine),
               formatv("{0:e2}", row.difference.maxError),
               formatv("{0:e2}", row.difference.rmsError), op});
  }
  table.print(outs());
  std::string rest;
  if (comparison.rows.size() > shown)
    rest = formatv("{0} more (--top 0 shows all); ",
                   comparison.rows.size() - shown);
  console.note(
      formatv("{0}{1} values in both, {2} of other shapes or types, {3} only "
              "in A, {4} only in B; errors are relative to B's largest value "
              "and to its norm",
              rest, comparison.rows.size() + comparison.skipped.size(),
              comparison.skipped.size(), comparison.onlyA, comparison.onlyB)
          .str());
  return 0;
}

/// Reads --input options: NAME=FILE.npy, or FILE.npz.
static Expected<Inputs> readInputs(ArrayRef<std::string> options,
                                   const Interface &interface,
                                   mlir::MLIRContext &context) {
  Inputs inputs;
  for (StringRef option : options) {
    StringRef name, path = option;
    for (const InputSpec &input : interface.inputs)
      if (option.starts_with(input.name + "=") &&
          input.name.size() >= name.size()) {
        name = input.name;
        path = option.drop_front(name.size() + 1);
      }
    Expected<std::vector<NamedArray>> arrays = readArrays(path, context);
    if (!arrays)
      return createStringError("--input: " + toString(arrays.takeError()));
    for (NamedArray &array : *arrays) {
      if (array.name.empty())
        array.name = !name.empty() ? name.str()
                     : interface.inputs.size() == 1
                         ? interface.inputs.front().name
                         : "";
      if (array.name.empty())
        return createStringError("--input " + option +
                                 ": say which input, as NAME=FILE");
      inputs[array.name] = std::move(array.tensor);
    }
  }
  return std::move(inputs);
}

static Expected<Comparison> diff(mlir::MLIRContext &context,
                                 const TemporaryFolder &folder,
                                 Console &console) {
  Expected<ImportOptions> options = parseShapes(shapes);
  if (!options)
    return options.takeError();
  adapters.get(*options);
  std::unique_ptr<Traceable> sides[2];
  for (auto [side, path] : {std::pair(0, &pathA), std::pair(1, &pathB)}) {
    auto opened = Traceable::open(*path, *options, context, folder, console);
    if (!opened)
      return opened.takeError();
    sides[side] = std::move(*opened);
  }
  // An artifact's shapes may be narrower than its source's.
  Expected<Interface> interface =
      sides[!isArtifact(pathA) && isArtifact(pathB)]->getInterface();
  if (!interface)
    return interface.takeError();
  Expected<Inputs> given = readInputs(inputFiles, *interface, context);
  if (!given)
    return given.takeError();
  Expected<Inputs> inputs = makeInputs(*interface, std::move(*given), seed);
  if (!inputs)
    return inputs.takeError();
  Expected<Trace> a = sides[0]->run(*inputs);
  if (!a)
    return a.takeError();
  Expected<Trace> b = sides[1]->run(*inputs);
  if (!b)
    return b.takeError();
  Comparison comparison = compareTraces(*a, *b);
  if (comparison.rows.empty())
    return createStringError("'" + pathA + "' and '" + pathB +
                             "' have no values of the same names and shapes");
  return std::move(comparison);
}

static int run() {
  Console console(quiet);
  Expected<TemporaryFolder> folder = TemporaryFolder::create();
  if (!folder)
    return console.fail(folder.takeError());
  mlir::MLIRContext context;
  loadDialects(context);
  Expected<Comparison> comparison = diff(context, *folder, console);
  if (!comparison)
    return console.fail(comparison.takeError());
  unsigned shown = top ? unsigned(top) : comparison->rows.size();
  return json ? printJson(*comparison, shown)
              : printText(*comparison, shown, console);
}

Subcommand diffCommand() { return {&command, run}; }

} // namespace pare::tools
