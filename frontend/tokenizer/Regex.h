//===- Regex.h - Regular expressions to automata ----------------*- C++ -*-===//
//
// The subset of Oniguruma's syntax that tokenizers use, without backtracking:
// literals, classes with ranges, properties, nested classes and
// intersections, groups, `(?i:…)`, alternation, greedy, lazy and (where that
// changes nothing) possessive quantifiers, and lookahead for one character
// or the end of the text.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_TOKENIZER_REGEX_H
#define PARE_FRONTEND_TOKENIZER_REGEX_H

#include "frontend/tokenizer/CharSet.h"

#include "llvm/Support/Error.h"

#include <memory>
#include <vector>

namespace pare::tokenizer {

/// A parsed regular expression.
struct RegexNode {
  enum Kind {
    Set,       ///< one code point of `set`
    Sequence,  ///< `children` one after the other; empty matches nothing
    Choice,    ///< the first of `children` that lets the whole match
    Repeat,    ///< children[0], `min` to `max` times
    LookAhead, ///< next is a code point of `set`, or the end if `atEnd`
  };
  static constexpr unsigned unbounded = ~0u;

  Kind kind = Sequence;
  CharSet set;
  bool atEnd = false;
  std::vector<RegexNode> children;
  unsigned min = 1, max = 1;
  bool lazy = false, possessive = false;

  static RegexNode makeSet(CharSet set);
  static RegexNode makeLookAhead(CharSet set, bool atEnd);
};

/// Parses `pattern`, valid UTF-8. The error says what is not supported, in
/// words that fit behind "pattern '…': ".
llvm::Expected<RegexNode> parseRegex(llvm::StringRef pattern);

/// The expression that matches `text` itself.
RegexNode literalRegex(llvm::StringRef text);

/// One pattern of PARE_TOK_PATTERNS before it is laid out.
struct Automaton {
  uint32_t numStates = 0, numClasses = 0;
  std::vector<uint32_t> classRuns; ///< first code point << 8 | class
  std::vector<uint16_t> next;      ///< [numStates][numClasses]

  uint8_t classOf(uint32_t codePoint) const;
  /// Bytes of the match that starts with `text`; 0 where there is none, or
  /// an empty one.
  size_t match(llvm::StringRef text) const;
};

/// The leftmost-first automaton of `regex` by the subset construction on
/// ordered lists of threads (Cox, "Regular expression matching in the wild",
/// 2010), one code point late, which is what lookahead needs. Fails for
/// expressions whose automaton is too large.
llvm::Expected<Automaton> compileRegex(const RegexNode &regex);

} // namespace pare::tokenizer

#endif
