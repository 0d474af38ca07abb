//===- Perplexity.cpp - `perplexity` --------------------------------------===//
#include "backends/runtime/DecoderModule.h"
#include "backends/runtime/DecoderOptions.h"
#include "backends/runtime/LineEditor.h"
#include "backends/runtime/Npy.h"
#include "backends/runtime/Softmax.h"

#include <stdlib.h>

using namespace pare::rt;

namespace {

class Perplexity {
public:
  Perplexity(Program &program, const Args &args)
      : session(program), generator(session), args(args) {}
  bool run();
  /// Prints the result; returns the exit code.
  int print();
  Session session;

private:
  /// Negative log likelihoods of tokens.
  struct Mean {
    double sum = 0, squares = 0;
    uint64_t count = 0;
    void add(double value) {
      sum += value;
      squares += value * value;
      ++count;
    }
    double mean() const { return count ? sum / double(count) : 0; }
    /// Of the mean.
    double error() const {
      if (count < 2)
        return 0;
      double variance = squares / double(count) - mean() * mean();
      return squareRoot(max(variance, 0.0) / double(count - 1));
    }
  };

  bool readText(Bytes &text);
  bool readTokens();
  bool encodeText();
  bool fitsContext();
  bool runBeginning();
  bool runChunk(const int32_t *ids);
  bool runRows(const int32_t *ids, uint64_t first, uint64_t count,
               uint64_t numOutputs);
  bool measure(const int32_t *ids, uint64_t first, uint64_t count);
  bool fail(const char *message) {
    session.error.start().put(message);
    return false;
  }

  Generator generator;
  const Args &args;
  uint64_t size = 0; ///< of a chunk, in tokens
  bool all = false;
  bool prints = true; ///< the result; else logits go to standard output
  int32_t begin = -1; ///< the token that begins texts, or none
  Bytes tokens, chunk;
  Mean half, whole;
  uint64_t nanos = 0, chunks = 0;
};

/// e^x beyond the range of floats.
double exponential(double x) {
  double result = 1;
  for (; x > 64; x -= 64)
    result *= double(expOf(64));
  return result * double(expOf(float(x)));
}

bool Perplexity::readText(Bytes &text) {
  const char *path = nullptr;
  for (uint32_t i = 0; i < args.count; ++i)
    if (!args.items[i].option) {
      if (path)
        return fail("perplexity takes one file");
      path = args.items[i].value;
    }
  if (!path)
    return fail("no file: give one, or - for standard input");
  return Str(path) == "-" ? readStandardInput(text, session.error)
                          : readFile(path, text, session.error);
}

bool Perplexity::runRows(const int32_t *ids, uint64_t first, uint64_t count,
                         uint64_t numOutputs) {
  uint64_t before = generator.decoder().prompt_tokens;
  for (uint64_t i = 0; i < count; ++i)
    generator.rows()[i] = {ids[first + i], uint32_t(before + first + i), 0};
  return generator.forward(count, numOutputs);
}

/// Adds what the last run says of the tokens after positions [first, first +
/// count).
bool Perplexity::measure(const int32_t *ids, uint64_t first, uint64_t count) {
  for (uint64_t i = 0; i < count && first + i + 1 < size; ++i) {
    const float *logits = generator.logits(i);
    uint64_t vocabulary = generator.vocabulary();
    float top = largest(logits, vocabulary);
    if (!(top - top == 0)) {
      session.error.start()
          .put("the model's logits at position ")
          .unsignedNum(first + i)
          .put(" are not numbers");
      return false;
    }
    if (!prints) {
      if (!writeAll(1, logits, vocabulary * sizeof(float)))
        return fail("cannot write to standard output");
      continue;
    }
    double loss = logOf(sumOfExponentials(logits, vocabulary, top)) -
                  double(logits[ids[first + i + 1]] - top);
    whole.add(loss);
    if (first + i >= size / 2)
      half.add(loss);
  }
  return true;
}

/// Runs the tokens that begin every sequence.
bool Perplexity::runBeginning() {
  const PareDecoderInfo &info = generator.decoder();
  for (uint32_t done = 0; done < info.prompt_tokens;) {
    uint32_t count =
        uint32_t(min<uint64_t>(info.prompt_tokens - done, generator.maxRows()));
    for (uint32_t i = 0; i < count; ++i)
      generator.rows()[i] = {int32_t(info.vocabulary + done + i), done + i, 0};
    if (!generator.forward(count, 1))
      return false;
    done += count;
  }
  return true;
}

bool Perplexity::runChunk(const int32_t *ids) {
  auto *tokens = reinterpret_cast<int32_t *>(chunk.data);
  memcpy(tokens, ids, size * sizeof(int32_t));
  if (begin >= 0)
    tokens[0] = begin;
  if (!runBeginning())
    return false;
  uint64_t done = 0, measured = all ? 0 : size / 2;
  while (done < measured) {
    uint64_t count = min(measured - done, generator.maxRows());
    if (!runRows(tokens, done, count, 1))
      return false;
    done += count;
  }
  // Nothing is predicted by the last token.
  while (done + 1 < size) {
    uint64_t count = min(size - 1 - done,
                         min(generator.maxRows(), generator.maxOutputRows()));
    if (!runRows(tokens, done, count, count) || !measure(tokens, done, count))
      return false;
    done += count;
  }
  return true;
}

int Perplexity::print() {
  if (!prints)
    return 0;
  StandardOutput out;
  Writer &text = out.text();
  double seconds = double(nanos) * 1e-9;
  double rate = seconds > 0 ? double(chunks * size) / seconds : 0;
  auto json = [&](const char *name, const Mean &mean) {
    double perplexity = exponential(mean.mean());
    text.put(",\"").put(name).put("\":{\"perplexity\":").fixed(perplexity, 6);
    text.put(",\"error\":").fixed(perplexity * mean.error(), 6);
    text.put(",\"nll\":").fixed(mean.mean(), 9);
    text.put(",\"tokens\":").unsignedNum(mean.count).put('}');
  };
  auto line = [&](const char *name, const Mean &mean) {
    double perplexity = exponential(mean.mean());
    text.put(name).fixed(perplexity, 4).put(" +- ");
    text.fixed(perplexity * mean.error(), 4);
    text.put(" over ").unsignedNum(mean.count).put(" tokens, mean NLL ");
    text.fixed(mean.mean(), 6).put('\n');
  };
  if (args.has("--json")) {
    text.put("{\"context\":").unsignedNum(size);
    text.put(",\"chunks\":").unsignedNum(chunks);
    json("second_half", half);
    if (all)
      json("all", whole);
    text.put(",\"tokens_per_s\":").fixed(rate, 3).put("}\n");
  } else {
    line("perplexity  ", half);
    if (all)
      line("all tokens  ", whole);
    text.put("chunks      ").unsignedNum(chunks).put(" of ");
    text.unsignedNum(size).put(" tokens, ").fixed(rate, 1).put(" tokens/s\n");
  }
  return out.finish(session.program);
}

bool Perplexity::fitsContext() {
  if (size + generator.decoder().prompt_tokens > generator.context()) {
    session.error.start()
        .put("--context is ")
        .unsignedNum(size)
        .put(", the model's context is ")
        .unsignedNum(generator.context());
    return false;
  }
  return true;
}

/// Chunks as they are, an array of i32 [chunks, size]: what `pare eval` runs.
bool Perplexity::readTokens() {
  const char *path = args.get("--tokens");
  Bytes file;
  NpyView view;
  Message cause;
  if (!readFile(path, file, session.error))
    return false;
  bool good = parseNpy(file.str(), view, cause);
  if (good && (view.tensor.dtype != PARE_I32 || view.tensor.rank != 2 ||
               view.tensor.dims[1] < 4)) {
    cause.start().put("is not of int32 [chunks, tokens]");
    good = false;
  }
  if (!good) {
    session.error.start().put("'").put(path).put("' ").put(cause.c_str());
    return false;
  }
  chunks = uint64_t(view.tensor.dims[0]);
  size = uint64_t(view.tensor.dims[1]);
  if (!fitsContext())
    return false;
  if (!tokens.resize(view.tensor.bytes))
    return fail("out of memory");
  copyNpy(view, tokens.data);
  return true;
}

bool Perplexity::encodeText() {
  int64_t context = 512, most = 0;
  Bytes text, special;
  if (!args.number("--context", 4, context, session.error) ||
      !args.number("--chunks", 1, most, session.error) || !readText(text))
    return false;
  size = uint64_t(context);
  if (!fitsContext() || !generator.encode(text.str(), true, tokens) ||
      !generator.encode("", true, special))
    return false;
  if (generator.tokenizer().num_before)
    begin = *reinterpret_cast<const int32_t *>(special.data);
  uint64_t count = tokens.size / sizeof(int32_t);
  chunks = count / size;
  if (!chunks) {
    session.error.start()
        .put("the text has ")
        .unsignedNum(count)
        .put(" tokens, fewer than one chunk of ")
        .unsignedNum(size)
        .put("; see --context");
    return false;
  }
  if (most)
    chunks = min(chunks, uint64_t(most));
  return true;
}

bool Perplexity::run() {
  PareOptions contextOptions = {};
  if (!parseWeightsMemory(args, contextOptions, session.error) ||
      !session.open(args, contextOptions) || !generator.open() ||
      !(args.has("--tokens") ? readTokens() : encodeText()))
    return false;
  all = args.has("--all");
  prints = !args.has("--logits");
  if (!chunk.resize(size * sizeof(int32_t)))
    return fail("out of memory");
  const auto *ids = reinterpret_cast<const int32_t *>(tokens.data);
  for (uint64_t i = 0; i < tokens.size / sizeof(int32_t); ++i)
    if (uint32_t(ids[i]) >= generator.vocabulary())
      return fail("the tokenizer has tokens that the model lacks");
  uint64_t start = nowNanos();
  for (uint64_t i = 0; i < chunks; ++i) {
    if (!runChunk(ids + i * size))
      return false;
    if (prints && isTerminal(2)) {
      Message progress;
      progress.start()
          .unsignedNum(i + 1)
          .put(" of ")
          .unsignedNum(chunks)
          .put(" chunks: ")
          .fixed(exponential(half.mean()), 4);
      session.program.say(progress.c_str());
    }
  }
  nanos = nowNanos() - start;
  return true;
}

const Option kOptions[] = {
    {"--context", "N", "tokens of a chunk (default: 512)"},
    {"--chunks", "N", "stop after so many (default: all)"},
    {"--all", nullptr, "also over all tokens of the chunks"},
    {"--json", nullptr, "print JSON"},
    {"--tokens", "FILE.npy", nullptr}, // chunks in place of a text
    {"--logits", nullptr, nullptr},    // f32, in place of the result
    PARE_WEIGHTS_MEMORY_OPTION,
    PARE_SESSION_OPTIONS,
    PARE_COMMON_OPTIONS};

} // namespace

const Command pare::rt::kPerplexityCommand = {
    "perplexity",
    "FILE [options]",
    "Measures how well the model predicts a text (- for standard input).",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./")
          .put(program.name)
          .put(" perplexity book.txt --context 512");
    },
    [](Program &program, const Args &args) {
      Perplexity perplexity(program, args);
      return perplexity.run() ? perplexity.print()
                              : program.fail(perplexity.session.error);
    },
    /*takesTexts=*/true,
    "Definition, as llama.cpp's: the text's tokens are cut into chunks of\n"
    "--context N, a rest is left out, and where the tokenizer begins texts by "
    "a\n"
    "token, each chunk's first one is that. Perplexity is e to the mean "
    "negative\n"
    "log likelihood of the tokens N/2 + 1 to N - 1 of all chunks (from 0), "
    "each\n"
    "given what is before it in its chunk. --all: of the tokens 1 to N - 1."};
