//===- Generator.h - Answers of a language model ----------------*- C++ -*-===//
//
// Several prompts at a time, each in a sequence of its own with its own cache.
// A step runs the model once: either over a piece of one prompt, or over the
// next token of all sequences that wait for one. Pieces of a prompt lie where
// they would if the prompt were alone, and a batch has at most as many rows as
// kernels promise to compute alike (docs/design.md), so the text of a sequence
// does not depend on the others. Nothing is allocated in a step but the text.
//
// A sequence keeps what its cache holds when its answer has been taken: a new
// prompt computes only what follows the longest beginning that any sequence
// already has.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_GENERATOR_H
#define PARE_BACKENDS_RUNTIME_GENERATOR_H

#include "backends/runtime/AnswerText.h"
#include "backends/runtime/Sampler.h"
#include "backends/runtime/Session.h"

namespace pare::rt {

/// Tokens of an answer where nothing is said: a model may never come to an end.
constexpr uint64_t kDefaultTokens = 1024;

/// The sampling that a model's authors advise, or else llama.cpp's default.
Sampling getAdvisedSampling(const PareDecoderInfo &decoder);

/// A prompt and how to answer it. What it points to must stay until release(),
/// but for the tokens.
struct Request {
  const int32_t *tokens = nullptr; ///< the prompt
  uint64_t numTokens = 0;          ///< at least 1
  Sampling sampling;
  uint64_t seed = 0, stream = 0;   ///< equal ones give equal answers
  uint64_t maxTokens = UINT64_MAX; ///< of the answer
  const Str *stops = nullptr;      ///< texts that end the answer before them
  uint32_t numStops = 0;
  bool ignoresStopTokens = false; ///< goes on beyond the model's own end
  bool showsSpecial = false;      ///< special tokens are part of the text
  bool scores = false;            ///< keeps the log probabilities of the tokens
  uint32_t alternatives = 0;      ///< and those of so many of the likeliest
};

enum class Finish : uint8_t {
  Running,
  Stop,      ///< a stop token or text, or the model's end
  Length,    ///< Request::maxTokens
  Context,   ///< the model's context is full
  Cancelled, ///< cancel()
};
/// "stop", "length", ….
const char *finishName(Finish finish);

/// An answer so far. Times are nowNanos().
struct Answer {
  Finish finish = Finish::Running;
  Str text; ///< whole characters, as far as no stop text can begin in it
  const int32_t *tokens = nullptr; ///< what was chosen, a stop token not
  uint64_t numTokens = 0;
  uint64_t promptTokens = 0, reusedTokens = 0;
  uint64_t promptNanos = 0;             ///< spent on the prompt
  uint64_t firstTime = 0, lastTime = 0; ///< of the first and the last token
  /// For each token its own score, then Request::alternatives others, likeliest
  /// first, of the model's own distribution before any penalty.
  const TokenScore *scores = nullptr;
};

class Generator {
public:
  explicit Generator(Session &session) : session(session) {}
  Generator(const Generator &) = delete;
  Generator &operator=(const Generator &) = delete;
  ~Generator();

  /// Opens the tokenizer and makes the memory of as many sequences as the
  /// session's context has. False with the session's error set.
  bool open();

  const PareTokenizer &tokenizer() const { return table; }
  uint32_t context() const { return info->context; }
  uint32_t vocabulary() const { return info->vocabulary; }
  const PareDecoderInfo &decoder() const { return *info; }

  /// Tokens of `text` appended to `tokens` (int32_t); `special`: those that the
  /// tokenizer puts around a text too. False with the session's error set.
  bool encode(Str text, bool special, Bytes &tokens);

  /// Takes a prompt; returns its sequence, or -1 with the session's error set:
  /// no sequence is free, or the prompt does not fit.
  int32_t add(const Request &request);
  /// Runs the model once. False with the session's error set.
  bool step();
  /// Is there anything to step?
  bool active() const;

  Answer answer(uint32_t sequence) const;
  /// Ends an answer with what it has.
  void cancel(uint32_t sequence);
  /// Gives the sequence back; its cache stays for prompts that begin alike.
  void release(uint32_t sequence);
  /// Forgets what a released sequence holds.
  bool forget(uint32_t sequence);

  /// Writes what a released sequence holds to a file, and reads it back into
  /// one that is free. False with the session's error set.
  bool save(uint32_t sequence, const char *path);
  bool load(uint32_t sequence, const char *path);

  /// One row of a run, beside all of the above.
  struct Row {
    int32_t token;
    uint32_t position, sequence;
  };
  /// What the next forward() reads, [maxRows()].
  Row *rows() { return runRows; }
  /// Runs the model over `count` rows, whatever caches hold before them. The
  /// logits of the last `numOutputs` (1 to maxOutputRows()) are then in
  /// logits(). False with the session's error set.
  bool forward(uint64_t count, uint64_t numOutputs);
  /// The logits of an output row of the last run.
  float *logits(uint64_t row) const;
  uint64_t maxRows() const { return maxTokens; }
  uint64_t maxOutputRows() const { return maxOutputs; }

private:
  struct Sequence;

  Sequence *nextPrompt();
  void reuse(Sequence &sequence);
  bool runPrompt(Sequence &sequence);
  bool runBatch();
  bool choose(Sequence &sequence, uint64_t row);
  bool end(Sequence &sequence, Finish finish);
  uint32_t indexOf(const Sequence &sequence) const;
  bool failMemory();

  Session &session;
  const PareDecoderInfo *info = nullptr;
  PareTokenizer table;
  Sampler sampler;
  Sequence *sequences = nullptr;
  uint32_t numSequences = 0, nextInBatch = 0;
  uint64_t maxTokens = 1, maxOutputs = 1; ///< rows of one run
  uint64_t columns = 0;                   ///< of the logits
  uint64_t clock = 0;                     ///< requests so far
  Row *runRows = nullptr;
  float *plainLogits = nullptr; ///< for scores
  bool promptWasLast = false;
};

} // namespace pare::rt

#endif
