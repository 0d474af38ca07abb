//===- TextGenerator.h - Text of a language model, in C ---------*- C -*-===//
//
// What the generator of a library (`pare compile --emit lib`) comes down to.
// A generator owns a context of the model; each may be used by one thread at a
// time.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_TEXTGENERATOR_H
#define PARE_BACKENDS_RUNTIME_TEXTGENERATOR_H

#include "backends/runtime/Runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PareGenerator PareGenerator;

/* How tokens are chosen, and where an answer ends (Sampler.h says more). */
typedef struct {
  float temperature; /* 0: the likeliest token */
  float top_p, min_p, typical;
  float repetition_penalty, presence_penalty, frequency_penalty;
  uint32_t top_k;         /* 0: all */
  int32_t penalty_window; /* last tokens that count; -1: all */
  uint32_t ignore_stop_tokens;
  uint64_t max_tokens;
  uint64_t seed;            /* the same seed gives the same text */
  const char *const *stops; /* texts that end an answer before them, a null
                               pointer behind the last; or null */
} PareSampling;

/* Makes a context with `options` (null: the defaults) and a generator on it.
   Null and one line in `error` (at most `error_bytes` with the final zero)
   where that fails. */
PareGenerator *pare_generator_open(const PareModel *model,
                                   const PareOptions *options, char *error,
                                   uint64_t error_bytes);
void pare_generator_close(PareGenerator *generator);

/* What the model's authors advise, an answer of at most 1024 tokens, and no
   stop texts. The seed is 0. */
void pare_generator_advice(const PareGenerator *generator,
                           PareSampling *sampling);

/* Begins an answer to a text, or to a conversation by the model's chat
   template: `messages` is a JSON list of objects with role and content, `tools`
   one of tools or null, `variables` an object or null. What the last prompts
   had at their beginning is not computed again. `sampling` null: the advice.
   An answer that runs ends. Returns 0, or 1 with pare_generator_error() set. */
int pare_generator_prompt(PareGenerator *generator, const char *text,
                          const PareSampling *sampling);
int pare_generator_chat(PareGenerator *generator, const char *messages,
                        const char *tools, const char *variables,
                        const PareSampling *sampling);

/* The next piece of the answer: whole characters of UTF-8, at least one, with a
   final zero behind them; valid until the next call. Null at the end, and where
   the model fails, which pare_generator_error() tells apart. `bytes`, where not
   null, receives its size. */
const char *pare_generator_next(PareGenerator *generator, uint64_t *bytes);

/* Why the answer ended: "stop", "length" (max_tokens), "context" (it is full);
   "running" before that. */
const char *pare_generator_finish(const PareGenerator *generator);

/* Why the last call failed: one line; "" if it did not. */
const char *pare_generator_error(const PareGenerator *generator);

#ifdef __cplusplus
}
#endif
#endif
