//===- TextGenerator.cpp - Text of a language model, in C -----------------===//
#include "backends/runtime/TextGenerator.h"

#include "backends/runtime/Conversation.h"
#include "backends/runtime/Generator.h"

#include <stdlib.h>

using namespace pare::rt;

struct PareGenerator {
  explicit PareGenerator(const PareModel &model)
      : program{model, model.name, /*quiet=*/true}, session(program),
        generator(session) {}
  ~PareGenerator() { free(stops); }

  bool setStops(const char *const *texts);
  bool begin(const PareSampling *sampling);
  void endAnswer();
  bool fail(const char *message) {
    session.error.start().put(message);
    return false;
  }

  Program program;
  Session session;
  Generator generator;

  Bytes tokens;         ///< of the prompt
  Str *stops = nullptr; ///< into `stopTexts`
  Bytes stopTexts;      ///< of the answer's sampling, one behind the other
  uint32_t numStops = 0;
  int32_t sequence = -1; ///< of the answer that runs
  uint64_t numShown = 0; ///< bytes of its text
  Finish finish = Finish::Running;
  Bytes piece; ///< what `next` returned
};

/// Keeps copies: the caller's texts need not outlive the call.
bool PareGenerator::setStops(const char *const *texts) {
  free(stops);
  stops = nullptr;
  numStops = 0;
  stopTexts.size = 0;
  uint64_t count = 0;
  while (texts && texts[count])
    ++count;
  stops = static_cast<Str *>(calloc(count + 1, sizeof(Str)));
  if (!stops || count > 1000)
    return fail(stops ? "too many stop texts: 1000 at most" : "out of memory");
  for (uint64_t i = 0; i < count; ++i)
    if (!stopTexts.append(texts[i], strlen(texts[i])))
      return fail("out of memory");
  for (uint64_t at = 0; numStops < count; ++numStops) {
    stops[numStops] = stopTexts.str().drop(at).take(strlen(texts[numStops]));
    at += stops[numStops].size;
  }
  return true;
}

void PareGenerator::endAnswer() {
  if (sequence >= 0)
    generator.release(uint32_t(sequence));
  sequence = -1;
}

/// The ranges of the commands' options.
static const char *findInvalid(const PareSampling &s) {
  struct Range {
    float value, low, high;
    const char *what;
  };
  const Range ranges[] = {
      {s.temperature, 0, 1000, "temperature: expected 0 to 1000"},
      {s.top_p, 0, 1, "top_p: expected 0 to 1"},
      {s.min_p, 0, 1, "min_p: expected 0 to 1"},
      {s.typical, 0, 1, "typical: expected 0 to 1"},
      {s.repetition_penalty, 0.01f, 100,
       "repetition_penalty: expected 0.01 to 100"},
      {s.presence_penalty, -100, 100, "presence_penalty: expected -100 to 100"},
      {s.frequency_penalty, -100, 100,
       "frequency_penalty: expected -100 to 100"}};
  for (const Range &range : ranges)
    if (!(range.value >= range.low && range.value <= range.high))
      return range.what;
  return s.penalty_window < -1 ? "penalty_window: expected -1 or more"
                               : nullptr;
}

/// Answers the prompt in `tokens`.
bool PareGenerator::begin(const PareSampling *given) {
  PareSampling sampling;
  pare_generator_advice(this, &sampling);
  if (given)
    sampling = *given;
  if (const char *invalid = findInvalid(sampling))
    return fail(invalid);
  if (!setStops(sampling.stops))
    return false;
  Request request;
  request.tokens = reinterpret_cast<const int32_t *>(tokens.data);
  request.numTokens = tokens.size / sizeof(int32_t);
  request.sampling.temperature = sampling.temperature;
  request.sampling.topP = sampling.top_p;
  request.sampling.minP = sampling.min_p;
  request.sampling.typical = sampling.typical;
  request.sampling.repetition = sampling.repetition_penalty;
  request.sampling.presence = sampling.presence_penalty;
  request.sampling.frequency = sampling.frequency_penalty;
  request.sampling.topK = sampling.top_k;
  request.sampling.penaltyWindow = sampling.penalty_window;
  request.ignoresStopTokens = sampling.ignore_stop_tokens;
  request.maxTokens = sampling.max_tokens;
  request.seed = sampling.seed;
  request.stops = stops;
  request.numStops = numStops;
  sequence = generator.add(request);
  numShown = 0;
  finish = Finish::Running;
  return sequence >= 0;
}

extern "C" PareGenerator *pare_generator_open(const PareModel *model,
                                              const PareOptions *options,
                                              char *error,
                                              uint64_t error_bytes) {
  auto report = [&](const char *message) -> PareGenerator * {
    if (error_bytes)
      Writer(-1, error, error_bytes).put(message);
    return nullptr;
  };
  void *memory = malloc(sizeof(PareGenerator));
  if (!memory)
    return report("out of memory");
  auto *made = new (memory, PareInPlace()) PareGenerator(*model);
  PareOptions defaults = {};
  if (made->session.open(options ? *options : defaults) &&
      made->generator.open())
    return made;
  report(made->session.error.c_str());
  pare_generator_close(made);
  return nullptr;
}

extern "C" void pare_generator_close(PareGenerator *generator) {
  if (!generator)
    return;
  generator->~PareGenerator();
  free(generator);
}

extern "C" void pare_generator_advice(const PareGenerator *generator,
                                      PareSampling *out) {
  Sampling advised = getAdvisedSampling(*generator->program.model.decoder);
  *out = {};
  out->temperature = advised.temperature;
  out->top_p = advised.topP;
  out->min_p = advised.minP;
  out->typical = advised.typical;
  out->repetition_penalty = advised.repetition;
  out->presence_penalty = advised.presence;
  out->frequency_penalty = advised.frequency;
  out->top_k = advised.topK;
  out->penalty_window = advised.penaltyWindow;
  out->max_tokens = kDefaultTokens;
}

extern "C" int pare_generator_prompt(PareGenerator *generator, const char *text,
                                     const PareSampling *sampling) {
  generator->session.error.start();
  generator->endAnswer();
  generator->tokens.size = 0;
  return !(
      generator->generator.encode(text, /*special=*/true, generator->tokens) &&
      generator->begin(sampling));
}

extern "C" int pare_generator_chat(PareGenerator *generator,
                                   const char *messages, const char *tools,
                                   const char *variables,
                                   const PareSampling *sampling) {
  Message &error = generator->session.error;
  error.start();
  generator->endAnswer();
  generator->tokens.size = 0;
  return !(encodeChat(generator->generator, messages, tools, variables,
                      generator->tokens, error) &&
           generator->begin(sampling));
}

extern "C" const char *pare_generator_next(PareGenerator *generator,
                                           uint64_t *bytes) {
  Generator &model = generator->generator;
  Bytes &piece = generator->piece;
  if (bytes)
    *bytes = 0;
  while (generator->sequence >= 0) {
    Answer answer = model.answer(uint32_t(generator->sequence));
    if (answer.text.size > generator->numShown) {
      Str more = answer.text.drop(generator->numShown);
      piece.size = 0;
      if (!piece.append(more.data, more.size) || !piece.append("", 1)) {
        generator->fail("out of memory");
        generator->endAnswer();
        return nullptr;
      }
      generator->numShown = answer.text.size;
      if (bytes)
        *bytes = more.size;
      return reinterpret_cast<const char *>(piece.data);
    }
    generator->finish = answer.finish;
    if (answer.finish != Finish::Running || !model.step())
      generator->endAnswer();
  }
  return nullptr;
}

extern "C" const char *pare_generator_finish(const PareGenerator *generator) {
  return finishName(generator->finish);
}

extern "C" const char *pare_generator_error(const PareGenerator *generator) {
  return generator->session.error.c_str();
}
