//===- DecoderOptions.h - Options of language models' commands --*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_DECODEROPTIONS_H
#define PARE_BACKENDS_RUNTIME_DECODEROPTIONS_H

#include "backends/runtime/Cli.h"
#include "backends/runtime/Generator.h"

namespace pare::rt {

/// What is said where an answer ended at kDefaultTokens.
extern const char kEndedByDefault[];

/// How answers are made, by the options below.
class AnswerOptions {
public:
  AnswerOptions() = default;
  AnswerOptions(const AnswerOptions &) = delete;
  AnswerOptions &operator=(const AnswerOptions &) = delete;
  ~AnswerOptions();

  /// Reads the options; what is not given is what the model's authors advise.
  /// False with one line in `error`.
  bool parse(const Args &args, const PareDecoderInfo &decoder, Message &error);

  /// A request with these options and no prompt.
  Request request() const;
  uint64_t seed() const { return chosenSeed; }
  /// Whether an answer ended at a length that nobody asked for.
  bool endedByDefault(const Answer &answer) const {
    return isDefaultLength && answer.finish == Finish::Length;
  }

private:
  Sampling sampling;
  uint64_t chosenSeed = 0, maxTokens = kDefaultTokens;
  bool isDefaultLength = true;
  bool ignoresStopTokens = false, showsSpecial = false;
  Str *stops = nullptr;
  uint32_t numStops = 0;
  TokenBias *biases = nullptr;
  uint32_t numBiases = 0;
};

#define PARE_ANSWER_OPTIONS                                                    \
  {"--max-tokens", "N", "tokens of an answer; -1: to its end (1024)"},         \
      {"--temperature", "T", "logits are divided by it; 0: the likeliest"},    \
      {"--top-k", "K", "choose among the K likeliest tokens; 0: all"},         \
      {"--typical", "P", "among those of typical surprise; 1: all"},           \
      {"--top-p", "P", "among the likeliest with probability P; 1: all"},      \
      {"--min-p", "P", "among those of P times the likeliest; 0: all"},        \
      {"--repetition-penalty", "X", "of tokens that occurred; 1: none"},       \
      {"--presence-penalty", "X", "the same, taken from the logit"},           \
      {"--frequency-penalty", "X", "the same, for each time"},                 \
      {"--penalty-window", "N", "last tokens that count; -1: all (64)"},       \
      {"--logit-bias", "ID:X", "added to the logit of a token; repeatable"},   \
      {"--seed", "N", "the same seed gives the same text (default: new)"},     \
      {"--stop", "TEXT", "ends an answer before it; repeatable"},              \
      {"--ignore-stop-tokens", nullptr, "go on beyond the model's own end"},   \
      {"--special", nullptr, "show special tokens"}

/// What --help says of them.
extern const char kSamplingDetails[];

#define PARE_WEIGHTS_MEMORY_OPTION                                             \
  {"--weights-memory", "map|huge",                                             \
   "where they lie in the file, or a copy in huge pages"}

/// Reads --weights-memory into `options`. False with one line in `error`.
bool parseWeightsMemory(const Args &args, PareOptions &options, Message &error);

/// Appends a JSON string; false where memory is short.
bool appendJson(Bytes &out, Str text);

/// Reads standard input to its end. False with one line in `error`.
bool readStandardInput(Bytes &bytes, Message &error);

} // namespace pare::rt

#endif
