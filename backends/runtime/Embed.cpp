//===- Embed.cpp - `embed` ------------------------------------------------===//
#include "backends/runtime/Context.h"
#include "backends/runtime/Modules.h"
#include "backends/runtime/Npy.h"
#include "backends/runtime/Output.h"
#include "backends/runtime/Pooling.h"
#include "backends/runtime/Session.h"
#include "backends/runtime/Tokenizer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

using namespace pare::rt;

namespace {

constexpr int64_t kMaxBatch = 64;
constexpr uint64_t kMaxLine = 64u << 20;

class Embed {
public:
  Embed(Program &program, const Args &args)
      : session(program), encoder(*program.model.encoder), args(args) {}
  ~Embed() {
    free(ids);
    free(rows);
    free(pooled);
  }

  bool run();
  Session session;

private:
  /// Bounds of an axis of the token ids.
  struct Extent {
    int64_t low, high;
    int64_t atLeast(int64_t value) const { return max(value, low); }
  };
  /// One text of the batch: its ids in a row of `ids`, its bytes in `texts`.
  struct Row {
    int64_t tokens;
    uint64_t begin, size;
  };

  bool open();
  Extent extentOf(uint32_t axis) const;
  bool readStandardInput();
  bool add(Str text);
  bool flush();
  void fillInput(int32_t input, int64_t batch, int64_t length);
  bool emit(int64_t row, const float *vector, uint64_t size);
  bool writeArray(const char *path);
  bool fail(const char *message) {
    session.error.start().put(message);
    return false;
  }

  const PareEncoderInfo &encoder;
  const Args &args;
  PareTokenizer tokenizer;
  Extent batchExtent, lengthExtent;
  int64_t maxBatch = 1, maxTokens = 1;

  int32_t *ids = nullptr; // [maxBatch, maxTokens]
  Row *rows = nullptr;
  int64_t count = 0; // rows in use
  Bytes texts;

  float *pooled = nullptr;
  uint64_t hidden = 0;
  Bytes collected; // for --output
  uint64_t total = 0, truncated = 0;
  bool printsJson = true;
  StandardOutput out;
};

Embed::Extent Embed::extentOf(uint32_t axis) const {
  int64_t dim = session.model.inputs[encoder.input_ids].dims[axis];
  if (dim >= 0)
    return {dim, dim};
  const PareDimInfo *symbol = dimOfSlot(session.model, dim);
  return symbol ? Extent{symbol->min, symbol->max} : Extent{1, 1};
}

bool Embed::open() {
  const PareModel &model = session.model;
  if (encoder.input_ids < 0 || model.inputs[encoder.input_ids].rank != 2)
    return fail("the model's token ids are not of shape [batch, tokens]");
  const PareTensorInfo &output = model.outputs[encoder.output];
  if (output.dtype != PARE_F32 ||
      output.rank != (encoder.pooling == PARE_POOL_NONE ? 2u : 3u))
    return fail("the model's output does not fit its pooling");
  if (pare_tokenizer_open(encoder.tokenizer, encoder.tokenizer_bytes,
                          &tokenizer) != PARE_TOKENIZER_OK)
    return fail("the tokenizer in this file is damaged");
  batchExtent = extentOf(0);
  lengthExtent = extentOf(1);
  maxTokens = lengthExtent.high;
  if (encoder.max_tokens)
    maxTokens = min<int64_t>(maxTokens, encoder.max_tokens);
  // Without a mask, texts of different lengths cannot share a batch.
  maxBatch = encoder.attention_mask < 0 && batchExtent.low <= 1
                 ? 1
                 : max(min(batchExtent.high, kMaxBatch), batchExtent.low);
  uint64_t idBytes;
  int64_t idDims[2] = {maxBatch, maxTokens};
  if (!tensorBytes(PARE_I32, idDims, 2, idBytes))
    return fail("the model's batch is too large");
  ids = static_cast<int32_t *>(malloc(max<uint64_t>(idBytes, 1)));
  rows = static_cast<Row *>(calloc(uint64_t(maxBatch) + 1, sizeof(Row)));
  return (ids && rows) || fail("out of memory");
}

bool Embed::add(Str text) {
  int32_t *row = ids + count * maxTokens;
  int64_t tokens = pare_tokenizer_encode(&tokenizer, text.data, text.size, row,
                                         uint64_t(maxTokens), 0);
  if (tokens < 0)
    return fail(tokens == PARE_TOKENIZER_E_MEMORY
                    ? "out of memory for a text"
                    : "the model takes fewer tokens than its special ones");
  // A full row may be a cut one; only then is the whole text counted.
  if (tokens == maxTokens &&
      pare_tokenizer_encode(&tokenizer, text.data, text.size, nullptr, 0, 0) >
          maxTokens)
    ++truncated;
  rows[count] = {tokens, texts.size, text.size};
  if (printsJson && !texts.append(text.data, text.size))
    return fail("out of memory");
  ++count;
  return count < maxBatch || flush();
}

/// Writes ids, mask or token types of the batch: rows beyond `count` repeat
/// the last one.
void Embed::fillInput(int32_t input, int64_t batch, int64_t length) {
  const PareTensor &tensor = session.inputs[input];
  bool wide = pare_dtype_bytes(tensor.dtype) == 8;
  const PareTokenizerConfig &config = *tokenizer.config;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t source = min(b, count - 1);
    int64_t tokens = rows[source].tokens;
    int64_t first = config.pad_left ? length - tokens : 0;
    for (int64_t t = 0; t < length; ++t) {
      bool inText = t >= first && t < first + tokens;
      int64_t value = 0;
      if (input == encoder.input_ids)
        value = inText ? ids[source * maxTokens + t - first]
                       : max(config.pad_id, 0);
      else if (input == encoder.attention_mask)
        value = inText;
      else if (!inText)
        value = config.pad_type_id;
      if (wide)
        static_cast<int64_t *>(tensor.data)[b * length + t] = value;
      else
        static_cast<int32_t *>(tensor.data)[b * length + t] = int32_t(value);
    }
  }
}

bool Embed::flush() {
  if (!count)
    return true;
  int64_t length = 1;
  for (int64_t i = 0; i < count; ++i)
    length = max(length, rows[i].tokens);
  int64_t dims[2] = {batchExtent.atLeast(count), lengthExtent.atLeast(length)};
  const int32_t inputs[] = {encoder.input_ids, encoder.attention_mask,
                            encoder.token_type_ids};
  for (int32_t input : inputs) {
    if (input < 0)
      continue;
    if (!session.allocateInput(uint32_t(input), dims))
      return false;
    fillInput(input, dims[0], dims[1]);
  }
  if (!session.allocateOutputs() || !session.run())
    return false;

  const PareTensor &output = session.outputs[encoder.output];
  bool pools = encoder.pooling != PARE_POOL_NONE;
  if (output.dims[0] < count || (pools && output.dims[1] != dims[1]))
    return fail("the model's output does not have a vector per token");
  if (!pooled) {
    hidden = uint64_t(output.dims[output.rank - 1]);
    pooled = static_cast<float *>(malloc(hidden * sizeof(float) + 1));
    if (!pooled)
      return fail("out of memory");
  }
  for (int64_t b = 0; b < count; ++b) {
    uint64_t perRow = pools ? uint64_t(dims[1]) : 1;
    uint64_t tokens = pools ? uint64_t(rows[b].tokens) : 1;
    uint64_t first = tokenizer.config->pad_left ? perRow - tokens : 0;
    const float *vectors =
        static_cast<const float *>(output.data) + uint64_t(b) * perRow * hidden;
    poolTokens(ParePooling(encoder.pooling), vectors, hidden, first, tokens,
               pooled);
    if (encoder.normalize)
      normalizeL2(pooled, hidden);
    if (!emit(b, pooled, hidden))
      return false;
  }
  count = 0;
  texts.size = 0;
  return out.text().flush() || fail("cannot write to standard output");
}

bool Embed::emit(int64_t row, const float *vector, uint64_t size) {
  ++total;
  if (args.has("--output") && !collected.append(vector, size * sizeof(float)))
    return fail("out of memory");
  if (!printsJson)
    return true;
  Writer &text = out.text();
  text.put("{\"text\":")
      .json(texts.str().drop(rows[row].begin).take(rows[row].size));
  text.put(",\"embedding\":[");
  for (uint64_t i = 0; i < size; ++i) {
    text.put(i ? "," : "");
    if (vector[i] - vector[i] == 0)
      text.real(vector[i]);
    else
      text.put("null"); // JSON has no infinity
  }
  text.put("]}\n");
  return true;
}

/// One text per line. What is complete is embedded before waiting for more.
bool Embed::readStandardInput() {
  Bytes input;
  uint64_t scanned = 0;
  bool open = true;
  while (open) {
    pollfd ready = {0, POLLIN, 0};
    if (count && poll(&ready, 1, 0) == 0 && !flush())
      return false;
    if (!input.reserve(input.size + 65536))
      return fail("out of memory");
    ssize_t n = read(0, input.data + input.size, 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail("cannot read standard input");
    input.size += uint64_t(n);
    open = n > 0;
    uint64_t begin = 0;
    for (;;) {
      Str rest = input.str().drop(scanned);
      uint64_t newline = scanned + rest.find('\n');
      bool whole = newline < input.size;
      scanned = newline;
      if (!whole && (open || begin == input.size))
        break;
      Str line(input.str().data + begin, newline - begin);
      if (line.endsWith("\r"))
        --line.size;
      if (!add(line))
        return false;
      begin = scanned = min(newline + 1, input.size);
      if (!whole)
        break;
    }
    if (begin)
      memmove(input.data, input.data + begin, input.size - begin);
    input.size -= begin;
    scanned -= begin;
    if (input.size > kMaxLine)
      return fail("a line of standard input is longer than 64 MiB");
  }
  return true;
}

bool Embed::writeArray(const char *path) {
  PareTensor tensor = {};
  tensor.rank = 2;
  tensor.dims[0] = int64_t(total);
  tensor.dims[1] = int64_t(hidden);
  char header[kNpyHeaderBytes];
  uint64_t headerBytes = npyHeader(tensor, header);
  OutputFile file;
  return file.open(path, session.error) &&
         file.write(header, headerBytes, session.error) &&
         file.write(collected.data, collected.size, session.error) &&
         file.commit(session.error);
}

bool Embed::run() {
  const char *path = args.get("--output");
  printsJson = !path || args.has("--json");
  if (!session.open(args) || !open())
    return false;
  bool hasTexts = false;
  for (uint32_t i = 0; i < args.count; ++i) {
    if (args.items[i].option)
      continue;
    hasTexts = true;
    if (!add(args.items[i].value))
      return false;
  }
  if ((!hasTexts && !readStandardInput()) || !flush())
    return false;
  if (path && !writeArray(path))
    return false;
  if (truncated) {
    Message line;
    line.start()
        .unsignedNum(truncated)
        .put(truncated == 1 ? " text was" : " texts were")
        .put(" cut to ")
        .num(maxTokens)
        .put(" tokens");
    session.program.say(line.c_str());
  }
  if (path) {
    Message line;
    line.start()
        .put("wrote ")
        .unsignedNum(total)
        .put(" vectors to '")
        .put(path)
        .put('\'');
    session.program.say(line.c_str());
  }
  return true;
}

const Option kOptions[] = {
    {"--output", "FILE.npy",
     "write one array [texts, hidden] instead of JSON lines"},
    {"--json", nullptr,
     "print a JSON line for each text (the default without --output)"},
    PARE_SESSION_OPTIONS,
    PARE_COMMON_OPTIONS};

const Command kEmbedCommand = {
    "embed",
    "[TEXT ...] [options]",
    "Turns texts, or the lines of standard input, into vectors.",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./")
          .put(program.name)
          .put(" embed \"a photo of a cat\" \"ein Foto einer Katze\"");
    },
    [](Program &program, const Args &args) {
      Embed embed(program, args);
      return embed.run() ? 0 : program.fail(embed.session.error);
    },
    /*takesTexts=*/true};

} // namespace

extern "C" __attribute__((visibility("default")))
const PareEmbedModule pare_module_embed = {&kEmbedCommand};
