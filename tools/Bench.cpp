//===- Bench.cpp - pare bench ---------------------------------------------===//
#include "tools/Artifact.h"
#include "tools/BenchDecoder.h"
#include "tools/Cli.h"
#include "tools/CompileFlags.h"
#include "tools/Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace pare::tools {

static cl::SubCommand command(
    "bench",
    "Measure latency, throughput, memory and size of a model or artifact\n\n"
    "  pare bench ./minilm --threads 1,2 --shape input_ids=1x128\n"
    "  pare bench ./minilm.int8 --vs ./minilm.f32\n"
    "  pare bench model.onnx --quantize int8 --profile\n"
    "  pare bench model.gguf -p 512 -n 128 -t 1,2\n");

static cl::opt<std::string> subject(cl::Positional, cl::Required,
                                    cl::desc("MODEL|ARTIFACT"),
                                    cl::sub(command));
static cl::opt<std::string>
    versus("vs", cl::value_desc("model|artifact"),
           cl::desc("Measure this one too, in turns, and print ratios"),
           cl::sub(command));
static cl::list<unsigned> threads("threads", cl::CommaSeparated,
                                  cl::value_desc("1,2"),
                                  cl::desc("Numbers of threads (default: the "
                                           "artifact's own)"),
                                  cl::sub(command));
static cl::alias threadsAlias("t", cl::CommaSeparated, cl::NotHidden,
                              cl::aliasopt(threads), cl::desc("--threads"));
static cl::opt<std::string>
    promptTokens("p", cl::value_desc("n"),
                 cl::desc("Tokens of a language model's prompt (default: 512)"),
                 cl::sub(command));
static cl::opt<std::string>
    answerTokens("n", cl::value_desc("n"),
                 cl::desc("Tokens that it generates (default: 128)"),
                 cl::sub(command));
static cl::opt<std::string>
    repetitions("r", cl::value_desc("n"),
                cl::desc("Times that it repeats both in a round (default: 3)"),
                cl::sub(command));
static cl::opt<std::string>
    batch("b", cl::value_desc("n"),
          cl::desc("Sequences that it generates together (default: 1)"),
          cl::sub(command));
static cl::opt<std::string>
    weightsMemory("weights-memory", cl::value_desc("map|huge|both"),
                  cl::desc("Its weights in the file, or a copy in huge pages "
                           "(default: both)"),
                  cl::sub(command));
static CompileFlags flags(command);
static cl::opt<unsigned> runs("runs", cl::init(0), cl::value_desc("n"),
                              cl::desc("Timed runs per round (default: about "
                                       "one second of them)"),
                              cl::sub(command));
static cl::opt<unsigned>
    rounds("rounds", cl::init(0), cl::value_desc("n"),
           cl::desc("Times that each is measured (default: 1; with --vs 5)"),
           cl::sub(command));
static cl::opt<bool> profile("profile", cl::desc("Show the time of each step"),
                             cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print JSON"), cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but results"),
                           cl::sub(command));

namespace {
struct Options {
  CompileOptions compile;                    ///< of subjects that are models
  std::vector<std::string> subjects;         ///< the first, and that of --vs
  std::vector<unsigned> threads;             ///< 0: the artifact's default
  std::string compileFlag;                   ///< one that was given
  std::vector<std::string> decoderArguments; ///< that only they take
  unsigned runs, rounds;
  bool profile, json, quiet;
};

/// All rounds of one subject with one number of threads.
struct Measurement {
  const Artifact *artifact;
  std::vector<double> p50, p90, throughput;
  double min = 0;
  int64_t threads = 0, runs = 0, peakBytes = 0, fileBytes = 0;
  json::Value inputs = nullptr, steps = nullptr;

  Error add(const json::Value &round);
};
} // namespace

Error Measurement::add(const json::Value &round) {
  const json::Object *object = round.getAsObject();
  auto number = [&](StringRef key) {
    return object ? object->getNumber(key).value_or(NAN) : NAN;
  };
  for (StringRef key : {"p50_ms", "p90_ms", "min_ms", "runs_per_s", "threads",
                        "runs", "peak_rss_bytes", "file_bytes"})
    if (std::isnan(number(key)))
      return createStringError(artifact->label + ": its bench gives no '" +
                               key + "'");
  min = p50.empty() ? number("min_ms") : std::min(min, number("min_ms"));
  p50.push_back(number("p50_ms"));
  p90.push_back(number("p90_ms"));
  throughput.push_back(number("runs_per_s"));
  threads = number("threads");
  runs += number("runs");
  peakBytes = std::max<int64_t>(peakBytes, number("peak_rss_bytes"));
  fileBytes = number("file_bytes");
  if (const json::Value *value = object->get("inputs"))
    inputs = *value;
  if (const json::Value *value = object->get("steps"))
    steps = *value;
  return Error::success();
}

/// Measures all subjects in turns: what slows the machine down for a while
/// slows each of them.
static Expected<std::vector<Measurement>>
measure(ArrayRef<Artifact> artifacts, unsigned threads, const Options &options,
        const TemporaryFolder &folder, PhaseProgress &progress) {
  std::vector<Measurement> result(artifacts.size());
  for (unsigned round = 0; round < options.rounds; ++round)
    for (auto [artifact, measurement] : zip_equal(artifacts, result)) {
      std::vector<std::string> arguments = {"bench", "--json"};
      if (threads)
        arguments.push_back("--threads=" + std::to_string(threads));
      if (options.runs)
        arguments.push_back("--runs=" + std::to_string(options.runs));
      if (options.profile && round + 1 == options.rounds)
        arguments.push_back("--profile");
      if (!artifact.compiled)
        for (const std::string &shape : options.compile.shapes)
          arguments.push_back("--shape=" + shape);
      measurement.artifact = &artifact;
      Expected<json::Value> value = queryArtifact(artifact, arguments, folder);
      if (!value)
        return value.takeError();
      if (Error error = measurement.add(*value))
        return std::move(error);
      progress.finish();
    }
  return std::move(result);
}

static json::Value toJson(const Measurement &m) {
  json::Object object{{"artifact", m.artifact->label},
                      {"inputs", m.inputs},
                      {"threads", m.threads},
                      {"runs", m.runs},
                      {"p50_ms", median(m.p50)},
                      {"p90_ms", median(m.p90)},
                      {"min_ms", m.min},
                      {"runs_per_s", median(m.throughput)},
                      {"peak_rss_bytes", m.peakBytes},
                      {"file_bytes", m.fileBytes}};
  if (m.steps.getAsArray())
    object["steps"] = m.steps;
  return object;
}

static std::string describeInputs(const Measurement &m) {
  std::string text;
  const json::Array *inputs = m.inputs.getAsArray();
  for (size_t i = 0; inputs && i < inputs->size(); ++i) {
    const json::Object *input = (*inputs)[i].getAsObject();
    const json::Array *shape = input ? input->getArray("shape") : nullptr;
    if (!shape)
      continue;
    text += (text.empty() ? "" : ", ") +
            input->getString("name").value_or("").str() + " ";
    for (size_t axis = 0; axis < shape->size(); ++axis)
      text += formatv("{0}{1}", axis ? "x" : "", (*shape)[axis]);
  }
  return text;
}

/// Steps, slowest first.
static void printProfile(const Measurement &m) {
  const json::Array *steps = m.steps.getAsArray();
  if (!steps)
    return;
  struct Row {
    double micros;
    size_t number;
    const json::Object *step;
  };
  std::vector<Row> rows;
  double total = 0;
  for (const json::Value &value : *steps)
    if (const json::Object *step = value.getAsObject()) {
      rows.push_back({step->getNumber("us").value_or(0), rows.size(), step});
      total += rows.back().micros;
    }
  llvm::sort(rows, [](const Row &a, const Row &b) {
    return a.micros != b.micros ? a.micros > b.micros : a.number < b.number;
  });
  Table table({"op", "us", "%", "GFLOP/s", "GB/s", "provider", "value"},
              {5, 6});
  for (const Row &row : rows) {
    auto rate = [&](StringRef key) {
      double work = row.step->getNumber(key).value_or(0);
      return row.micros > 0 ? formatv("{0:f1}", work / row.micros / 1e3).str()
                            : "";
    };
    table.add({row.step->getString("op").value_or("").str(),
               formatv("{0:f1}", row.micros),
               formatv("{0:f1}", total > 0 ? 100 * row.micros / total : 0),
               rate("flops"), rate("bytes"),
               row.step->getString("provider").value_or("").str(),
               row.step->getString("name").value_or("").str()});
  }
  outs() << "\n" << m.artifact->label << ", " << m.threads << " threads\n";
  table.print(outs());
}

static void printTable(ArrayRef<std::vector<Measurement>> results) {
  Table table({"artifact", "threads", "p50 ms", "p90 ms", "min ms", "runs/s",
               "ratio", "peak memory", "size", "inputs"},
              {9});
  for (const std::vector<Measurement> &group : results)
    for (const Measurement &m : group)
      table.add(
          {m.artifact->label, std::to_string(m.threads),
           formatv("{0:f3}", median(m.p50)), formatv("{0:f3}", median(m.p90)),
           formatv("{0:f3}", m.min), formatv("{0:f1}", median(m.throughput)),
           &m == &group.back() && group.size() > 1
               ? "1"
               : formatv("{0:f3}", median(m.p50) / median(group.back().p50))
                     .str(),
           formatBytes(m.peakBytes), formatBytes(m.fileBytes),
           describeInputs(m)});
  table.print(outs());
}

static int report(ArrayRef<std::vector<Measurement>> results, bool asJson) {
  if (!asJson) {
    printTable(results);
    for (const std::vector<Measurement> &group : results)
      for (const Measurement &m : group)
        printProfile(m);
    return 0;
  }
  json::Array measurements, ratios;
  for (const std::vector<Measurement> &group : results) {
    for (const Measurement &m : group)
      measurements.push_back(toJson(m));
    if (group.size() == 2)
      ratios.push_back(json::Object{
          {"threads", group[0].threads},
          {"p50", median(group[0].p50) / median(group[1].p50)},
          {"peak_rss", double(group[0].peakBytes) / double(group[1].peakBytes)},
          {"file", double(group[0].fileBytes) / double(group[1].fileBytes)}});
  }
  json::Object object{{"measurements", std::move(measurements)}};
  if (!ratios.empty())
    object["ratios"] = std::move(ratios);
  outs() << formatv("{0:2}\n", json::Value(std::move(object)));
  return 0;
}

static Options getOptions() {
  Options options;
  options.compile = flags.get();
  options.compileFlag = flags.findGiven();
  options.subjects.push_back(subject);
  if (!versus.empty())
    options.subjects.push_back(versus);
  options.threads = threads;
  if (options.threads.empty())
    options.threads = {0};
  for (const cl::opt<std::string> *option :
       {&promptTokens, &answerTokens, &repetitions, &batch, &weightsMemory})
    if (option->getNumOccurrences())
      options.decoderArguments.insert(
          options.decoderArguments.end(),
          {(option->ArgStr.size() == 1 ? "-" : "--") + option->ArgStr.str(),
           option->getValue()});
  options.runs = runs;
  options.rounds = rounds ? rounds : versus.empty() ? 1 : 5;
  options.profile = profile;
  options.json = json;
  options.quiet = quiet;
  return options;
}

static Expected<std::vector<Artifact>>
openArtifacts(const Options &options, const TemporaryFolder &folder,
              Console &console) {
  if (!options.compileFlag.empty() && all_of(options.subjects, isArtifact))
    return createStringError("'" + options.subjects.front() +
                             "' is compiled already: " + options.compileFlag +
                             " is for models");
  std::vector<Artifact> artifacts;
  for (auto [index, subject] : enumerate(options.subjects)) {
    CompileOptions compile = options.compile;
    compile.model = subject;
    Expected<Artifact> artifact =
        openArtifact(compile, folder, "model" + Twine(index), console);
    if (!artifact)
      return artifact.takeError();
    artifacts.push_back(std::move(*artifact));
  }
  return std::move(artifacts);
}

/// One group of measurements for each number of threads.
static Expected<std::vector<std::vector<Measurement>>>
measureAll(ArrayRef<Artifact> artifacts, const Options &options,
           const TemporaryFolder &folder, Console &console) {
  const ProgressFn listener = console.listener();
  PhaseProgress progress(listener, "measure",
                         options.threads.size() * options.rounds *
                             artifacts.size());
  std::vector<std::vector<Measurement>> results;
  for (unsigned count : options.threads) {
    auto group = measure(artifacts, count, options, folder, progress);
    if (!group)
      return group.takeError();
    results.push_back(std::move(*group));
  }
  return std::move(results);
}

/// Whether all are language models: those have a measurement of their own,
/// which takes other options.
static Expected<bool> areLanguageModels(ArrayRef<Artifact> artifacts,
                                        const Options &options,
                                        const TemporaryFolder &folder) {
  const Artifact *yes = nullptr, *no = nullptr;
  for (const Artifact &artifact : artifacts) {
    Expected<json::Object> info = readInfo(artifact, folder);
    if (!info)
      return info.takeError();
    (isLanguageModel(*info) ? yes : no) = &artifact;
  }
  if (yes && no)
    return createStringError("--vs: '" + yes->label +
                             "' is a language model and '" + no->label +
                             "' is not");
  if (no && !options.decoderArguments.empty())
    return createStringError(options.decoderArguments.front() +
                             " is for language models, which '" + no->label +
                             "' is not");
  StringRef other = options.runs                      ? "--runs"
                    : !options.compile.shapes.empty() ? "--shape"
                                                      : "";
  if (yes && !other.empty())
    return createStringError(other + " is not for language models, as '" +
                             yes->label + "' is one: give -p, -n and -r");
  return yes != nullptr;
}

static DecoderBenchOptions getDecoderOptions(const Options &options) {
  DecoderBenchOptions result;
  result.arguments = options.decoderArguments;
  if (options.threads.front())
    result.arguments.insert(
        result.arguments.end(),
        {"-t",
         join(map_range(options.threads,
                        [](unsigned count) { return std::to_string(count); }),
              ",")});
  result.rounds = options.rounds;
  result.profile = options.profile;
  result.json = options.json;
  return result;
}

static int run() {
  // Copied: compiling a model resets every option to its default.
  const Options options = getOptions();
  Console console(options.quiet);
  Expected<TemporaryFolder> folder = TemporaryFolder::create();
  if (!folder)
    return console.fail(folder.takeError());
  auto artifacts = openArtifacts(options, *folder, console);
  if (!artifacts)
    return console.fail(artifacts.takeError());
  Expected<bool> tokens = areLanguageModels(*artifacts, options, *folder);
  if (!tokens)
    return console.fail(tokens.takeError());
  if (*tokens) {
    if (Error error = benchDecoders(*artifacts, getDecoderOptions(options),
                                    *folder, console))
      return console.fail(std::move(error));
    return 0;
  }
  auto results = measureAll(*artifacts, options, *folder, console);
  if (!results)
    return console.fail(results.takeError());
  return report(*results, options.json);
}

Subcommand benchCommand() { return {&command, run}; }

} // namespace pare::tools
