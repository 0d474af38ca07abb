//===- RegexAutomaton.cpp - From expression to automaton ------------------===//
#include "frontend/tokenizer/Format.h"
#include "frontend/tokenizer/Regex.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <map>

using namespace llvm;

namespace pare::tokenizer {
namespace {

constexpr size_t maxInstructions = 20000, maxStates = 8000, maxClasses = 255;

Error tooLarge() {
  return createStringError(inconvertibleErrorCode(), "too large");
}

/// Does `node` match the empty text?
bool isNullable(const RegexNode &node) {
  switch (node.kind) {
  case RegexNode::Set:
    return false;
  case RegexNode::Sequence:
    return llvm::all_of(node.children, isNullable);
  case RegexNode::Choice:
    return llvm::any_of(node.children, isNullable);
  case RegexNode::Repeat:
    return node.min == 0 || isNullable(node.children[0]);
  case RegexNode::LookAhead:
    return true;
  }
  return true;
}

/// Code points that a match of `node` can begin with.
CharSet firstSet(const RegexNode &node) {
  if (node.kind == RegexNode::Set)
    return node.set;
  CharSet out;
  for (const RegexNode &child : node.children) {
    out.add(firstSet(child));
    if (node.kind == RegexNode::Sequence && !isNullable(child))
      break;
  }
  return out;
}

/// A possessive repetition is a greedy one where giving back a character
/// could not help: what follows it never begins as the repeated does.
Error checkPossessive(const RegexNode &node, const CharSet &follow) {
  if (node.kind == RegexNode::Repeat && node.possessive &&
      firstSet(node.children[0]).intersects(follow))
    return createStringError(inconvertibleErrorCode(),
                             "a possessive quantifier before characters that "
                             "it takes itself is not supported");
  if (node.kind == RegexNode::Sequence) {
    CharSet after = follow;
    for (const RegexNode &child : llvm::reverse(node.children)) {
      if (Error error = checkPossessive(child, after))
        return error;
      if (!isNullable(child))
        after = {};
      after.add(firstSet(child));
    }
    return Error::success();
  }
  CharSet after = follow;
  if (node.kind == RegexNode::Repeat && node.max > 1)
    after.add(firstSet(node.children[0]));
  for (const RegexNode &child : node.children)
    if (Error error = checkPossessive(child, after))
      return error;
  return Error::success();
}

/// The expression as a program of threads.
struct Instruction {
  enum Kind { Take, Split, Look, Match } kind;
  uint32_t set = 0;             ///< Take, Look: index in Program::sets
  bool atEnd = false;           ///< Look
  uint32_t next = 0, other = 0; ///< Split prefers `next`
};

class Program {
public:
  std::vector<Instruction> code;
  std::vector<CharSet> sets;
  uint32_t start = 0;
  bool overflow = false;

  explicit Program(const RegexNode &regex) {
    uint32_t match = add({Instruction::Match});
    start = build(regex, match);
  }

private:
  uint32_t add(Instruction instruction) {
    if (code.size() >= maxInstructions) {
      overflow = true;
      return 0;
    }
    code.push_back(instruction);
    return uint32_t(code.size() - 1);
  }

  uint32_t addSet(const CharSet &set) {
    sets.push_back(set);
    return uint32_t(sets.size() - 1);
  }

  /// Code for `node` that goes on at `next`; returns where it starts.
  uint32_t build(const RegexNode &node, uint32_t next) {
    if (overflow)
      return 0;
    switch (node.kind) {
    case RegexNode::Set:
      return add({Instruction::Take, addSet(node.set), false, next, 0});
    case RegexNode::LookAhead:
      return add({Instruction::Look, addSet(node.set), node.atEnd, next, 0});
    case RegexNode::Sequence:
      for (const RegexNode &child : llvm::reverse(node.children))
        next = build(child, next);
      return next;
    case RegexNode::Choice: {
      uint32_t at = build(node.children.back(), next);
      for (size_t i = node.children.size() - 1; i-- > 0;) {
        uint32_t preferred = build(node.children[i], next);
        at = add({Instruction::Split, 0, false, preferred, at});
      }
      return at;
    }
    case RegexNode::Repeat:
      return buildRepeat(node, next);
    }
    return next;
  }

  uint32_t split(const RegexNode &node, uint32_t body, uint32_t skip) {
    if (node.lazy)
      std::swap(body, skip);
    return add({Instruction::Split, 0, false, body, skip});
  }

  uint32_t buildRepeat(const RegexNode &node, uint32_t next) {
    const RegexNode &child = node.children[0];
    if (node.max == RegexNode::unbounded) {
      uint32_t loop = add({Instruction::Split, 0, false, next, next});
      uint32_t body = build(child, loop);
      if (overflow)
        return 0;
      code[loop].next = node.lazy ? next : body;
      code[loop].other = node.lazy ? body : next;
      next = loop;
    } else {
      const uint32_t out = next;
      for (unsigned i = node.min; i < node.max && !overflow; ++i)
        next = split(node, build(child, next), out);
    }
    for (unsigned i = 0; i < node.min && !overflow; ++i)
      next = build(child, next);
    return next;
  }
};

/// Divides the code points into classes that no set of `program` tells apart.
class Classes {
public:
  std::vector<uint32_t> runs;     ///< first << 8 | class
  std::vector<BitVector> members; ///< of each set: its classes
  uint32_t count = 0;

  explicit Classes(const Program &program) : members(program.sets.size()) {
    std::vector<uint32_t> starts = {0};
    for (const CharSet &set : program.sets)
      for (auto [first, last] : set.getRanges()) {
        starts.push_back(first);
        starts.push_back(last + 1);
      }
    llvm::sort(starts);
    starts.erase(llvm::unique(starts), starts.end());
    std::map<std::vector<bool>, uint32_t> known;
    std::vector<size_t> at(program.sets.size(), 0);
    for (uint32_t start : starts) {
      if (start > 0x10ffff)
        break;
      std::vector<bool> signature;
      for (size_t i = 0; i < program.sets.size(); ++i) {
        ArrayRef<CharSet::Range> ranges = program.sets[i].getRanges();
        while (at[i] < ranges.size() && ranges[at[i]].last < start)
          ++at[i];
        signature.push_back(at[i] < ranges.size() &&
                            ranges[at[i]].first <= start);
      }
      auto [entry, isNew] = known.try_emplace(signature, count);
      if (isNew) {
        for (size_t i = 0; i < signature.size(); ++i) {
          members[i].resize(count + 1);
          if (signature[i])
            members[i].set(count);
        }
        ++count;
      }
      if (count > maxClasses)
        return;
      if (runs.empty() || (runs.back() & 0xff) != entry->second)
        runs.push_back(start << 8 | entry->second);
    }
  }
};

class Builder {
public:
  Builder(const Program &program, const Classes &classes)
      : program(program), classes(classes) {}

  Expected<Automaton> build() {
    Automaton out;
    out.numClasses = classes.count + 1;
    out.classRuns = classes.runs;
    stateOf({program.start});
    for (size_t state = 0; state < lists.size(); ++state) {
      if (lists.size() > maxStates)
        return tooLarge();
      for (uint32_t c = 0; c <= classes.count; ++c)
        out.next.push_back(advance(*lists[state], c));
    }
    out.numStates = uint32_t(lists.size());
    return out;
  }

private:
  uint16_t stateOf(const std::vector<uint32_t> &list) {
    if (list.empty())
      return PARE_PATTERN_DEAD;
    auto [entry, isNew] = states.try_emplace(list, lists.size());
    if (isNew)
      lists.push_back(&entry->first);
    return uint16_t(std::min<size_t>(entry->second, maxStates));
  }

  /// Where the threads of `list`, best first, are after a code point of class
  /// `c` (classes.count: the end of the text).
  uint16_t advance(const std::vector<uint32_t> &list, uint32_t c) {
    seen.assign(program.code.size(), false);
    std::vector<uint32_t> after;
    bool matched = false;
    std::vector<uint32_t> stack;
    for (uint32_t pc : llvm::reverse(list))
      stack.push_back(pc);
    while (!stack.empty() && !matched) {
      const uint32_t pc = stack.back();
      stack.pop_back();
      if (seen[pc])
        continue;
      seen[pc] = true;
      const Instruction &i = program.code[pc];
      const bool inside =
          c < classes.count &&
          (i.kind == Instruction::Take || i.kind == Instruction::Look) &&
          classes.members[i.set][c];
      switch (i.kind) {
      case Instruction::Split:
        stack.push_back(i.other);
        stack.push_back(i.next);
        break;
      case Instruction::Look:
        if (inside || (c == classes.count && i.atEnd))
          stack.push_back(i.next);
        break;
      case Instruction::Take:
        if (inside && !llvm::is_contained(after, i.next))
          after.push_back(i.next);
        break;
      case Instruction::Match: // the threads behind lose to this one
        matched = true;
        break;
      }
    }
    return uint16_t(stateOf(after) | (matched ? PARE_PATTERN_MATCH : 0));
  }

  const Program &program;
  const Classes &classes;
  std::map<std::vector<uint32_t>, size_t> states;
  std::vector<const std::vector<uint32_t> *> lists; ///< keys of `states`
  std::vector<bool> seen;
};

} // namespace

uint8_t Automaton::classOf(uint32_t codePoint) const {
  auto it = llvm::partition_point(
      classRuns, [&](uint32_t run) { return (run >> 8) <= codePoint; });
  return uint8_t(*std::prev(it));
}

size_t Automaton::match(StringRef text) const {
  size_t longest = 0;
  StringRef rest = text;
  for (uint32_t state = 0; state < numStates;) {
    const size_t here = text.size() - rest.size();
    const bool atEnd = rest.empty();
    const uint32_t kind = atEnd ? numClasses - 1 : classOf(takeCodePoint(rest));
    const uint16_t entry = next[state * numClasses + kind];
    if (entry & PARE_PATTERN_MATCH)
      longest = here;
    if (atEnd)
      break;
    state = entry & ~PARE_PATTERN_MATCH;
  }
  return longest;
}

Expected<Automaton> compileRegex(const RegexNode &regex) {
  if (Error error = checkPossessive(regex, {}))
    return std::move(error);
  Program program(regex);
  if (program.overflow)
    return tooLarge();
  Classes classes(program);
  if (classes.count > maxClasses)
    return tooLarge();
  return Builder(program, classes).build();
}

} // namespace pare::tokenizer
