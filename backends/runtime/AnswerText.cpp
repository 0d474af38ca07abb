#include "backends/runtime/AnswerText.h"

using namespace pare::rt;

namespace {

/// Where `part` first occurs in `text`, or text.size.
uint64_t findText(Str text, Str part) {
  for (uint64_t i = 0; i + part.size <= text.size; ++i)
    if (text.drop(i).startsWith(part))
      return i;
  return text.size;
}

/// Bytes at the end of `text` that `stop` may begin with.
uint64_t possibleBeginning(Str text, Str stop) {
  for (uint64_t n = min(text.size, stop.size ? stop.size - 1 : 0); n > 0; --n)
    if (stop.startsWith(text.drop(text.size - n)))
      return n;
  return 0;
}

/// The last beginning of a character at or before `at`: a stop string that is
/// not UTF-8 may begin inside one.
uint64_t characterBoundary(Str text, uint64_t at) {
  while (at > 0 && at < text.size && (uint8_t(text.data[at]) & 0xc0) == 0x80)
    --at;
  return at;
}

} // namespace

bool AnswerText::begin(const PareTokenizer &tokenizer, bool showsSpecial,
                       const Str *stopStrings, uint32_t count,
                       const int32_t *prompt, uint64_t promptTokens) {
  stops = stopStrings;
  numStops = count;
  text.size = numShown = 0;
  pare_tokenizer_stream_begin(&stream, &tokenizer,
                              showsSpecial ? 0 : PARE_TOKENIZER_SKIP_SPECIAL);
  if (!piece.resize(pare_tokenizer_stream_capacity(&tokenizer)))
    return false;
  // Whether a space is the text's first depends on what came before.
  for (uint64_t i = 0; i < promptTokens; ++i)
    pare_tokenizer_stream_push(
        &stream, prompt[i], reinterpret_cast<char *>(piece.data), piece.size);
  pare_tokenizer_stream_finish(&stream, reinterpret_cast<char *>(piece.data),
                               piece.size);
  return true;
}

bool AnswerText::append(int64_t bytes, bool &stopped) {
  stopped = false;
  if (!text.append(piece.data, uint64_t(max<int64_t>(bytes, 0))))
    return false;
  Str held = text.str().drop(numShown);
  uint64_t end = held.size, hold = 0;
  for (uint32_t i = 0; i < numStops; ++i) {
    if (!stops[i].size)
      continue;
    uint64_t at = findText(held, stops[i]);
    stopped |= at < held.size;
    end = min(end, at);
    hold = max(hold, possibleBeginning(held, stops[i]));
  }
  if (!stopped)
    end -= hold;
  numShown += characterBoundary(held, end);
  if (stopped)
    text.size = numShown;
  return true;
}

bool AnswerText::add(int32_t token, bool &stopped) {
  return append(pare_tokenizer_stream_push(&stream, token,
                                           reinterpret_cast<char *>(piece.data),
                                           piece.size),
                stopped);
}

bool AnswerText::finish(bool &stopped) {
  if (!append(pare_tokenizer_stream_finish(
                  &stream, reinterpret_cast<char *>(piece.data), piece.size),
              stopped))
    return false;
  numShown = text.size;
  return true;
}
