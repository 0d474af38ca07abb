//===- RegexTest.cpp - Patterns and their automata ------------------------===//
#include "frontend/tokenizer/JsonReader.h"
#include "frontend/tokenizer/Utf8.h"

#include "gtest/gtest.h"

using namespace pare::tokenizer;

namespace {

/// The matches of `pattern` in `text` and what is between, with '|' between.
std::string divide(llvm::StringRef pattern, llvm::StringRef text) {
  llvm::Expected<RegexNode> node = parseRegex(pattern);
  if (!node)
    return llvm::toString(node.takeError());
  llvm::Expected<Automaton> automaton = compileRegex(*node);
  if (!automaton)
    return llvm::toString(automaton.takeError());
  std::string out;
  bool inGap = false;
  while (!text.empty()) {
    size_t n = automaton->match(text);
    if ((n || !inGap) && !out.empty())
      out += '|';
    inGap = n == 0;
    llvm::StringRef before = text;
    if (n)
      text = text.drop_front(n);
    else
      takeCodePoint(text);
    out += before.drop_back(text.size());
  }
  return out;
}

TEST(TokenizerRegex, SplitsLikeGpt2) {
  EXPECT_EQ(divide(gpt2Pattern, "I'm  here,\n 12x\u00e9 !?"),
            "I|'m| | here|,|\n| 12|x\u00e9| !?");
  EXPECT_EQ(divide(gpt2Pattern, "a   "), "a|   ");
  EXPECT_EQ(divide(gpt2Pattern, "a \u3000b"), "a| |\u3000|b");
}

TEST(TokenizerRegex, PrefersAsBacktrackingDoes) {
  EXPECT_EQ(divide("a|ab", "ab"), "a|b");
  EXPECT_EQ(divide("ab|a", "abac"), "ab|a|c");
  EXPECT_EQ(divide("a+?", "aaa"), "a|a|a");
  EXPECT_EQ(divide("a{2,3}", "aaaaa"), "aaa|aa");
  EXPECT_EQ(divide("a{,2}b", "aaab"), "a|aab");
  EXPECT_EQ(divide("(?:a|b)*c", "abacabx"), "abac|abx");
  EXPECT_EQ(divide("a(?=b)", "abac"), "a|bac");
  EXPECT_EQ(divide("a(?!b)", "abaca"), "ab|a|c|a");
  EXPECT_EQ(divide(" +$", "a  b  "), "a  b|  ");
}

TEST(TokenizerRegex, Classes) {
  EXPECT_EQ(divide("[a-c\\-]+", "ab-cd"), "ab-c|d");
  EXPECT_EQ(divide("[^a-c]+", "abxyc"), "ab|xy|c");
  EXPECT_EQ(divide("[\\p{L}&&[^\\p{Han}]]+", "a\u4e00b"), "a|\u4e00|b");
  EXPECT_EQ(divide("(?i:'s)", "'S'\u017f"), "'S|'\u017f");
  EXPECT_EQ(divide("\\p{N}{1,3}", "12345"), "123|45");
  EXPECT_EQ(divide("[\\u4e00-\\u4e01\\x41]+", "\u4e00A\u4e02"),
            "\u4e00A|\u4e02");
  EXPECT_EQ(divide("\\p{^L}+", "ab12"), "ab|12");
  EXPECT_EQ(divide("[^\\s]++", "ab c"), "ab| |c");
}

TEST(TokenizerRegex, SaysWhatItDoesNotSupport) {
  EXPECT_EQ(divide("(?<=a)b", ""), "group '(?<' is not supported");
  EXPECT_EQ(divide("a(?=bc)", ""),
            "a lookahead for more than one character is not supported");
  EXPECT_EQ(divide("(a", ""), "'(' without ')'");
  EXPECT_EQ(divide("a)", ""), "unbalanced ')'");
  EXPECT_EQ(divide("[a", ""), "'[' without ']'");
  EXPECT_EQ(divide("*", ""), "a quantifier after nothing");
  EXPECT_EQ(divide("\\p{Xx}", ""), "property 'Xx' is not supported");
  EXPECT_EQ(divide("\\", ""), "'\\' at the end");
  EXPECT_EQ(divide("\\1", ""), "escape '\\1' is not supported");
  EXPECT_EQ(divide("a{5000}", ""), "more than 1000 repetitions");
  EXPECT_EQ(divide("(?:a{1000}){1000}", "a"), "too large");
  EXPECT_NE(divide("a++a", "a").find("possessive"), std::string::npos);
  EXPECT_EQ(divide(std::string(100, '('), ""), "groups nested deeper than 64");
}

} // namespace
