//===- DecoderBench.cpp - `bench` of language models ----------------------===//
#include "backends/runtime/Context.h"
#include "backends/runtime/DecoderModule.h"
#include "backends/runtime/DecoderOptions.h"
#include "backends/runtime/Profile.h"
#include "backends/runtime/Softmax.h"

#include <stdlib.h>

using namespace pare::rt;

namespace {

constexpr uint32_t kMaxRuns = 1000, kMaxLists = 32;

/// One line of the result: tokens per second of some runs.
struct Timing {
  bool isPrompt; ///< or generation
  uint32_t threads, weightsMemory;
  double mean, deviation;
  double weightBytes; ///< that a token, or a batch of them, needs; 0: prompts
};

class DecoderBench {
public:
  DecoderBench(Program &program, const Args &args)
      : program(program), args(args) {}
  ~DecoderBench() {
    free(timings);
    free(stepNanos);
  }
  bool run();
  int finish() { return out.finish(program); }
  Message error;

private:
  /// A context of one thread count and place of the weights.
  struct Engine {
    explicit Engine(Program &program) : session(program), generator(session) {}
    Session session;
    Generator generator;
  };

  bool readOptions();
  bool measure(uint32_t threads, uint32_t weightsMemory);
  bool repeat(Engine &engine, bool isPrompt, Timing timing);
  bool fillCaches(Engine &engine);
  bool readTokens(Engine &engine, uint64_t first, uint64_t last);
  bool runGeneration(Engine &engine);
  double weightBytes(const Engine &engine) const;
  void addTiming(const Timing &timing);
  double bandwidthOf(uint32_t threads) const;
  void putName(Writer &text, const Timing &timing) const;
  void putLine(const Timing &timing);
  void putJson();

  Program &program;
  const Args &args;
  StandardOutput out;
  int64_t promptTokens = 512, answerTokens = 128, repetitions = 3, batch = 1;
  int64_t depth = 0; ///< positions before the first one that is timed
  uint32_t threadCounts[kMaxLists], numThreadCounts = 0;
  double bandwidths[kMaxLists];
  uint32_t memories[2], numMemories = 0;
  bool json = false, profiles = false;
  uint64_t *stepNanos = nullptr;
  Timing *timings = nullptr;
  uint32_t numTimings = 0;
};

bool DecoderBench::readOptions() {
  const PareDecoderInfo &decoder = *program.model.decoder;
  if (!args.number("-p", 0, promptTokens, error) ||
      !args.number("-n", 0, answerTokens, error) ||
      !args.number("-r", 1, repetitions, error) ||
      !args.number("-b", 1, batch, error) ||
      !args.number("-d", 0, depth, error))
    return false;
  auto fail = [&](const char *message) {
    error.start().put(message);
    return false;
  };
  if (repetitions > kMaxRuns || batch > 64)
    return fail("-r takes 1000 at most, -b 64");
  int64_t context = decoder.context;
  if (depth > context || max(promptTokens, answerTokens) > context - depth) {
    error.start()
        .put("-p and -n, each with -d, take ")
        .num(context)
        .put(" at most, the model's context");
    return false;
  }
  const char *list = args.has("-t") ? args.get("-t") : args.get("--threads");
  Str rest = list;
  while (rest.size) {
    Str number = rest.take(rest.find(','));
    rest = rest.drop(min(number.size + 1, rest.size));
    int64_t value;
    if (!parseInt(number, value) || value < 1 || value > kMaxThreads ||
        numThreadCounts == kMaxLists)
      return fail("-t takes thread counts: 1,2,4");
    threadCounts[numThreadCounts++] = uint32_t(value);
  }
  if (!numThreadCounts)
    threadCounts[numThreadCounts++] = program.model.default_threads
                                          ? program.model.default_threads
                                          : usableCpus();
  Str memory =
      args.has("--weights-memory") ? args.get("--weights-memory") : "both";
  if (memory == "map" || memory == "both")
    memories[numMemories++] = PARE_WEIGHTS_MAP;
  if (memory == "huge" || memory == "both")
    memories[numMemories++] = PARE_WEIGHTS_HUGE;
  if (!numMemories)
    return fail("--weights-memory takes map, huge or both");
  json = args.has("--json");
  profiles = args.has("--profile");
  if (json && profiles)
    return fail("--profile prints tables: leave --json out");
  stepNanos = static_cast<uint64_t *>(calloc(program.model.num_steps + 1, 8));
  timings = static_cast<Timing *>(
      calloc(numThreadCounts * numMemories * 2, sizeof(Timing)));
  return (stepNanos && timings) || fail("out of memory");
}

/// Positions [first, last) of sequence 0; only the last logits are wanted.
bool DecoderBench::readTokens(Engine &engine, uint64_t first, uint64_t last) {
  Generator &generator = engine.generator;
  Random random(0, 0);
  while (first < last) {
    uint64_t count = min(last - first, generator.maxRows());
    for (uint64_t i = 0; i < count; ++i)
      generator.rows()[i] = {int32_t(random.next() % generator.vocabulary()),
                             uint32_t(first + i), 0};
    if (!generator.forward(count, 1))
      return false;
    first += count;
  }
  return true;
}

/// Gives every sequence its first `depth` positions.
bool DecoderBench::fillCaches(Engine &engine) {
  if (!depth)
    return true;
  if (!readTokens(engine, 0, uint64_t(depth)))
    return false;
  for (int64_t s = 1; s < batch; ++s)
    if (pare_cache_copy(engine.session.context, uint32_t(s), 0,
                        uint32_t(depth)))
      return false;
  return true;
}

/// One token after the other, of all sequences of the batch at once.
bool DecoderBench::runGeneration(Engine &engine) {
  Generator &generator = engine.generator;
  Random random(1, 0);
  uint64_t rows =
      min(uint64_t(batch), min(generator.maxRows(), generator.maxOutputRows()));
  for (uint32_t position = 0; position < uint64_t(answerTokens); ++position)
    for (uint64_t done = 0; done < uint64_t(batch); done += rows) {
      uint64_t count = min(rows, uint64_t(batch) - done);
      for (uint64_t i = 0; i < count; ++i)
        generator.rows()[i] = {int32_t(random.next() % generator.vocabulary()),
                               uint32_t(depth) + position, uint32_t(done + i)};
      if (!generator.forward(count, count))
        return false;
    }
  return true;
}

/// What the steps that read weights move, at the shapes of the last run.
double DecoderBench::weightBytes(const Engine &engine) const {
  const PareModel &model = program.model;
  double bytes = 0;
  for (uint32_t s = 0; s < model.num_steps; ++s) {
    const PareStep &step = model.steps[s];
    bool reads = false;
    for (uint32_t i = 0; i < step.num_ptrs; ++i)
      reads |= step.ptrs[i].space == PARE_SPACE_WEIGHTS;
    if (reads)
      bytes += double(pare_slot(engine.session.context, step.bytes_slot));
  }
  return bytes;
}

bool DecoderBench::repeat(Engine &engine, bool isPrompt, Timing timing) {
  uint64_t tokens = isPrompt ? uint64_t(promptTokens)
                             : uint64_t(answerTokens) * uint64_t(batch);
  if (!tokens)
    return true;
  auto runOnce = [&] {
    return isPrompt ? readTokens(engine, uint64_t(depth),
                                 uint64_t(depth + promptTokens))
                    : runGeneration(engine);
  };
  double sum = 0, squares = 0;
  for (int64_t i = -1; i < repetitions; ++i) { // the first one warms up
    if (i == 0 && profiles) {
      memset(stepNanos, 0, program.model.num_steps * 8);
      pare_set_profile(engine.session.context, stepNanos);
    }
    uint64_t begin = nowNanos();
    if (!runOnce())
      return false;
    double rate =
        double(tokens) * 1e9 / double(max<uint64_t>(nowNanos() - begin, 1));
    if (i < 0)
      continue;
    sum += rate;
    squares += rate * rate;
  }
  pare_set_profile(engine.session.context, nullptr);
  double n = double(repetitions);
  timing.isPrompt = isPrompt;
  timing.mean = sum / n;
  double variance = n > 1 ? (squares - sum * sum / n) / (n - 1) : 0;
  timing.deviation = squareRoot(max(variance, 0.0));
  timing.weightBytes = isPrompt ? 0 : weightBytes(engine);
  timings[numTimings++] = timing;
  if (!json) {
    putLine(timing);
    if (profiles)
      putProfile(out.text(), *engine.session.context, stepNanos,
                 uint64_t(repetitions) *
                     (isPrompt ? 1 : uint64_t(answerTokens)));
    out.text().flush();
  }
  return true;
}

bool DecoderBench::measure(uint32_t threads, uint32_t weightsMemory) {
  Engine engine(program);
  PareOptions options = {};
  options.threads = threads;
  options.guard = args.has("--guard");
  options.sequences = uint32_t(batch);
  options.weights_memory = weightsMemory;
  Timing timing = {};
  timing.weightsMemory = weightsMemory;
  bool good = engine.session.open(options) && engine.generator.open() &&
              fillCaches(engine);
  if (good) {
    timing.threads = pare_threads(engine.session.context);
    good = repeat(engine, /*isPrompt=*/true, timing) &&
           repeat(engine, /*isPrompt=*/false, timing);
  }
  if (!good)
    error.start().put(engine.session.error.c_str());
  return good;
}

double DecoderBench::bandwidthOf(uint32_t threads) const {
  for (uint32_t i = 0; i < numThreadCounts; ++i)
    if (threadCounts[i] == threads)
      return bandwidths[i];
  return 0;
}

void DecoderBench::putName(Writer &text, const Timing &timing) const {
  text.put(timing.isPrompt ? "pp" : "tg");
  text.num(timing.isPrompt ? promptTokens : answerTokens);
  if (!timing.isPrompt && batch > 1)
    text.put(" x").num(batch);
  if (depth)
    text.put(" @ d").num(depth);
}

void DecoderBench::putLine(const Timing &timing) {
  Writer &text = out.text();
  uint64_t from = text.column();
  putName(text, timing);
  putColumn(text.pad(from, 20), timing.threads, 0, 7);
  text.put(timing.weightsMemory == PARE_WEIGHTS_HUGE ? "  huge   "
                                                     : "  map    ");
  putColumn(text, timing.mean, 2, 10);
  text.put(" +- ");
  putColumn(text, timing.deviation, 2, 7);
  if (timing.weightBytes > 0) {
    double rate = timing.weightBytes * timing.mean / double(batch);
    double bandwidth = bandwidthOf(timing.threads);
    putColumn(text, rate * 1e-9, 2, 9);
    if (bandwidth > 0)
      putColumn(text, 100 * rate / bandwidth, 1, 9);
  }
  text.put('\n');
}

void DecoderBench::putJson() {
  Writer &text = out.text();
  text.put("{\"name\":").json(program.model.name).put(",\"tests\":[");
  for (uint32_t i = 0; i < numTimings; ++i) {
    const Timing &timing = timings[i];
    text.put(i ? "," : "").put("{\"test\":\"");
    putName(text, timing);
    text.put("\",\"threads\":").num(timing.threads).put(",\"weights\":\"");
    text.put(timing.weightsMemory == PARE_WEIGHTS_HUGE ? "huge" : "map");
    text.put("\",\"batch\":").num(timing.isPrompt ? 1 : batch);
    text.put(",\"tokens_per_s\":").fixed(timing.mean, 4);
    text.put(",\"deviation\":").fixed(timing.deviation, 4);
    if (timing.weightBytes > 0) {
      double rate = timing.weightBytes * timing.mean / double(batch);
      double bandwidth = bandwidthOf(timing.threads);
      text.put(",\"weight_bytes\":").fixed(timing.weightBytes, 0);
      text.put(",\"bytes_per_s\":").fixed(rate, 0);
      if (bandwidth > 0)
        text.put(",\"of_read_bandwidth\":").fixed(rate / bandwidth, 4);
    }
    text.put('}');
  }
  text.put("],\"read_bandwidth\":[");
  for (uint32_t i = 0; i < numThreadCounts; ++i) {
    text.put(i ? "," : "").put("{\"threads\":").num(threadCounts[i]);
    text.put(",\"bytes_per_s\":").fixed(bandwidths[i], 0).put('}');
  }
  text.put("],\"peak_rss_bytes\":").unsignedNum(peakBytes()).put("}\n");
}

bool DecoderBench::run() {
  if (!readOptions())
    return false;
  for (uint32_t i = 0; i < numThreadCounts; ++i) {
    bandwidths[i] = readBandwidth(threadCounts[i]);
    if (!json) {
      out.text().put("reads ").fixed(bandwidths[i] * 1e-9, 1);
      out.text().put(" GB/s on ").num(threadCounts[i]);
      out.text().put(threadCounts[i] == 1 ? " thread\n" : " threads\n");
    }
  }
  if (!json)
    out.text().put(
        "\ntest                threads  weights    tokens/s             "
        "weights GB/s, % of reads\n");
  out.text().flush();
  for (uint32_t i = 0; i < numThreadCounts; ++i)
    for (uint32_t k = 0; k < numMemories; ++k)
      if (!measure(threadCounts[i], memories[k]))
        return false;
  if (json)
    putJson();
  return true;
}

const Option kOptions[] = {
    {"-p", "N", "tokens of the prompt (default: 512)"},
    {"-n", "N", "tokens to generate (default: 128)"},
    {"-d", "N", "positions in the cache before them (default: 0)"},
    {"-t", "N,N", "thread counts (default: the CPUs this process may use)"},
    {"--threads", "N,N", nullptr},
    {"-r", "N", "times to repeat (default: 3)"},
    {"-b", "N", "sequences that generate together (default: 1)"},
    {"--weights-memory", "map|huge|both",
     "weights in the file, or a copy in huge pages (default: both)"},
    {"--profile", nullptr, "time of each step, slowest first"},
    {"--guard", nullptr, nullptr},
    {"--json", nullptr, "print JSON"},
    PARE_COMMON_OPTIONS};

} // namespace

const Command pare::rt::kDecoderBenchCommand = {
    "bench",
    "[options]",
    "Times prompts (pp) and generation (tg) in tokens per second.",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./").put(program.name).put(" bench -p 512 -n 128 -t 1,2 -r 5");
    },
    [](Program &program, const Args &args) {
      DecoderBench bench(program, args);
      return bench.run() ? bench.finish() : program.fail(bench.error);
    },
    /*takesTexts=*/false,
    "As llama-bench measures: random tokens, from an empty context without -d, "
    "no "
    "sampling,\n"
    "the mean of the repetitions and their deviation after one to warm up.\n"
    "Weights GB/s: what the steps with weights move for a token (for a batch "
    "of\n"
    "them with -b) over its time; beside what plain reads of 256 MiB by as "
    "many\n"
    "threads reach in the same run."};
