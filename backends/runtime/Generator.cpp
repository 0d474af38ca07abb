#include "backends/runtime/Generator.h"

#include "backends/runtime/Context.h"
#include "backends/runtime/Output.h"

#include <stdlib.h>

using namespace pare::rt;

namespace {

/// Rows that are bit for bit what one row gives (docs/design.md).
constexpr uint64_t kMaxBatch = 16;
/// Fewer positions are sooner computed than copied from another sequence.
constexpr uint64_t kMinCopied = 16;

uint64_t commonLength(const int32_t *a, uint64_t na, const int32_t *b,
                      uint64_t nb) {
  uint64_t n = 0;
  while (n < na && n < nb && a[n] == b[n])
    ++n;
  return n;
}

/// The most rows of a vector input; 0 if it cannot have one.
uint64_t mostRows(const PareModel &model, const PareTensorInfo &input) {
  int64_t dim = input.dims[0];
  if (dim >= 0)
    return dim == 1;
  const PareDimInfo *symbol = dimOfSlot(model, dim);
  return symbol && symbol->min <= 1 ? uint64_t(symbol->max) : 0;
}

} // namespace

const char *pare::rt::finishName(Finish finish) {
  static const char *const names[] = {"running", "stop", "length", "context",
                                      "cancelled"};
  return names[uint32_t(finish)];
}

Sampling pare::rt::getAdvisedSampling(const PareDecoderInfo &decoder) {
  Sampling sampling;
  bool advised = decoder.temperature > 0 || decoder.top_k > 0 ||
                 decoder.top_p > 0 || decoder.min_p > 0;
  if (advised) {
    sampling.temperature = decoder.temperature > 0 ? decoder.temperature : 1;
    sampling.topK = decoder.top_k;
    sampling.topP = decoder.top_p > 0 ? decoder.top_p : 1;
    sampling.minP = decoder.min_p;
  } else {
    sampling.temperature = 0.8f;
    sampling.topK = 40;
    sampling.topP = 0.95f;
    sampling.minP = 0.05f;
  }
  if (decoder.repetition_penalty > 0)
    sampling.repetition = decoder.repetition_penalty;
  return sampling;
}

struct Generator::Sequence {
  enum State : uint8_t { Free, Active, Done } state = Free;
  Request request;
  Finish finish = Finish::Running;
  bool looked = false; ///< for a beginning that another sequence has

  Bytes tokens;             ///< the prompt, then the answer
  uint64_t numTokens = 0;   ///< known
  uint64_t numPrompt = 0;   ///< of the prompt
  uint64_t numComputed = 0; ///< in the cache
  uint64_t numReused = 0;
  bool endsInStop = false; ///< the last token is a stop token
  uint64_t order = 0;      ///< of its request among all

  Random random;
  AnswerText text;
  Bytes scores;
  uint64_t promptNanos = 0, firstTime = 0, lastTime = 0;

  const int32_t *ids() const {
    return reinterpret_cast<const int32_t *>(tokens.data);
  }
  int32_t *ids() { return reinterpret_cast<int32_t *>(tokens.data); }
  uint64_t numWaiting() const { return numTokens - numComputed; }
};

Generator::~Generator() {
  for (uint32_t s = 0; s < numSequences; ++s)
    sequences[s].~Sequence();
  free(sequences);
  free(runRows);
  free(plainLogits);
}

bool Generator::failMemory() {
  session.error.start().put("out of memory");
  return false;
}

bool Generator::open() {
  const PareModel &model = session.model;
  info = model.decoder;
  auto fail = [&](const char *message) {
    session.error.start().put(message);
    return false;
  };
  if (pare_tokenizer_open(info->tokenizer, info->tokenizer_bytes, &table) !=
      PARE_TOKENIZER_OK)
    return fail("the tokenizer in this file is damaged");
  const uint32_t inputs[] = {info->tokens, info->positions, info->sequences,
                             info->outputs};
  bool fits = model.num_inputs == 4 && info->logits < model.num_outputs;
  for (uint32_t input : inputs)
    fits = fits && input < 4 && model.inputs[input].dtype == PARE_I32 &&
           model.inputs[input].rank == 1;
  const PareTensorInfo &output = model.outputs[fits ? info->logits : 0];
  fits = fits && output.dtype == PARE_F32 && output.rank == 2 &&
         output.dims[1] >= int64_t(info->vocabulary) && info->vocabulary > 0 &&
         info->context > 0;
  if (fits) {
    maxTokens = mostRows(model, model.inputs[info->tokens]);
    maxOutputs = mostRows(model, model.inputs[info->outputs]);
  }
  if (!fits || !maxTokens || !maxOutputs)
    return fail("the model's inputs and outputs are not a language model's");
  columns = uint64_t(output.dims[1]);

  uint32_t count = pare_sequences(session.context);
  sequences = static_cast<Sequence *>(calloc(count, sizeof(Sequence)));
  runRows = static_cast<Row *>(calloc(maxTokens, sizeof(Row)));
  if (!sequences || !runRows || !sampler.open(info->vocabulary))
    return failMemory();
  for (; numSequences < count; ++numSequences)
    new (&sequences[numSequences], PareInPlace()) Sequence;
  return true;
}

bool Generator::encode(Str text, bool special, Bytes &tokens) {
  uint32_t flags = special ? 0 : PARE_TOKENIZER_NO_SPECIAL;
  int64_t count =
      pare_tokenizer_encode(&table, text.data, text.size, nullptr, 0, flags);
  uint64_t before = tokens.size;
  if (count < 0 || !tokens.resize(before + uint64_t(count) * sizeof(int32_t)))
    return failMemory();
  if (count == 0)
    return true;
  count =
      pare_tokenizer_encode(&table, text.data, text.size,
                            reinterpret_cast<int32_t *>(tokens.data + before),
                            uint64_t(count), flags);
  return count >= 0 || failMemory();
}

uint32_t Generator::indexOf(const Sequence &sequence) const {
  return uint32_t(&sequence - sequences);
}

//===----------------------------------------------------------------------===//
// Requests
//===----------------------------------------------------------------------===//

int32_t Generator::add(const Request &request) {
  auto fail = [&](const char *message) {
    session.error.start().put(message);
    return -1;
  };
  if (request.numTokens == 0)
    return fail("the prompt is empty");
  const uint64_t numBefore = info->prompt_tokens;
  if (request.numTokens + numBefore > info->context) {
    session.error.start()
        .put("the prompt has ")
        .unsignedNum(request.numTokens + numBefore)
        .put(" tokens, more than the model's context of ")
        .unsignedNum(info->context);
    return -1;
  }
  for (uint64_t i = 0; i < request.numTokens; ++i)
    if (uint32_t(request.tokens[i]) >= info->vocabulary)
      return fail("the tokenizer has tokens that the model lacks");
  Bytes whole; ///< the tokens that begin every sequence, then the prompt
  if (!whole.resize((numBefore + request.numTokens) * sizeof(int32_t))) {
    failMemory();
    return -1;
  }
  auto *tokens = reinterpret_cast<int32_t *>(whole.data);
  const uint64_t numTokens = numBefore + request.numTokens;
  for (uint64_t i = 0; i < numBefore; ++i)
    tokens[i] = int32_t(info->vocabulary + i);
  memcpy(tokens + numBefore, request.tokens,
         request.numTokens * sizeof(int32_t));
  if (!fitsMemory(pare_cache_bytes(session.context, uint32_t(numTokens))))
    return fail("out of memory: the prompt is too long for this machine");

  // Of the free sequences the one that has most of the prompt, of equal ones
  // the one that waits longest.
  Sequence *best = nullptr;
  uint64_t bestReused = 0;
  for (uint32_t s = 0; s < numSequences; ++s) {
    Sequence &sequence = sequences[s];
    if (sequence.state != Sequence::Free)
      continue;
    uint64_t common = commonLength(sequence.ids(), sequence.numComputed, tokens,
                                   numTokens - 1);
    common = pare_cache_reusable(session.context, s, uint32_t(common));
    if (!best || common > bestReused ||
        (common == bestReused && sequence.order < best->order)) {
      best = &sequence;
      bestReused = common;
    }
  }
  if (!best)
    return fail("all sequences are busy");

  Sequence &sequence = *best;
  uint64_t answer = min<uint64_t>(request.maxTokens, info->context);
  uint64_t most =
      min<uint64_t>(numTokens + answer, uint64_t(info->context) + 1);
  uint64_t perToken = request.scores ? 1 + request.alternatives : 0;
  if ((request.scores && !plainLogits &&
       !(plainLogits = static_cast<float *>(
             malloc(uint64_t(info->vocabulary) * sizeof(float))))) ||
      !sequence.tokens.resize(most * sizeof(int32_t)) ||
      !sequence.scores.reserve(perToken * sizeof(TokenScore)) ||
      !sequence.text.begin(table, request.showsSpecial, request.stops,
                           request.numStops, request.tokens,
                           request.numTokens)) {
    failMemory();
    return -1;
  }
  if (bestReused == 0 && !forget(indexOf(sequence)))
    return -1;
  memcpy(sequence.tokens.data, tokens, whole.size);
  sequence.state = Sequence::Active;
  sequence.request = request;
  sequence.request.tokens = nullptr;
  sequence.finish = Finish::Running;
  sequence.looked = false;
  sequence.numTokens = sequence.numPrompt = numTokens;
  sequence.numComputed = sequence.numReused = bestReused;
  sequence.endsInStop = false;
  sequence.order = ++clock;
  sequence.random = Random(request.seed, request.stream);
  sequence.scores.size = 0;
  sequence.promptNanos = sequence.firstTime = sequence.lastTime = 0;
  if (request.maxTokens == 0 && !end(sequence, Finish::Length))
    return -1;
  return int32_t(indexOf(sequence));
}

bool Generator::active() const {
  for (uint32_t s = 0; s < numSequences; ++s)
    if (sequences[s].state == Sequence::Active)
      return true;
  return false;
}

Answer Generator::answer(uint32_t index) const {
  const Sequence &sequence = sequences[index];
  Answer answer;
  answer.finish = sequence.finish;
  answer.text = sequence.text.shown();
  answer.tokens = sequence.ids() + sequence.numPrompt;
  answer.numTokens =
      sequence.numTokens - sequence.numPrompt - sequence.endsInStop;
  answer.promptTokens = sequence.numPrompt;
  answer.reusedTokens = sequence.numReused;
  answer.promptNanos = sequence.promptNanos;
  answer.firstTime = sequence.firstTime;
  answer.lastTime = sequence.lastTime;
  answer.scores = reinterpret_cast<const TokenScore *>(sequence.scores.data);
  return answer;
}

/// Ends an answer: what was held back is shown, unless it became a stop text.
bool Generator::end(Sequence &sequence, Finish finish) {
  sequence.state = Sequence::Done;
  sequence.finish = finish;
  bool stopped;
  if (!sequence.text.finish(stopped))
    return failMemory();
  if (stopped)
    sequence.finish = Finish::Stop;
  return true;
}

void Generator::cancel(uint32_t index) {
  if (sequences[index].state == Sequence::Active)
    end(sequences[index], Finish::Cancelled);
}

void Generator::release(uint32_t index) {
  cancel(index);
  sequences[index].state = Sequence::Free;
}

bool Generator::forget(uint32_t index) {
  sequences[index].numComputed = 0;
  if (pare_cache_reset(session.context, index) == 0)
    return true;
  session.error.start().put(pare_error(session.context));
  return false;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

/// Copies the longest beginning of the prompt that another sequence has.
void Generator::reuse(Sequence &sequence) {
  sequence.looked = true;
  const Sequence *best = nullptr;
  uint64_t longest = sequence.numComputed + kMinCopied - 1;
  for (uint32_t s = 0; s < numSequences; ++s) {
    const Sequence &other = sequences[s];
    if (&other == &sequence)
      continue;
    uint64_t common = commonLength(other.ids(), other.numComputed,
                                   sequence.ids(), sequence.numPrompt - 1);
    if (common > longest &&
        pare_cache_reusable(session.context, s, uint32_t(common)) == common) {
      longest = common;
      best = &other;
    }
  }
  if (best && pare_cache_copy(session.context, indexOf(sequence),
                              indexOf(*best), uint32_t(longest)) == 0)
    sequence.numComputed = sequence.numReused = longest;
}

/// The earliest request with more than one token to run.
Generator::Sequence *Generator::nextPrompt() {
  for (;;) {
    Sequence *first = nullptr;
    for (uint32_t s = 0; s < numSequences; ++s) {
      Sequence &sequence = sequences[s];
      if (sequence.state == Sequence::Active && sequence.numWaiting() > 1 &&
          (!first || sequence.order < first->order))
        first = &sequence;
    }
    if (!first || first->looked)
      return first;
    reuse(*first);
  }
}

bool Generator::step() {
  bool waits = false;
  for (uint32_t s = 0; s < numSequences; ++s)
    waits |= sequences[s].state == Sequence::Active &&
             sequences[s].numWaiting() == 1;
  // Prompts and answers take turns, so that neither waits for all of the other.
  if (!waits || !promptWasLast)
    if (Sequence *prompt = nextPrompt()) {
      promptWasLast = true;
      return runPrompt(*prompt);
    }
  promptWasLast = false;
  return runBatch();
}

bool Generator::forward(uint64_t count, uint64_t numOutputs) {
  int64_t rows = int64_t(count), outputs = int64_t(numOutputs);
  if (!session.allocateInput(info->tokens, &rows) ||
      !session.allocateInput(info->positions, &rows) ||
      !session.allocateInput(info->sequences, &rows) ||
      !session.allocateInput(info->outputs, &outputs) ||
      !session.allocateOutputs())
    return false;
  auto put = [&](uint32_t input, uint64_t row, uint64_t value) {
    static_cast<int32_t *>(session.inputs[input].data)[row] = int32_t(value);
  };
  for (uint64_t i = 0; i < count; ++i) {
    put(info->tokens, i, uint64_t(runRows[i].token));
    put(info->positions, i, runRows[i].position);
    put(info->sequences, i, runRows[i].sequence);
  }
  for (uint64_t i = 0; i < numOutputs; ++i)
    put(info->outputs, i, count - numOutputs + i);
  return session.run();
}

float *Generator::logits(uint64_t row) const {
  return static_cast<float *>(session.outputs[info->logits].data) +
         row * columns;
}

bool Generator::runPrompt(Sequence &sequence) {
  uint64_t begin = nowNanos();
  uint64_t count = min(sequence.numWaiting(), maxTokens);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t position = sequence.numComputed + i;
    runRows[i] = {sequence.ids()[position], uint32_t(position),
                  indexOf(sequence)};
  }
  if (!forward(count, 1))
    return false;
  sequence.numComputed += count;
  sequence.promptNanos += nowNanos() - begin;
  return sequence.numWaiting() > 0 || choose(sequence, 0);
}

bool Generator::runBatch() {
  uint32_t batch[kMaxBatch], rows = 0;
  uint64_t most = min(kMaxBatch, min(maxTokens, maxOutputs));
  for (uint32_t i = 0; i < numSequences && rows < most; ++i) {
    uint32_t s = (nextInBatch + i) % numSequences;
    if (sequences[s].state == Sequence::Active &&
        sequences[s].numWaiting() == 1)
      batch[rows++] = s;
  }
  if (!rows)
    return true;
  nextInBatch = (batch[rows - 1] + 1) % numSequences;

  uint64_t begin = nowNanos();
  for (uint32_t r = 0; r < rows; ++r) {
    const Sequence &sequence = sequences[batch[r]];
    runRows[r] = {sequence.ids()[sequence.numComputed],
                  uint32_t(sequence.numComputed), batch[r]};
  }
  if (!forward(rows, rows))
    return false;
  uint64_t nanos = nowNanos() - begin;
  for (uint32_t r = 0; r < rows; ++r) {
    Sequence &sequence = sequences[batch[r]];
    if (++sequence.numComputed == sequence.numPrompt)
      sequence.promptNanos += nanos;
    if (!choose(sequence, r))
      return false;
  }
  return true;
}

/// Takes the next token of a sequence by row `row` of the logits.
bool Generator::choose(Sequence &sequence, uint64_t row) {
  const Request &request = sequence.request;
  float *scored = logits(row);
  if (request.scores)
    memcpy(plainLogits, scored, info->vocabulary * sizeof(float));
  // Penalties know tokens of texts only.
  uint64_t before = info->prompt_tokens;
  int32_t token =
      sampler.sample(scored, request.sampling, sequence.ids() + before,
                     sequence.numTokens - before, sequence.random);
  if (token < 0) {
    session.error.start()
        .put("the model's logits at position ")
        .unsignedNum(sequence.numComputed - 1)
        .put(" are not numbers");
    return false;
  }
  sequence.lastTime = nowNanos();
  if (!sequence.firstTime)
    sequence.firstTime = sequence.lastTime;

  sequence.ids()[sequence.numTokens++] = token;
  bool isStop = false;
  for (uint32_t i = 0; i < info->num_stops; ++i)
    isStop |= info->stops[i] == token;
  if (isStop && !request.ignoresStopTokens) {
    sequence.endsInStop = true;
    return end(sequence, Finish::Stop);
  }
  if (request.scores) {
    uint64_t used = sequence.scores.size;
    uint64_t entries = 1 + uint64_t(request.alternatives);
    if (!sequence.scores.resize(used + entries * sizeof(TokenScore)))
      return failMemory();
    auto *scores = reinterpret_cast<TokenScore *>(sequence.scores.data + used);
    sampler.score(plainLogits, token, request.alternatives, scores);
  }
  bool stopped;
  if (!sequence.text.add(token, stopped))
    return failMemory();
  if (stopped) {
    sequence.state = Sequence::Done;
    sequence.finish = Finish::Stop;
    return true;
  }
  if (sequence.numTokens - sequence.numPrompt >= request.maxTokens)
    return end(sequence, Finish::Length);
  // Its position would be the first beyond the context.
  if (sequence.numTokens > info->context)
    return end(sequence, Finish::Context);
  return true;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

namespace {
/// Followed by the tokens and the block of pare_cache_save.
struct FileHeader {
  char magic[8];
  uint64_t numTokens, blockBytes;
};
constexpr char kFileMagic[8] = {'p', 'a', 'r', 'e', ' ', 's', 'e', 'q'};
} // namespace

bool Generator::save(uint32_t index, const char *path) {
  const Sequence &sequence = sequences[index];
  uint32_t count = uint32_t(sequence.numComputed);
  FileHeader header = {};
  memcpy(header.magic, kFileMagic, sizeof(kFileMagic));
  header.numTokens = count;
  header.blockBytes = pare_cache_bytes(session.context, count);
  Bytes block;
  if (!block.resize(header.blockBytes))
    return failMemory();
  if (pare_cache_save(session.context, index, count, block.data, block.size)) {
    session.error.start().put(pare_error(session.context));
    return false;
  }
  OutputFile file;
  Message &error = session.error;
  return file.open(path, error) && file.write(&header, sizeof(header), error) &&
         file.write(sequence.tokens.data, count * sizeof(int32_t), error) &&
         file.write(block.data, block.size, error) && file.commit(error);
}

bool Generator::load(uint32_t index, const char *path) {
  Sequence &sequence = sequences[index];
  Bytes file;
  if (!readFile(path, file, session.error))
    return false;
  auto fail = [&](const char *cause) {
    session.error.start().put('\'').put(path).put("': ").put(cause);
    return false;
  };
  FileHeader header;
  if (file.size < sizeof(header))
    return fail("not a saved sequence");
  memcpy(&header, file.data, sizeof(header));
  if (memcmp(header.magic, kFileMagic, sizeof(kFileMagic)) != 0)
    return fail("not a saved sequence");
  uint64_t rest = file.size - sizeof(header);
  if (header.numTokens > info->context ||
      header.numTokens * sizeof(int32_t) > rest ||
      header.blockBytes != rest - header.numTokens * sizeof(int32_t))
    return fail("not a whole saved sequence");
  const uint8_t *tokens = file.data + sizeof(header);
  if (!sequence.tokens.resize(header.numTokens * sizeof(int32_t)))
    return failMemory();
  uint32_t positions;
  sequence.numComputed = 0;
  if (pare_cache_load(session.context, index,
                      tokens + header.numTokens * sizeof(int32_t),
                      header.blockBytes, &positions))
    return fail(pare_error(session.context));
  if (positions != header.numTokens)
    return fail("not a whole saved sequence");
  memcpy(sequence.tokens.data, tokens, header.numTokens * sizeof(int32_t));
  sequence.numTokens = sequence.numComputed = header.numTokens;
  return true;
}
