//===- TokenizerDecode.cpp - Ids to text ----------------------------------===//
#include "backends/runtime/TokenizerDecode.h"
#include "backends/runtime/TokenizerText.h"

namespace pare::rt::tok {
namespace {

constexpr uint8_t replacement[] = {0xef, 0xbf, 0xbd}; // U+FFFD

struct Entry {
  uint8_t kind;
  Text text;
  bool isUnknown = false;
};

/// What TEXTS says of a token; hidden for an id that it does not have.
Entry entryOf(const PareTokenizer &t, int32_t id) {
  const Entry hidden = {PARE_TEXT_HIDDEN, {nullptr, nullptr}, false};
  const auto &section = t.sections[PARE_TOK_TEXTS];
  if (section.bytes < sizeof(PareTokenizerTexts))
    return hidden;
  const auto &header =
      *reinterpret_cast<const PareTokenizerTexts *>(section.data);
  const auto *offsets = reinterpret_cast<const uint32_t *>(&header + 1);
  const uint64_t numBlocks = header.num_tokens / PARE_TEXT_BLOCK + 1;
  uint64_t begin = sizeof(header) + align8(numBlocks * 4);
  if (id < 0 || uint32_t(id) >= header.num_tokens || begin > section.bytes)
    return hidden;
  const uint8_t *end = section.data + section.bytes;
  begin += offsets[uint32_t(id) / PARE_TEXT_BLOCK];
  if (begin > section.bytes)
    return hidden;
  const uint8_t *p = section.data + begin;
  for (uint32_t skip = uint32_t(id) % PARE_TEXT_BLOCK;; --skip) {
    if (p == end)
      return hidden;
    const uint8_t kind = *p >> 6;
    uint32_t length = *p++ & 63;
    if (length == 63) {
      if (end - p < 2)
        return hidden;
      length = p[0] | uint32_t(p[1]) << 8;
      p += 2;
    }
    if (length > uint64_t(end - p))
      return hidden;
    if (skip == 0)
      return {kind, {p, p + length}, id == t.config->unk_id};
    p += length;
  }
}

/// Writes what fits and counts all.
struct Output {
  uint8_t *data;
  uint64_t capacity, size = 0;

  void put(const uint8_t *bytes, uint64_t n) {
    if (n > 0 && size < capacity && n <= capacity - size)
      memcpy(data + size, bytes, n);
    size += n;
  }
};

class Decoder {
public:
  Decoder(PareTokenizerStream &state, Output &out)
      : state(state), t(*state.tokenizer), config(*t.config), out(out) {}

  bool shows(const Entry &entry) const {
    return entry.kind != PARE_TEXT_HIDDEN &&
           !(entry.kind == PARE_TEXT_SPECIAL &&
             state.flags & PARE_TOKENIZER_SKIP_SPECIAL);
  }
  void token(const Entry &entry);
  /// No byte follows: what is pending stays broken.
  void flushPending();

private:
  void put(Text text);
  void putReplacement() { put({replacement, replacement + 3}); }
  void pushBytes(Text bytes);
  void settle();
  void plain(Entry entry, bool isFirst);

  PareTokenizerStream &state;
  const PareTokenizer &t;
  const PareTokenizerConfig &config;
  Output &out;
};

void Decoder::put(Text text) {
  for (; state.strip > 0 && text.begin < text.end; ++text.begin, --state.strip)
    if (*text.begin != ' ') {
      state.strip = 0;
      break;
    }
  if (text.begin == text.end)
    return;
  state.has_text = 1;
  out.put(text.begin, text.size());
}

/// Can more bytes make `bytes`, of which `decode` took `consumed` and found no
/// character, one?
bool isBeginning(const uint8_t *bytes, uint32_t n, uint32_t consumed) {
  return consumed == n && bytes[0] >= 0xc2 && bytes[0] <= 0xf4;
}

/// Puts what is whole or hopeless at the front of the pending bytes.
void Decoder::settle() {
  while (state.num_pending > 0) {
    uint32_t c;
    bool valid;
    uint32_t n =
        decode(state.pending, state.pending + state.num_pending, c, valid);
    if (!valid && isBeginning(state.pending, state.num_pending, n))
      return;
    if (valid) {
      put({state.pending, state.pending + n});
    } else {
      putReplacement();
      if (config.decoder != PARE_DECODER_BYTES)
        n = 1;
    }
    state.num_pending = uint8_t(state.num_pending - n);
    memmove(state.pending, state.pending + n, state.num_pending);
  }
}

void Decoder::pushBytes(Text bytes) {
  const uint8_t *p = bytes.begin;
  while (p < bytes.end) {
    if (state.num_pending == 0) { // whole characters, in one piece
      const uint8_t *whole = p;
      while (whole < bytes.end) {
        uint32_t c;
        bool valid;
        const uint32_t n = decode(whole, bytes.end, c, valid);
        if (!valid)
          break;
        whole += n;
      }
      put({p, whole});
      p = whole;
      if (p == bytes.end)
        break;
    }
    state.pending[state.num_pending++] = *p++;
    settle();
  }
}

void Decoder::flushPending() {
  if (state.num_pending == 0)
    return;
  uint32_t count = config.decoder == PARE_DECODER_BYTES ? 1 : state.num_pending;
  state.num_pending = 0;
  for (; count > 0; --count)
    putReplacement();
}

/// A text that is no byte, of PARE_DECODER_TEXT and _SENTENCEPIECE.
void Decoder::plain(Entry entry, bool isFirst) {
  Text text = entry.text;
  flushPending();
  switch (config.decode_first) {
  case PARE_FIRST_NO_SPACES:
    if (isFirst) {
      for (const uint8_t *p = text.begin; p < text.end; ++p)
        if (*p != ' ')
          put({p, p + 1});
      return;
    }
    break;
  case PARE_FIRST_SPACE:
  case PARE_FIRST_EACH_SPACE:
    if (state.has_text)
      state.at_start = 0;
    if (state.at_start && !entry.isUnknown && text.size() > 0 &&
        *text.begin == ' ') {
      ++text.begin;
      state.at_start = config.decode_first == PARE_FIRST_EACH_SPACE;
    }
    break;
  }
  put(text);
}

void Decoder::token(const Entry &entry) {
  if (!shows(entry))
    return;
  const bool isFirst = !state.started;
  state.started = 1;
  Text text = entry.text;
  switch (config.decoder) {
  case PARE_DECODER_BYTES:
    return pushBytes(text);
  case PARE_DECODER_TEXT:
  case PARE_DECODER_SENTENCEPIECE:
    if (entry.kind != PARE_TEXT_BYTE)
      return plain(entry, isFirst);
    if (state.broken_run) {
      for (uint64_t n = text.size(); n > 0; --n)
        putReplacement();
      return;
    }
    return pushBytes(text);
  case PARE_DECODER_WORDPIECE:
    if (isFirst && entry.kind == PARE_TEXT_BYTE) {
      const auto &prefix = t.sections[PARE_TOK_PREFIX];
      put({prefix.data, prefix.data + prefix.bytes});
    } else if (isFirst && text.size() > 0 && *text.begin == ' ') {
      ++text.begin;
    }
    return put(text);
  default:
    if (!isFirst) {
      const uint8_t space = ' ';
      put({&space, &space + 1});
    }
    put(text);
  }
}

/// Do the byte tokens from ids[0] on make valid UTF-8?
bool isValidRun(const Decoder &decoder, const PareTokenizer &t,
                const int32_t *ids, uint64_t n) {
  uint8_t bytes[4];
  uint32_t count = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const Entry entry = entryOf(t, ids[i]);
    if (!decoder.shows(entry))
      continue;
    if (entry.kind != PARE_TEXT_BYTE || entry.text.size() != 1)
      break;
    bytes[count++] = *entry.text.begin;
    uint32_t c;
    bool valid;
    const uint32_t used = decode(bytes, bytes + count, c, valid);
    if (valid)
      count = 0;
    else if (!isBeginning(bytes, count, used))
      return false;
  }
  return count == 0;
}

} // namespace
} // namespace pare::rt::tok

using namespace pare::rt::tok;

void pare_tokenizer_stream_begin(PareTokenizerStream *stream,
                                 const PareTokenizer *tokenizer,
                                 uint32_t flags) {
  memset(stream, 0, sizeof(*stream));
  stream->tokenizer = tokenizer;
  stream->flags = flags;
  stream->at_start = 1;
  if (tokenizer->config->decode_first == PARE_FIRST_STRIP)
    stream->strip = tokenizer->config->decode_strip;
}

uint64_t pare_tokenizer_stream_capacity(const PareTokenizer *tokenizer) {
  return 3 * (uint64_t(tokenizer->config->max_text_bytes) +
              tokenizer->sections[PARE_TOK_PREFIX].bytes + 8);
}

int64_t pare_tokenizer_stream_push(PareTokenizerStream *stream, int32_t id,
                                   char *out, uint64_t capacity) {
  if (capacity < pare_tokenizer_stream_capacity(stream->tokenizer))
    return PARE_TOKENIZER_E_CAPACITY;
  const Entry entry = entryOf(*stream->tokenizer, id);
  if (entry.text.size() > stream->tokenizer->config->max_text_bytes)
    return PARE_TOKENIZER_E_TABLE;
  Output output = {reinterpret_cast<uint8_t *>(out), capacity};
  Decoder(*stream, output).token(entry);
  return int64_t(output.size);
}

int64_t pare_tokenizer_stream_finish(PareTokenizerStream *stream, char *out,
                                     uint64_t capacity) {
  if (capacity < pare_tokenizer_stream_capacity(stream->tokenizer))
    return PARE_TOKENIZER_E_CAPACITY;
  Output output = {reinterpret_cast<uint8_t *>(out), capacity};
  Decoder(*stream, output).flushPending();
  return int64_t(output.size);
}

int64_t pare_tokenizer_decode(const PareTokenizer *tokenizer,
                              const int32_t *ids, uint64_t n, char *out,
                              uint64_t capacity, uint32_t flags) {
  PareTokenizerStream stream;
  pare_tokenizer_stream_begin(&stream, tokenizer, flags);
  Output output = {reinterpret_cast<uint8_t *>(out), out ? capacity : 0};
  Decoder decoder(stream, output);
  bool inRun = false;
  for (uint64_t i = 0; i < n; ++i) {
    const Entry entry = entryOf(*tokenizer, ids[i]);
    const bool isByte = tokenizer->config->decoder == PARE_DECODER_TEXT &&
                        entry.kind == PARE_TEXT_BYTE;
    if (isByte && !inRun)
      stream.broken_run = !isValidRun(decoder, *tokenizer, ids + i, n - i);
    if (decoder.shows(entry))
      inRun = isByte;
    decoder.token(entry);
  }
  decoder.flushPending();
  if (out && output.size > capacity)
    return PARE_TOKENIZER_E_CAPACITY;
  return int64_t(output.size);
}
