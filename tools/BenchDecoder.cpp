//===- BenchDecoder.cpp - pare bench of language models -------------------===//
#include "tools/BenchDecoder.h"
#include "tools/Report.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace pare::tools {

namespace {
/// One line of an artifact's result: a prompt, or generation.
struct Test {
  std::string name, weights;
  int64_t threads = 0;
  std::vector<double> rates; ///< tokens per second, of each round
  json::Object fields;       ///< all that the last round says of it
};

/// All rounds of one artifact.
struct DecoderMeasurement {
  const Artifact *artifact = nullptr;
  std::vector<Test> tests;
  int64_t peakBytes = 0;

  Error add(const json::Value &round);
};
} // namespace

Error DecoderMeasurement::add(const json::Value &round) {
  auto fail = [&] {
    return createStringError(artifact->label +
                             ": its bench gives no tokens per second");
  };
  const json::Object *object = round.getAsObject();
  const json::Array *array = object ? object->getArray("tests") : nullptr;
  if (!array || (!tests.empty() && tests.size() != array->size()))
    return fail();
  tests.resize(array->size());
  for (auto [test, value] : zip_equal(tests, *array)) {
    const json::Object *fields = value.getAsObject();
    auto rate = fields ? fields->getNumber("tokens_per_s") : std::nullopt;
    if (!rate || *rate <= 0)
      return fail();
    test.name = fields->getString("test").value_or("").str();
    test.weights = fields->getString("weights").value_or("").str();
    test.threads = fields->getInteger("threads").value_or(0);
    test.rates.push_back(*rate);
    test.fields = *fields;
  }
  peakBytes =
      std::max(peakBytes, object->getInteger("peak_rss_bytes").value_or(0));
  return Error::success();
}

/// Of each test, the first artifact's tokens per second over the last one's;
/// empty for a single artifact.
static Expected<std::vector<double>>
getRatios(ArrayRef<DecoderMeasurement> measurements) {
  std::vector<double> ratios;
  if (measurements.size() < 2)
    return ratios;
  const DecoderMeasurement &a = measurements.front(), &b = measurements.back();
  if (a.tests.size() != b.tests.size())
    return createStringError("'" + a.artifact->label + "' and '" +
                             b.artifact->label + "' measure different things");
  for (auto [x, y] : zip_equal(a.tests, b.tests))
    ratios.push_back(median(x.rates) / median(y.rates));
  return ratios;
}

static void printTable(ArrayRef<DecoderMeasurement> measurements,
                       ArrayRef<double> ratios) {
  Table table({"artifact", "test", "threads", "weights", "tokens/s", "ratio",
               "peak memory"},
              {1, 3});
  for (size_t i = 0; i < measurements.front().tests.size(); ++i)
    for (const DecoderMeasurement &m : measurements) {
      const Test &test = m.tests[i];
      bool hasRatio = !ratios.empty() && &m == &measurements.front();
      table.add({m.artifact->label, test.name, std::to_string(test.threads),
                 test.weights, formatv("{0:f2}", median(test.rates)),
                 hasRatio ? formatv("{0:f3}", ratios[i]).str() : "1",
                 formatBytes(m.peakBytes)});
    }
  table.print(outs());
}

static void printJson(ArrayRef<DecoderMeasurement> measurements,
                      ArrayRef<double> ratios) {
  json::Array values, ratioValues;
  for (const DecoderMeasurement &m : measurements) {
    json::Array tests;
    for (const Test &test : m.tests)
      tests.push_back(test.rates.size() == 1
                          ? json::Object(test.fields)
                          : json::Object{{"test", test.name},
                                         {"threads", test.threads},
                                         {"weights", test.weights},
                                         {"tokens_per_s", median(test.rates)}});
    values.push_back(json::Object{{"artifact", m.artifact->label},
                                  {"tests", std::move(tests)},
                                  {"peak_rss_bytes", m.peakBytes}});
  }
  for (auto [index, ratio] : enumerate(ratios)) {
    const Test &test = measurements.front().tests[index];
    ratioValues.push_back(json::Object{{"test", test.name},
                                       {"threads", test.threads},
                                       {"weights", test.weights},
                                       {"tokens_per_s", ratio}});
  }
  json::Object object{{"measurements", std::move(values)}};
  if (!ratioValues.empty())
    object["ratios"] = std::move(ratioValues);
  outs() << formatv("{0:2}\n", json::Value(std::move(object)));
}

bool isLanguageModel(const json::Object &info) {
  return info.getInteger("tokenizer_bytes").value_or(0) > 0;
}

Error benchDecoders(ArrayRef<Artifact> artifacts,
                    const DecoderBenchOptions &options,
                    const TemporaryFolder &folder, Console &console) {
  std::vector<std::string> arguments = {"bench"};
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  bool isPlain = artifacts.size() == 1 && options.rounds == 1 && !options.json;
  if (options.profile && !isPlain)
    return createStringError("--profile prints tables of one language model: "
                             "leave --vs, --rounds and --json out");
  if (options.profile)
    arguments.push_back("--profile");
  const ProgressFn listener = console.listener();
  PhaseProgress progress(listener, "measure",
                         uint64_t(options.rounds) * artifacts.size());
  if (isPlain) {
    Expected<std::string> text =
        runArtifact(artifacts.front(), arguments, folder);
    if (!text)
      return text.takeError();
    progress.finish();
    outs() << *text;
    return Error::success();
  }
  arguments.push_back("--json");
  std::vector<DecoderMeasurement> measurements(artifacts.size());
  for (unsigned round = 0; round < options.rounds; ++round)
    for (auto [artifact, measurement] : zip_equal(artifacts, measurements)) {
      measurement.artifact = &artifact;
      Expected<json::Value> value = queryArtifact(artifact, arguments, folder);
      if (!value)
        return value.takeError();
      if (Error error = measurement.add(*value))
        return error;
      progress.finish();
    }
  Expected<std::vector<double>> ratios = getRatios(measurements);
  if (!ratios)
    return ratios.takeError();
  if (options.json)
    printJson(measurements, *ratios);
  else
    printTable(measurements, *ratios);
  return Error::success();
}

} // namespace pare::tools
