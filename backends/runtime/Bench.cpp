//===- Bench.cpp - `bench` ------------------------------------------------===//
#include "backends/runtime/Context.h"
#include "backends/runtime/Heap.h"
#include "backends/runtime/Profile.h"
#include "backends/runtime/Session.h"

#include <stdlib.h>
#include <sys/stat.h>

using namespace pare::rt;

namespace {

constexpr uint64_t kTargetNanos = 1000000000; // of timed runs, by default

/// xorshift64*: the same inputs in every run on every machine.
struct Random {
  uint64_t state = 0x9e3779b97f4a7c15;
  uint32_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return uint32_t(state * 0x2545f4914f6cdd1d >> 32);
  }
};

template <typename T, typename Make>
void fillWith(const PareTensor &tensor, Make make) {
  T *data = static_cast<T *>(tensor.data);
  for (uint64_t i = 0; i < tensor.bytes / sizeof(T); ++i)
    data[i] = make();
}

/// Floats in [-1, 1). Wide integers may be indices: 1 to 100, but 1 in an
/// attention mask and 0 in token types.
void fill(const PareTensor &tensor, Str name, Random &random) {
  auto index = [&]() -> int64_t {
    if (name == "attention_mask")
      return 1;
    return name == "token_type_ids" ? 0 : 1 + random.next() % 100;
  };
  switch (tensor.dtype) {
  case PARE_F32:
    return fillWith<float>(tensor, [&] {
      return float(int32_t(random.next() & 0xffffff) - 0x800000) * 0x1p-23f;
    });
  case PARE_F64:
    return fillWith<double>(
        tensor, [&] { return double(int32_t(random.next())) * 0x1p-31; });
  case PARE_F16: // +-[1, 2)
    return fillWith<uint16_t>(
        tensor, [&] { return uint16_t(0x3c00 | (random.next() & 0x83ff)); });
  case PARE_BF16:
    return fillWith<uint16_t>(
        tensor, [&] { return uint16_t(0x3f80 | (random.next() & 0x807f)); });
  case PARE_I8:
  case PARE_U8:
    return fillWith<uint8_t>(tensor, [&] { return uint8_t(random.next()); });
  case PARE_BOOL:
    return fillWith<uint8_t>(tensor, [&] { return uint8_t(1); });
  case PARE_I16:
  case PARE_U16:
    return fillWith<uint16_t>(tensor, [&] { return uint16_t(index()); });
  case PARE_I32:
  case PARE_U32:
    return fillWith<uint32_t>(tensor, [&] { return uint32_t(index()); });
  default:
    return fillWith<int64_t>(tensor, index);
  }
}

class Bench {
public:
  Bench(Program &program, const Args &args) : session(program), args(args) {}
  ~Bench() {
    free(nanos);
    free(stepNanos);
    free(symbols);
    free(slots);
  }
  bool measure();
  void putText(Writer &text);
  void putJson(Writer &text);
  Session session;

private:
  bool chooseShapes();
  bool applyShape(const char *argument);
  bool prepareInputs();

  const Args &args;
  int64_t *symbols = nullptr, *slots = nullptr;
  uint64_t *nanos = nullptr, *stepNanos = nullptr;
  uint64_t runs = 0, total = 0;

  double milliseconds(uint64_t percent) const {
    return double(nanos[(runs - 1) * percent / 100]) * 1e-6;
  }
  static uint64_t fileBytes() {
    struct stat info;
    return stat("/proc/self/exe", &info) ? 0 : uint64_t(info.st_size);
  }
};

/// "NAME=1x3x48x320", or the shape alone where the model has one input.
bool Bench::applyShape(const char *argument) {
  const PareModel &model = session.model;
  Str text = argument;
  uint64_t equals = text.size;
  while (equals > 0 && text.data[equals - 1] != '=')
    --equals;
  int32_t input = equals == 0 && model.num_inputs == 1
                      ? 0
                      : session.findInput({text.data, equals ? equals - 1 : 0});
  if (input < 0) {
    Writer &line = session.error.start();
    line.put("--shape ").put(argument).put(": no such input; the inputs are ");
    session.putInputs(line);
    return false;
  }
  const PareTensorInfo &info = model.inputs[input];
  auto fail = [&] {
    Writer &line = session.error.start();
    line.put("--shape ").put(argument).put(": '").put(info.name);
    line.put("' takes ");
    putShape(line, model, info);
    return false;
  };
  Str rest = text.drop(equals);
  if (info.rank == 0 && rest.size)
    return fail();
  for (uint32_t axis = 0; axis < info.rank; ++axis) {
    Str number(rest.data, rest.find('x'));
    bool isLast = number.size == rest.size;
    rest = rest.drop(isLast ? rest.size : number.size + 1);
    int64_t value;
    if (!parseInt(number, value) || isLast != (axis + 1 == info.rank))
      return fail();
    int64_t dim = info.dims[axis];
    if (dim >= 0 && dim != value)
      return fail();
    if (dim < 0)
      if (const PareDimInfo *symbol = dimOfSlot(model, dim))
        symbols[symbol - model.dims] = value;
  }
  return true;
}

/// Batch axes are as small, others 128 or as near to it as their bounds allow,
/// unless --shape says otherwise.
bool Bench::chooseShapes() {
  const PareModel &model = session.model;
  symbols = static_cast<int64_t *>(calloc(model.num_dims + 1, 8));
  slots = static_cast<int64_t *>(calloc(model.num_slots + 1, 8));
  if (!symbols || !slots) {
    session.error.start().put("out of memory");
    return false;
  }
  for (uint32_t d = 0; d < model.num_dims; ++d) {
    const PareDimInfo &dim = model.dims[d];
    symbols[d] = min(max<int64_t>(dim.axis ? 128 : 1, dim.min), dim.max);
  }
  for (uint32_t i = 0; i < args.count; ++i)
    if (args.items[i].option && Str(args.items[i].option->name) == "--shape" &&
        !applyShape(args.items[i].value))
      return false;
  for (uint32_t d = 0; d < model.num_dims; ++d) {
    const PareDimInfo &dim = model.dims[d];
    if (symbols[d] >= dim.min && symbols[d] <= dim.max)
      continue;
    session.error.start()
        .put("--shape: '")
        .put(dim.name)
        .put("' is ")
        .num(symbols[d])
        .put(", the model was compiled for ")
        .num(dim.min)
        .put(" to ")
        .num(dim.max);
    return false;
  }
  return true;
}

bool Bench::prepareInputs() {
  const PareModel &model = session.model;
  model.plan(symbols, slots);
  Random random;
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const PareTensorInfo &info = model.inputs[i];
    int64_t dims[PARE_MAX_RANK];
    for (uint32_t axis = 0; axis < info.rank; ++axis)
      dims[axis] =
          info.dims[axis] >= 0 ? info.dims[axis] : slots[-1 - info.dims[axis]];
    if (!session.allocateInput(i, dims))
      return false;
    Str name = info.name;
    if (const PareEncoderInfo *encoder = model.encoder) {
      if (int32_t(i) == encoder->attention_mask)
        name = "attention_mask";
      if (int32_t(i) == encoder->token_type_ids)
        name = "token_type_ids";
    }
    fill(session.inputs[i], name, random);
  }
  return session.allocateOutputs();
}

bool Bench::measure() {
  int64_t wanted = 0, warmup = 3;
  if (!args.number("--runs", 1, wanted, session.error) ||
      !args.number("--warmup", 0, warmup, session.error) ||
      !session.open(args) || !chooseShapes() || !prepareInputs())
    return false;

  uint64_t begin = nowNanos();
  int64_t warmupRuns = wanted ? warmup : max<int64_t>(warmup, 1);
  for (int64_t i = 0; i < warmupRuns; ++i) {
    begin = nowNanos();
    if (!session.run())
      return false;
  }
  uint64_t estimate = max<uint64_t>(nowNanos() - begin, 1);
  runs = wanted
             ? uint64_t(wanted)
             : min<uint64_t>(max<uint64_t>(kTargetNanos / estimate, 10), 10000);
  nanos = static_cast<uint64_t *>(calloc(runs, 8));
  stepNanos = static_cast<uint64_t *>(calloc(session.model.num_steps + 1, 8));
  if (!nanos || !stepNanos) {
    session.error.start().put("out of memory");
    return false;
  }
  if (args.has("--profile"))
    pare_set_profile(session.context, stepNanos);
  for (uint64_t i = 0; i < runs; ++i) {
    uint64_t start = nowNanos();
    if (!session.run())
      return false;
    nanos[i] = nowNanos() - start;
    total += nanos[i];
  }
  sort(nanos, runs, [](uint64_t a, uint64_t b) { return a < b; });
  return true;
}

void Bench::putText(Writer &text) {
  const PareModel &model = session.model;
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    text.put(i ? "           " : "inputs     ")
        .put(model.inputs[i].name)
        .put(' ');
    text.shape(session.inputs[i].dims, session.inputs[i].rank).put('\n');
  }
  text.put("threads    ").num(pare_threads(session.context)).put('\n');
  text.put("runs       ").unsignedNum(runs).put('\n');
  text.put("latency    p50 ").fixed(milliseconds(50), 3);
  text.put(" ms, p90 ").fixed(milliseconds(90), 3);
  text.put(" ms, min ").fixed(milliseconds(0), 3).put(" ms\n");
  text.put("throughput ")
      .fixed(double(runs) * 1e9 / double(max<uint64_t>(total, 1)), 1);
  text.put(" runs/s\n");
  text.put("peak RSS   ").fixed(double(peakBytes()) * 0x1p-20, 1).put(" MiB\n");
  text.put("arena      ");
  text.fixed(double(pare_arena_bytes(session.context)) * 0x1p-20, 1);
  text.put(" MiB\n");
  text.put("file       ").fixed(double(fileBytes()) * 0x1p-20, 1).put(" MiB\n");
  if (!args.has("--profile"))
    return;

  text.put('\n');
  putProfile(text, *session.context, stepNanos, runs);
}

void Bench::putJson(Writer &text) {
  const PareModel &model = session.model;
  text.put("{\"name\":").json(model.name).put(",\"inputs\":[");
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    text.put(i ? "," : "").put("{\"name\":").json(model.inputs[i].name);
    text.put(",\"shape\":[");
    for (uint32_t axis = 0; axis < session.inputs[i].rank; ++axis)
      text.put(axis ? "," : "").num(session.inputs[i].dims[axis]);
    text.put("]}");
  }
  text.put("],\"threads\":").num(pare_threads(session.context));
  text.put(",\"runs\":").unsignedNum(runs);
  text.put(",\"p50_ms\":").fixed(milliseconds(50), 6);
  text.put(",\"p90_ms\":").fixed(milliseconds(90), 6);
  text.put(",\"min_ms\":").fixed(milliseconds(0), 6);
  text.put(",\"runs_per_s\":");
  text.fixed(double(runs) * 1e9 / double(max<uint64_t>(total, 1)), 3);
  text.put(",\"peak_rss_bytes\":").unsignedNum(peakBytes());
  text.put(",\"arena_bytes\":").unsignedNum(pare_arena_bytes(session.context));
  text.put(",\"file_bytes\":").unsignedNum(fileBytes());
  if (args.has("--profile"))
    putProfileJson(text.put(",\"steps\":"), *session.context, stepNanos, runs);
  text.put("}\n");
}

int run(Program &program, const Args &args) {
  Bench bench(program, args);
  if (!bench.measure())
    return program.fail(bench.session.error);
  StandardOutput out;
  if (args.has("--json"))
    bench.putJson(out.text());
  else
    bench.putText(out.text());
  return out.finish(program);
}

const Option kOptions[] = {
    PARE_SESSION_OPTIONS,
    {"--runs", "N", "timed runs (default: about one second of them)"},
    {"--warmup", "N", "runs before those (default: 3)"},
    {"--shape", "NAME=1x3x48x320",
     "shape of an input with symbolic dimensions"},
    {"--profile", nullptr, "time of each step, slowest first"},
    {"--json", nullptr, "print JSON"},
    PARE_COMMON_OPTIONS};

} // namespace

const Command pare::rt::kBenchCommand = {
    "bench",
    "[options]",
    "Times the model on made-up inputs.",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./").put(program.name).put(" bench --threads 2 --profile");
    },
    run};
