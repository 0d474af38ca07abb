#include "backends/runtime/DecoderOptions.h"
#include "backends/runtime/Decimal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

using namespace pare::rt;

namespace {

/// The number given for an option, in [low, high]; kept where none is.
bool realOption(const Args &args, const char *name, double low, double high,
                float &value, Message &error) {
  const char *text = args.get(name);
  if (!text)
    return true;
  double parsed;
  if (!parseDecimal(text, parsed) || parsed < low || parsed > high) {
    Writer &line = error.start();
    line.put(name).put(" is '").put(text).put("', expected a number from ");
    line.real(float(low)).put(" to ").real(float(high));
    return false;
  }
  value = float(parsed);
  return true;
}

/// "42:-1.5"; "-inf" rules the token out.
bool parseBias(const char *text, const PareDecoderInfo &decoder,
               TokenBias &bias, Message &error) {
  Str whole = text, id = whole.take(whole.find(':'));
  Str number = whole.drop(min(id.size + 1, whole.size));
  int64_t token;
  double value = 0;
  bool rulesOut = number == "-inf";
  if (!parseInt(id, token) || token < 0 || token >= decoder.vocabulary ||
      (!rulesOut &&
       (!parseDecimal(number, value) || value < -1e6 || value > 1e6))) {
    error.start()
        .put("--logit-bias is '")
        .put(text)
        .put("', expected ID:X with a token below ")
        .unsignedNum(decoder.vocabulary)
        .put(" and a number or -inf");
    return false;
  }
  bias = {int32_t(token), rulesOut ? -__builtin_inff() : float(value)};
  return true;
}

} // namespace

const char pare::rt::kSamplingDetails[] =
    "A token is chosen by these steps in this order: logit bias, penalties,\n"
    "top-k, typical, top-p, min-p, temperature. What is not given is what the\n"
    "model's authors advise, or if they say nothing: temperature 0.8, top-k "
    "40,\n"
    "top-p 0.95, min-p 0.05. An answer's seed is the given one and its number.";

const char pare::rt::kEndedByDefault[] =
    "the answer ends at 1024 tokens: --max-tokens -1 lets it go on";
static_assert(kDefaultTokens == 1024);

AnswerOptions::~AnswerOptions() {
  free(stops);
  free(biases);
}

bool AnswerOptions::parse(const Args &args, const PareDecoderInfo &decoder,
                          Message &error) {
  sampling = getAdvisedSampling(decoder);
  int64_t topK = sampling.topK, window = sampling.penaltyWindow,
          most = int64_t(kDefaultTokens);
  int64_t seed = -1;
  if (!args.number("--max-tokens", -1, most, error) ||
      !args.number("--top-k", 0, topK, error) ||
      !args.number("--penalty-window", -1, window, error) ||
      !args.number("--seed", 0, seed, error) ||
      !realOption(args, "--temperature", 0, 1000, sampling.temperature,
                  error) ||
      !realOption(args, "--typical", 0, 1, sampling.typical, error) ||
      !realOption(args, "--top-p", 0, 1, sampling.topP, error) ||
      !realOption(args, "--min-p", 0, 1, sampling.minP, error) ||
      !realOption(args, "--repetition-penalty", 0.01, 100, sampling.repetition,
                  error) ||
      !realOption(args, "--presence-penalty", -100, 100, sampling.presence,
                  error) ||
      !realOption(args, "--frequency-penalty", -100, 100, sampling.frequency,
                  error))
    return false;
  sampling.topK = uint32_t(topK);
  sampling.penaltyWindow = int32_t(window);
  maxTokens = most < 0 ? UINT64_MAX : uint64_t(most);
  isDefaultLength = !args.has("--max-tokens");
  chosenSeed = seed >= 0 ? uint64_t(seed) : nowNanos() % 1000000000;
  ignoresStopTokens = args.has("--ignore-stop-tokens");
  showsSpecial = args.has("--special");

  stops = static_cast<Str *>(calloc(args.count + 1, sizeof(Str)));
  biases = static_cast<TokenBias *>(calloc(args.count + 1, sizeof(TokenBias)));
  if (!stops || !biases) {
    error.start().put("out of memory");
    return false;
  }
  for (uint32_t i = 0; i < args.count; ++i) {
    if (!args.items[i].option)
      continue;
    Str name = args.items[i].option->name;
    if (name == "--stop")
      stops[numStops++] = args.items[i].value;
    if (name == "--logit-bias" &&
        !parseBias(args.items[i].value, decoder, biases[numBiases++], error))
      return false;
  }
  sampling.biases = biases;
  sampling.numBiases = numBiases;
  return true;
}

Request AnswerOptions::request() const {
  Request request;
  request.sampling = sampling;
  request.seed = chosenSeed;
  request.maxTokens = maxTokens;
  request.stops = stops;
  request.numStops = numStops;
  request.ignoresStopTokens = ignoresStopTokens;
  request.showsSpecial = showsSpecial;
  return request;
}

bool pare::rt::parseWeightsMemory(const Args &args, PareOptions &options,
                                  Message &error) {
  Str text =
      args.has("--weights-memory") ? args.get("--weights-memory") : "map";
  options.weights_memory =
      text == "huge" ? PARE_WEIGHTS_HUGE : PARE_WEIGHTS_MAP;
  if (text == "map" || text == "huge")
    return true;
  error.start()
      .put("--weights-memory is '")
      .put(text)
      .put("', expected map or huge");
  return false;
}

bool pare::rt::appendJson(Bytes &out, Str text) {
  // An escape has six characters at most.
  uint64_t most = text.size * 6 + 3;
  if (text.size > UINT64_MAX / 16 || !out.reserve(out.size + most))
    return false;
  Writer writer(-1, reinterpret_cast<char *>(out.data + out.size), most);
  out.size += writer.json(text).column();
  return true;
}

bool pare::rt::readStandardInput(Bytes &bytes, Message &error) {
  for (;;) {
    if (!bytes.reserve(bytes.size + 65536)) {
      error.start().put("out of memory");
      return false;
    }
    ssize_t n = read(0, bytes.data + bytes.size, 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      error.start().put("cannot read standard input");
      return false;
    }
    if (n == 0)
      return true;
    bytes.size += uint64_t(n);
  }
}
