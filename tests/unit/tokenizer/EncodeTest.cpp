//===- EncodeTest.cpp - Text to ids ---------------------------------------===//
//
// Equality with the `tokenizers` library is tests/e2e/tokenizer_oracle.py's;
// here are the rules that a reader should find by name.
//
//===----------------------------------------------------------------------===//
#include "Sample.h"

using namespace pare::tokenizer;
using namespace pare::tokenizer::test;

namespace {

TEST(TokenizerEncode, LongestPieceFirst) {
  const auto table = tableOf(Sample());
  EXPECT_EQ(encode(table, ""), (Ids{2, 3}));
  EXPECT_EQ(encode(table, "unable"), (Ids{2, 4, 5, 3}));
  EXPECT_EQ(encode(table, " UNas\tis! "), (Ids{2, 4, 6, 10, 9, 10, 8, 3}));
}

TEST(TokenizerEncode, UnknownWords) {
  const auto table = tableOf(Sample());
  EXPECT_EQ(encode(table, "unq is"), (Ids{2, 1, 9, 10, 3}));
  EXPECT_EQ(encode(table, "unasasas"), (Ids{2, 4, 6, 10, 6, 10, 6, 10, 3}));
  EXPECT_EQ(encode(table, "unasasass"), (Ids{2, 1, 3})); // 9 characters
}

TEST(TokenizerEncode, NormalizesLikeBert) {
  const auto table = tableOf(Sample());
  EXPECT_EQ(encode(table, "CAF\u00c9 cafe\u0301"), (Ids{2, 7, 7, 3}));
  EXPECT_EQ(encode(table, "x\u4e2dx"), (Ids{2, 17, 11, 17, 3}));
  EXPECT_EQ(encode(table, llvm::StringRef("u\u200bn\0able", 10)),
            (Ids{2, 4, 5, 3}));
  EXPECT_EQ(encode(table, "\uac00"), (Ids{2, 15, 3})); // decomposed Hangul
}

TEST(TokenizerEncode, ComposesToNfc) {
  Sample sample;
  sample.normalizer = R"({"type":"NFC"})";
  const auto table = tableOf(sample);
  EXPECT_EQ(encode(table, "cafe\u0301"), (Ids{2, 16, 3}));
  EXPECT_EQ(encode(table, "\u1100\u1161"), (Ids{2, 14, 3}));
}

TEST(TokenizerEncode, SpecialTokensInText) {
  const auto table = tableOf(Sample());
  EXPECT_EQ(encode(table, "un[SEP]is"), (Ids{2, 4, 3, 9, 10, 3}));
  EXPECT_EQ(encode(table, "[sep]"), (Ids{2, 12, 1, 13, 3}));
  EXPECT_EQ(encode(table, "[SEP]", 64, PARE_TOKENIZER_NO_SPECIAL), (Ids{3}));
}

TEST(TokenizerEncode, AddedTokenFlags) {
  Sample sample;
  sample.preTokenizer = R"({"type":"Punctuation"})"; // spaces count
  sample.added = R"([{"id":19,"content":"Tok","single_word":true},
                     {"id":20,"content":"<l>","lstrip":true},
                     {"id":21,"content":"<r>","rstrip":true},
                     {"id":22,"content":"RAW","normalized":false}])";
  const auto table = tableOf(sample);
  EXPECT_EQ(encode(table, "tOK"), (Ids{2, 19, 3}));
  EXPECT_EQ(encode(table, "x tok"), (Ids{2, 1, 19, 3})); // "x " is unknown
  EXPECT_EQ(encode(table, "xtok"), (Ids{2, 1, 3}));
  EXPECT_EQ(encode(table, "x  <l>"), (Ids{2, 17, 20, 3}));
  EXPECT_EQ(encode(table, "<r>  x"), (Ids{2, 21, 17, 3}));
  EXPECT_EQ(encode(table, "<r>  <l>x"), (Ids{2, 21, 20, 17, 3}));
  EXPECT_EQ(encode(table, "RAWx"), (Ids{2, 22, 17, 3}));
  EXPECT_EQ(encode(table, "rawx"), (Ids{2, 1, 3}));
}

TEST(TokenizerEncode, Truncates) {
  Sample sample;
  auto table = tableOf(sample);
  EXPECT_EQ(encode(table, "un is x", 6), (Ids{2, 4, 9, 10, 17, 3}));
  EXPECT_EQ(encode(table, "un is x", 5), (Ids{2, 4, 9, 10, 3}));
  EXPECT_EQ(encode(table, "un is x", 2), (Ids{2, 3}));
  EXPECT_EQ(encode(table, "un is x", 1), (Ids{PARE_TOKENIZER_E_CAPACITY}));
  EXPECT_EQ(encode(table, "un is x", 1, PARE_TOKENIZER_NO_SPECIAL), (Ids{4}));
  // A word that turns out unknown leaves no pieces behind.
  EXPECT_EQ(encode(table, "unasq", 4), (Ids{2, 1, 3}));

  sample.truncation = R"({"direction":"Left","max_length":8,"stride":0,
                          "strategy":"LongestFirst"})";
  table = tableOf(sample);
  EXPECT_EQ(encode(table, "un is x", 4), (Ids{2, 10, 17, 3}));
  EXPECT_EQ(encode(table, "un is unasq", 4), (Ids{2, 10, 1, 3}));
}

TEST(TokenizerEncode, CountsWithoutABuffer) {
  const auto table = tableOf(Sample());
  PareTokenizer tokenizer;
  ASSERT_EQ(pare_tokenizer_open(table.data(), table.size(), &tokenizer), 0);
  EXPECT_EQ(pare_tokenizer_encode(&tokenizer, "un is", 5, nullptr, 0, 0), 5);
  EXPECT_EQ(pare_tokenizer_encode(&tokenizer, "un is", 5, nullptr, 0,
                                  PARE_TOKENIZER_NO_SPECIAL),
            3);
}

TEST(TokenizerEncode, BrokenUtf8ReadsAsReplacementCharacters) {
  Sample sample;
  sample.normalizer = "null";
  sample.preTokenizer = "null";
  sample.vocab = R"({"[UNK]":0,"\ufffd":1,"##\ufffd":2,"x":3,"##x":4})";
  sample.added = "[]";
  sample.postProcessor = "null";
  const auto table = tableOf(sample);
  EXPECT_EQ(encode(table, "\xff"), (Ids{1}));
  EXPECT_EQ(encode(table, "x\xe2\x82x"), (Ids{3, 2, 4})); // cut short: one
  EXPECT_EQ(encode(table, "x\xed\xa0\x80"), (Ids{3, 2, 2, 2})); // surrogate
  EXPECT_EQ(encode(table, "\xc0\x80"), (Ids{1, 2}));            // overlong
  EXPECT_EQ(encode(table, "\xf4\x90\x80\x80"), (Ids{1, 2, 2, 2}));
  EXPECT_EQ(encode(table, "\xf0\x9f\x98"), (Ids{1}));
}

TEST(TokenizerEncode, HostileLengthsStayLinear) {
  const auto table = tableOf(Sample());
  std::string marks = "x";
  for (int i = 0; i < 200000; ++i)
    marks += "\u0301\u0323";
  EXPECT_EQ(encode(table, marks), (Ids{2, 17, 3}));
  EXPECT_EQ(encode(table, std::string(4 << 20, 'x')), (Ids{2, 1, 3}));
  EXPECT_EQ(encode(table, std::string(4 << 20, '[')).size(), 64u);
  EXPECT_EQ(encode(table, std::string(4 << 20, ' ')), (Ids{2, 3}));
}

} // namespace
