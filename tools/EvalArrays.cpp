//===- EvalArrays.cpp - pare eval on arrays and pictures ------------------===//
#include "tools/Eval.h"
#include "tools/Trace.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <set>

using namespace llvm;

namespace pare::tools {

namespace {
/// What one run takes: a picture, or arrays.
struct Case {
  const DataFile *file;
  std::map<std::string, HostTensor> arrays; ///< empty: the file is a picture
  std::vector<int64_t> labels;              ///< of its rows, or none
};

/// One output of both sides, over all rows of all runs.
struct OutputFigures {
  std::string name;
  std::vector<double> cosines, errors;
  uint64_t sameTop = 0, tops = 0; ///< of rows of class scores
};

/// Right classes of one side.
struct Accuracy {
  uint64_t right = 0, count = 0;
};

class Evaluator {
public:
  Evaluator(const EvalSubjects &subjects, const EvalOptions &options,
            mlir::MLIRContext &context, const TemporaryFolder &folder,
            Console &console)
      : subjects(subjects), options(options), context(context), folder(folder),
        console(console) {}
  Error run(ArrayRef<DataFile> files);
  EvalReport report();

private:
  Error readLabels(ArrayRef<DataFile> files);
  Error readLabelsFile(const std::string &path, ArrayRef<DataFile> files);
  Expected<std::vector<Case>> readCases(const DataFile &file);
  Expected<std::vector<NamedArray>> runSide(const Artifact &artifact,
                                            const Case &input);
  Error compare(const Case &input, ArrayRef<NamedArray> model,
                ArrayRef<NamedArray> against);
  Error score(const Case &input, ArrayRef<NamedArray> outputs,
              Accuracy &accuracy);

  const EvalSubjects &subjects;
  const EvalOptions &options;
  mlir::MLIRContext &context;
  const TemporaryFolder &folder;
  Console &console;

  Interface interface;
  std::map<const DataFile *, int64_t> labels; ///< of files
  std::vector<std::string> classes;           ///< folders' names, or none
  std::vector<OutputFigures> outputs;
  Accuracy accuracy[2];
  uint64_t rows = 0;
};
} // namespace

/// Scores of classes: [batch, classes].
static bool isScores(const HostTensor &tensor) {
  return tensor.shape().size() == 2 && tensor.shape()[1] >= 2 &&
         mlir::isa<mlir::FloatType>(tensor.element());
}

static const NamedArray *findScores(ArrayRef<NamedArray> outputs) {
  const NamedArray *found =
      find_if(outputs, [](const NamedArray &a) { return isScores(a.tensor); });
  return found == outputs.end() ? nullptr : found;
}

//===----------------------------------------------------------------------===//
// Labels
//===----------------------------------------------------------------------===//

/// Lines of NAME NUMBER, or of one NUMBER for each file in order.
Error Evaluator::readLabelsFile(const std::string &path,
                                ArrayRef<DataFile> files) {
  auto buffer = MemoryBuffer::getFile(path);
  if (!buffer)
    return createStringError("cannot read '" + path +
                             "': " + buffer.getError().message());
  StringMap<int64_t> byName;
  size_t next = 0, number = 0;
  for (StringRef rest = (*buffer)->getBuffer(); !rest.empty();) {
    StringRef line;
    std::tie(line, rest) = rest.split('\n');
    ++number;
    line = line.trim();
    if (line.empty())
      continue;
    size_t space = line.find_last_of(" \t,");
    StringRef name =
        space == StringRef::npos ? "" : line.take_front(space).rtrim(" \t,");
    int64_t label;
    if (line.drop_front(space + 1).getAsInteger(10, label) || label < 0)
      return createStringError(path + ":" + Twine(number) +
                               ": expected the name of a file and the number "
                               "of its class, or one number");
    if (!name.empty())
      byName[name] = label;
    else if (next < files.size())
      labels[&files[next++]] = label;
    else
      return createStringError(path + ":" + Twine(number) +
                               ": more labels than the " + Twine(files.size()) +
                               " files of the data");
  }
  for (const DataFile &file : files) {
    StringRef name = sys::path::filename(file.path);
    std::string inFolder =
        file.folder.empty() ? name.str() : file.folder + "/" + name.str();
    for (StringRef key : {StringRef(inFolder), name})
      if (auto it = byName.find(key); it != byName.end()) {
        labels[&file] = it->second;
        break;
      }
    if (!labels.count(&file))
      return createStringError("'" + path + "' has no label of '" + file.path +
                               "'");
  }
  return Error::success();
}

/// --labels, or labels.txt beside the data, or a folder for each class.
Error Evaluator::readLabels(ArrayRef<DataFile> files) {
  if (!options.labels.empty())
    return readLabelsFile(options.labels, files);
  SmallString<128> beside = sys::path::parent_path(files.front().path);
  sys::path::append(beside, kLabelsFile);
  if (sys::fs::exists(beside))
    return readLabelsFile(std::string(beside), files);
  if (!all_of(files, [](const DataFile &f) { return !f.folder.empty(); }))
    return Error::success();
  std::set<std::string> names;
  for (const DataFile &file : files)
    names.insert(file.folder);
  bool areNumbers = all_of(names, [](StringRef name) {
    int64_t number;
    return !name.getAsInteger(10, number) && number >= 0;
  });
  if (!areNumbers)
    classes.assign(names.begin(), names.end());
  for (const DataFile &file : files) {
    int64_t label = std::distance(names.begin(), names.find(file.folder));
    if (areNumbers)
      StringRef(file.folder).getAsInteger(10, label);
    labels[&file] = label;
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Cases
//===----------------------------------------------------------------------===//

/// Rows [begin, begin + count) of a tensor.
static HostTensor takeRows(const HostTensor &tensor, int64_t begin,
                           int64_t count) {
  SmallVector<int64_t> shape(tensor.shape());
  uint64_t bytes = tensor.bytes().size() / uint64_t(shape.front());
  shape.front() = count;
  HostTensor result(mlir::RankedTensorType::get(shape, tensor.element()));
  llvm::copy(tensor.bytes().slice(begin * bytes, count * bytes),
             result.bytes().begin());
  return result;
}

Expected<std::vector<Case>> Evaluator::readCases(const DataFile &file) {
  std::vector<Case> cases;
  auto label = labels.find(&file);
  std::vector<int64_t> ofFile;
  if (label != labels.end())
    ofFile.push_back(label->second);
  if (file.isPicture()) {
    cases.push_back({&file, {}, ofFile});
    return std::move(cases);
  }
  auto fail = [&](const Twine &message) {
    return createStringError("'" + file.path + "' " + message);
  };
  Expected<std::vector<NamedArray>> arrays = readArrays(file.path, context);
  if (!arrays)
    return arrays.takeError();
  if (arrays->size() == 1 && arrays->front().name.empty()) {
    if (interface.inputs.size() != 1)
      return fail("holds one array, the model has " +
                  Twine(interface.inputs.size()) +
                  " inputs: give a .npz with one array per input");
    arrays->front().name = interface.inputs.front().name;
  }
  Case whole{&file, {}, ofFile};
  int64_t batch = -1, most = INT64_MAX;
  for (const InputSpec &input : interface.inputs) {
    auto it = find_if(
        *arrays, [&](const NamedArray &a) { return a.name == input.name; });
    if (it == arrays->end())
      return fail("has no array '" + input.name + "'");
    if (mlir::isa<mlir::FloatType>(it->tensor.element()) &&
        !all_of(it->tensor.read<float>(),
                [](float x) { return std::isfinite(x); }))
      return fail("array '" + input.name +
                  "' has values that are NaN or infinite");
    whole.arrays[input.name] = it->tensor;
    ArrayRef<int64_t> shape = it->tensor.shape();
    if (input.shape.empty() || shape.size() != input.shape.size() ||
        shape.front() == 0 || (batch >= 0 && batch != shape.front())) {
      most = 0; // as it is: the artifact says what is wrong, if anything
      continue;
    }
    batch = shape.front();
    if (std::optional<int64_t> fixed = nn::getConstant(input.shape.front()))
      most = std::min(most, *fixed);
    else if (auto symbol =
                 mlir::dyn_cast<mlir::AffineSymbolExpr>(input.shape.front()))
      most = std::min(most, interface.bounds[symbol.getPosition()].second);
  }
  for (const NamedArray &array : *arrays)
    if (!whole.arrays.count(array.name) &&
        (array.name == "labels" || array.name == "label"))
      whole.labels = array.tensor.read<int64_t>();
  int64_t begin = 0, end = std::max<int64_t>(batch, 0);
  if (most > 0 && batch > 0) {
    begin = int64_t(file.begin * double(batch));
    end = int64_t(file.end * double(batch));
    if (begin == end)
      return fail("has no rows in this share");
  }
  if (most == 0 || batch <= 0) {
    cases.push_back(std::move(whole));
    return std::move(cases);
  }
  for (; begin < end; begin += most) {
    int64_t count = std::min(most, end - begin);
    Case part{&file, {}, whole.labels};
    for (const auto &[name, tensor] : whole.arrays)
      part.arrays[name] = takeRows(tensor, begin, count);
    if (int64_t(whole.labels.size()) == batch)
      part.labels.assign(whole.labels.begin() + begin,
                         whole.labels.begin() + begin + count);
    cases.push_back(std::move(part));
  }
  return std::move(cases);
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

Expected<std::vector<NamedArray>> Evaluator::runSide(const Artifact &artifact,
                                                     const Case &input) {
  std::string out = folder.file("outputs.npz");
  std::vector<std::string> arguments = {"run", "--quiet", "--output", out};
  if (options.threads)
    arguments.push_back("--threads=" + std::to_string(options.threads));
  if (input.arrays.empty())
    arguments.push_back("--input=" + input.file->path);
  for (auto [index, array] : enumerate(input.arrays)) {
    std::string path = folder.file("input" + Twine(index) + ".npy");
    if (Error error = writeArray(path, array.second))
      return std::move(error);
    arguments.push_back("--input=" + array.first + "=" + path);
  }
  if (Error error = runArtifact(artifact, arguments, folder).takeError())
    return createStringError("'" + input.file->path +
                             "': " + toString(std::move(error)));
  return readArrays(out, context);
}

/// Rows of a result: of its first axis, or itself where it has fewer than two.
static Matrix getRows(const HostTensor &tensor) {
  Matrix result{tensor.read<float>(), size_t(tensor.size())};
  if (tensor.shape().size() >= 2 && tensor.shape().front() > 0)
    result.columns = size_t(tensor.size() / tensor.shape().front());
  return result;
}

Error Evaluator::compare(const Case &input, ArrayRef<NamedArray> model,
                         ArrayRef<NamedArray> against) {
  if (model.size() != against.size())
    return createStringError("the two models have " + Twine(model.size()) +
                             " and " + Twine(against.size()) + " outputs");
  outputs.resize(model.size());
  for (auto [a, b, figures] : zip_equal(model, against, outputs)) {
    if (a.tensor.shape() != b.tensor.shape())
      return createStringError("'" + input.file->path + "': output '" + a.name +
                               "' has another shape in '" +
                               subjects.against->label + "'");
    figures.name = a.name;
    Matrix x = getRows(a.tensor), y = getRows(b.tensor);
    for (const Matrix *side : {&x, &y})
      if (!all_of(side->values, [](float v) { return std::isfinite(v); }))
        return createStringError(
            "'" + input.file->path + "': output '" + a.name + "' of '" +
            (side == &x ? subjects.model : *subjects.against).label +
            "' has values that are NaN or infinite");
    for (size_t i = 0; i < x.rows(); ++i) {
      figures.cosines.push_back(getCosine(x.row(i), y.row(i)));
      double difference = 0, norm = 0;
      for (auto [p, q] : zip_equal(x.row(i), y.row(i))) {
        difference += (double(p) - double(q)) * (double(p) - double(q));
        norm += double(q) * double(q);
      }
      figures.errors.push_back(
          difference == 0 ? 0 : std::sqrt(difference) / std::sqrt(norm));
      if (isScores(a.tensor)) {
        ++figures.tops;
        figures.sameTop += findTop(x.row(i)) == findTop(y.row(i));
      }
    }
  }
  return Error::success();
}

Error Evaluator::score(const Case &input, ArrayRef<NamedArray> results,
                       Accuracy &side) {
  const NamedArray *scores = findScores(results);
  if (!scores || input.labels.empty())
    return Error::success();
  Matrix matrix = getRows(scores->tensor);
  if (input.labels.size() != matrix.rows())
    return createStringError("'" + input.file->path + "' has " +
                             Twine(input.labels.size()) + " labels of " +
                             Twine(matrix.rows()) + " rows");
  if (!classes.empty() && classes.size() != matrix.columns)
    return createStringError(
        "the data have " + Twine(classes.size()) + " folders and the model " +
        Twine(matrix.columns) +
        " classes: name folders by the numbers of classes, or give --labels");
  for (auto [row, label] : enumerate(input.labels)) {
    if (label < 0 || size_t(label) >= matrix.columns)
      return createStringError("'" + input.file->path + "': label " +
                               Twine(label) + " is none of the model's " +
                               Twine(matrix.columns) + " classes");
    ++side.count;
    side.right += findTop(matrix.row(row)) == size_t(label);
  }
  return Error::success();
}

Error Evaluator::run(ArrayRef<DataFile> files) {
  auto traceable =
      Traceable::open(subjects.model.path, {}, context, folder, console);
  if (!traceable)
    return traceable.takeError();
  Expected<Interface> found = (*traceable)->getInterface();
  if (!found)
    return found.takeError();
  interface = std::move(*found);
  if (Error error = readLabels(files))
    return error;
  const ProgressFn listener = console.listener();
  PhaseProgress progress(listener, "evaluate", files.size());
  for (const DataFile &file : files) {
    Expected<std::vector<Case>> cases = readCases(file);
    if (!cases)
      return cases.takeError();
    for (const Case &input : *cases) {
      auto model = runSide(subjects.model, input);
      if (!model)
        return model.takeError();
      if (Error error = score(input, *model, accuracy[0]))
        return error;
      if (!model->empty())
        rows += getRows(model->front().tensor).rows();
      if (!subjects.against)
        continue;
      auto against = runSide(*subjects.against, input);
      if (!against)
        return against.takeError();
      if (Error error = compare(input, *model, *against))
        return error;
      if (Error error = score(input, *against, accuracy[1]))
        return error;
    }
    progress.finish();
  }
  if (!subjects.against && !accuracy[0].count)
    return createStringError(
        "nothing to measure: the data have no labels of the outputs' classes; "
        "give them with --labels, or another model with --against");
  return Error::success();
}

EvalReport Evaluator::report() {
  EvalReport report;
  report.json = json::Object{{"kind", "arrays"}, {"rows", int64_t(rows)}};
  const char *const names[] = {"accuracy", "accuracy_against"};
  for (auto [side, key] : enumerate(names))
    if (uint64_t count = accuracy[side].count) {
      Estimate share = estimateShare(accuracy[side].right, count);
      report.json[key] = toJson(share);
      report.add(side ? "accuracy against" : "accuracy", share,
                 side ? "of " + subjects.against->label
                      : formatv("of {0} labelled rows", count).str(),
                 100, "%");
    }
  json::Array values;
  for (const OutputFigures &output : outputs) {
    Estimate cosine = estimateMean(output.cosines),
             error = estimateMean(output.errors);
    double worst = *llvm::min_element(output.cosines),
           largest = *llvm::max_element(output.errors);
    json::Object object{{"name", output.name},
                        {"rows", int64_t(output.cosines.size())},
                        {"cosine", toJson(cosine)},
                        {"cosine_worst", toJson(worst)},
                        {"relative_error", toJson(error)},
                        {"relative_error_worst", toJson(largest)}};
    std::string of = outputs.size() > 1 ? ", " + output.name : "";
    report.add("cosine" + of, cosine,
               formatv("mean of {0} rows", output.cosines.size()).str());
    report.add("cosine, worst" + of, worst, "");
    report.add("relative error" + of, error, "mean of |a - b| / |b|");
    report.add("relative error, worst" + of, largest, "");
    if (output.tops) {
      Estimate same = estimateShare(output.sameTop, output.tops);
      object["same_top"] = toJson(same);
      report.add("same top class" + of, same, "share of rows", 100, "%");
    }
    values.push_back(std::move(object));
  }
  report.json["outputs"] = std::move(values);
  return report;
}

Expected<EvalReport>
evalArrays(const EvalSubjects &subjects, ArrayRef<DataFile> files,
           const EvalOptions &options, mlir::MLIRContext &context,
           const TemporaryFolder &folder, Console &console) {
  Evaluator evaluator(subjects, options, context, folder, console);
  if (Error error = evaluator.run(files))
    return std::move(error);
  return evaluator.report();
}

} // namespace pare::tools
