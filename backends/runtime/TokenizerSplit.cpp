//===- TokenizerSplit.cpp - Pre-tokenizers of several steps ---------------===//
#include "backends/runtime/TokenizerPattern.h"
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

constexpr uint64_t maxSteps = 32;

/// Carries the pieces of one step on to the next.
class Splitter {
public:
  Splitter(Run &run, EncodeWord encode)
      : run(run), encode(encode),
        steps(reinterpret_cast<const PareTokenizerStep *>(
            run.tokenizer.sections[PARE_TOK_PRE].data)),
        count(run.tokenizer.sections[PARE_TOK_PRE].bytes /
              sizeof(PareTokenizerStep)) {}

  void apply(uint64_t index, Text text, bool atStart) {
    if (text.begin == text.end || run.sink.full())
      return;
    if (index == count)
      return encode(run, text);
    const PareTokenizerStep &step = steps[index];
    switch (step.op) {
    case PARE_PRE_OP_RULES:
      return wordsByRules(run, step.flags, text, [&](Text word) {
        apply(index + 1, word, atStart && word.begin == text.begin);
      });
    case PARE_PRE_OP_SPLIT:
      return split(index, text, atStart);
    case PARE_PRE_OP_PREFIX_SPACE:
      return prefixSpace(index, text, atStart);
    case PARE_PRE_OP_METASPACE:
      return metaspace(index, text, atStart);
    }
  }

private:
  void split(uint64_t index, Text text, bool atStart);
  void prefixSpace(uint64_t index, Text text, bool atStart);
  void metaspace(uint64_t index, Text text, bool atStart);

  Run &run;
  EncodeWord encode;
  const PareTokenizerStep *steps;
  uint64_t count;
};

/// Joins matches and the gaps between them into pieces as a behavior says.
template <typename Emit> class Joiner {
public:
  Joiner(uint32_t flags, Emit emit)
      : behavior(flags & PARE_SPLIT_BEHAVIOR),
        invert(flags & PARE_SPLIT_INVERT), emit(emit) {}

  void add(Text part, bool isMatch) {
    isMatch ^= invert;
    switch (behavior) {
    case PARE_SPLIT_REMOVED:
      if (!isMatch)
        emit(part);
      return;
    case PARE_SPLIT_CONTIGUOUS:
      return join(part, isMatch, isMatch == lastMatch);
    case PARE_SPLIT_WITH_PREVIOUS:
      return join(part, isMatch, isMatch && !lastMatch);
    case PARE_SPLIT_WITH_NEXT:
      return join(part, isMatch, !isMatch && lastMatch);
    default:
      return emit(part);
    }
  }
  void finish() {
    if (held.begin)
      emit(held);
  }

private:
  void join(Text part, bool isMatch, bool joins) {
    if (held.begin && joins) {
      held.end = part.end;
    } else {
      finish();
      held = part;
    }
    lastMatch = isMatch;
  }

  uint32_t behavior;
  bool invert;
  Emit emit;
  Text held = {nullptr, nullptr};
  bool lastMatch = false;
};

void Splitter::split(uint64_t index, Text text, bool atStart) {
  const PareTokenizerStep &step = steps[index];
  const Pattern pattern(run.tokenizer, step.pattern,
                        step.flags & PARE_SPLIT_BYTES);
  auto emit = [&](Text part) {
    apply(index + 1, part, atStart && part.begin == text.begin);
  };
  Joiner<decltype(emit)> joiner(step.flags, emit);
  const uint8_t *gap = text.begin;
  auto endGap = [&](const uint8_t *end) {
    if (gap < end)
      joiner.add({gap, end}, false);
    gap = end;
  };
  for (const uint8_t *p = text.begin; p < text.end && !run.sink.full();) {
    const uint8_t *end = pattern.match({p, text.end});
    if (!end) {
      p += pattern.unit(p, text.end);
    } else if (end == p) { // an empty match divides, and takes nothing
      endGap(p);
      p += pattern.unit(p, text.end);
    } else {
      endGap(p);
      joiner.add({p, end}, true);
      gap = p = end;
    }
  }
  endGap(text.end);
  joiner.finish();
}

void Splitter::prefixSpace(uint64_t index, Text text, bool atStart) {
  if (*text.begin == ' ')
    return apply(index + 1, text, atStart);
  Buffer copy;
  copy.push(' ');
  copy.append(text.begin, text.size());
  run.work.note(copy);
  apply(index + 1, copy.text(), atStart);
}

void Splitter::metaspace(uint64_t index, Text text, bool atStart) {
  const PareTokenizerStep &step = steps[index];
  const Text mark = stringAt(run.tokenizer, step.string);
  auto starts = [&](Text rest) {
    return rest.size() >= mark.size() &&
           memcmp(rest.begin, mark.begin, mark.size()) == 0;
  };
  if (mark.size() == 0)
    return;
  Buffer copy;
  const bool prepends = step.flags & PARE_META_ALWAYS ||
                        (step.flags & PARE_META_FIRST && atStart);
  if (prepends && *text.begin != ' ' && !starts(text))
    copy.append(mark.begin, mark.size());
  for (const uint8_t *p = text.begin; p < text.end; ++p) {
    if (*p == ' ')
      copy.append(mark.begin, mark.size());
    else
      copy.push(*p);
  }
  run.work.note(copy);
  const Text all = copy.text();
  const uint8_t *piece = all.begin;
  for (const uint8_t *p = all.begin;
       step.flags & PARE_META_SPLIT && p < all.end;)
    if (starts({p, all.end})) {
      apply(index + 1, {piece, p}, atStart && piece == all.begin);
      piece = p;
      p += mark.size();
    } else {
      ++p;
    }
  apply(index + 1, {piece, all.end}, atStart && piece == all.begin);
}

bool check(const PareTokenizer &t) {
  const auto &section = t.sections[PARE_TOK_PRE];
  const auto *steps = reinterpret_cast<const PareTokenizerStep *>(section.data);
  const uint64_t count = section.bytes / sizeof(PareTokenizerStep);
  if (count > maxSteps)
    return false;
  for (uint64_t i = 0; i < count; ++i) {
    const PareTokenizerStep &step = steps[i];
    if (step.op < PARE_PRE_OP_RULES || step.op > PARE_PRE_OP_METASPACE ||
        (step.op == PARE_PRE_OP_RULES && !t.sections[PARE_TOK_CLASSES].data) ||
        (step.op == PARE_PRE_OP_SPLIT && !Pattern::check(t, step.pattern)))
      return false;
  }
  return true;
}

void split(Run &run, Text text, bool atStart, EncodeWord encode) {
  Splitter(run, encode).apply(0, text, atStart);
}

} // namespace
} // namespace pare::rt::tok

PARE_TOKENIZER_PART const PareTokenizerSplitPart pare_tokenizer_split = {
    pare::rt::tok::check, pare::rt::tok::split};
