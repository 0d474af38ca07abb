//===- ModelTest.cpp - BPE, unigram and the decoder -----------------------===//
//
// Equality with the libraries is tests/e2e/tokenizer_families_oracle.py's;
// here are the rules that a reader should find by name, and bad input.
//
//===----------------------------------------------------------------------===//
#include "Sample.h"
#include "backends/runtime/TokenizerDecode.h"
#include "frontend/tokenizer/Gguf.h"

#include "llvm/ADT/StringExtras.h"

#include <random>

using namespace pare::tokenizer;
using namespace pare::tokenizer::test;

namespace {

/// A byte-level BPE of a few tokens.
Sample bpe() {
  Sample sample;
  sample.normalizer = "null";
  sample.postProcessor = "null";
  sample.preTokenizer = R"({"type":"ByteLevel","add_prefix_space":false})";
  sample.added = R"([{"id":10,"content":"<end>","special":true}])";
  sample.vocab = R"({"a":0,"b":1,"c":2,"\u0120":3,"ab":4,"abc":5,"\u0120a":6,
                     "bc":7,"\u00c3":8,"\u00a9":9,"<end>":10})";
  sample.model = R"("type":"BPE","merges":[["a","b"],["b","c"],["ab","c"],
                    ["\u0120","a"]])";
  sample.decoder = R"({"type":"ByteLevel"})";
  return sample;
}

std::vector<uint8_t> decodingTable(const Sample &sample) {
  llvm::Expected<Description> d = readTokenizerJson(sample.json(), "t.json");
  EXPECT_TRUE(bool(d)) << llvm::toString(d.takeError());
  return llvm::cantFail(writeTable(*d, "t.json", {/*decodes=*/true}));
}

std::string errorOf(llvm::StringRef json) {
  llvm::Expected<Description> d = readTokenizerJson(json, "t.json");
  if (!d)
    return llvm::toString(d.takeError());
  auto table = writeTable(*d, "t.json", {/*decodes=*/true});
  return table ? "" : llvm::toString(table.takeError());
}

/// Whole text, and what each token of the stream gave.
std::pair<std::string, std::vector<std::string>>
decode(const std::vector<uint8_t> &table, const Ids &ids, uint32_t flags = 0) {
  PareTokenizer tokenizer;
  EXPECT_EQ(pare_tokenizer_open(table.data(), table.size(), &tokenizer), 0);
  std::string text(size_t(pare_tokenizer_decode(&tokenizer, ids.data(),
                                                ids.size(), nullptr, 0, flags)),
                   0);
  pare_tokenizer_decode(&tokenizer, ids.data(), ids.size(), text.data(),
                        text.size(), flags);
  std::vector<std::string> parts;
  PareTokenizerStream stream;
  pare_tokenizer_stream_begin(&stream, &tokenizer, flags);
  std::string buffer(pare_tokenizer_stream_capacity(&tokenizer), 0);
  for (int32_t id : ids)
    parts.push_back(
        buffer.substr(0, size_t(pare_tokenizer_stream_push(
                             &stream, id, buffer.data(), buffer.size()))));
  parts.push_back(
      buffer.substr(0, size_t(pare_tokenizer_stream_finish(
                           &stream, buffer.data(), buffer.size()))));
  return {text, parts};
}

TEST(TokenizerBpe, MergesByRank) {
  const auto table = tableOf(bpe());
  EXPECT_EQ(encode(table, "abc"), (Ids{5}));
  EXPECT_EQ(encode(table, "bc a"), (Ids{7, 6}));
  EXPECT_EQ(encode(table, "aab"), (Ids{0, 4}));
  EXPECT_EQ(encode(table, "a<end>b"), (Ids{0, 10, 1}));
  EXPECT_EQ(encode(table, "a<end>b", 64, PARE_TOKENIZER_PLAIN),
            (Ids{0, 1})); // no unknown token: other bytes give nothing
  EXPECT_EQ(encode(table, "\u00e9"), (Ids{8, 9}));
}

TEST(TokenizerBpe, LongWordsAsShortOnes) {
  const auto table = tableOf(bpe());
  std::string word;
  Ids expected;
  for (int i = 0; i < 20000; ++i) {
    word += "abcab";
    expected.insert(expected.end(), {5, 4});
  }
  EXPECT_EQ(encode(table, word, 50000), expected);
}

TEST(TokenizerBpe, StreamsWholeCharacters) {
  const auto table = decodingTable(bpe());
  auto [text, parts] = decode(table, {5, 8, 9, 6, 8, 0, 10, 99});
  EXPECT_EQ(text, "abc\u00e9 a\ufffda<end>");
  EXPECT_EQ(parts, (std::vector<std::string>{"abc", "", "\u00e9", " a", "",
                                             "\ufffda", "<end>", "", ""}));
  EXPECT_EQ(decode(table, {8}).second,
            (std::vector<std::string>{"", "\ufffd"}));
  EXPECT_EQ(decode(table, {0, 10}, PARE_TOKENIZER_SKIP_SPECIAL).first, "a");
}

TEST(TokenizerBpe, RefusesBadMerges) {
  auto expect = [](auto change, const char *part) {
    Sample sample = bpe();
    change(sample);
    std::string error = errorOf(sample.json());
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  };
  auto merges = [](const char *list) {
    return [list](Sample &s) {
      s.model = R"("type":"BPE","merges":)" + std::string(list);
    };
  };
  expect(merges(R"([["a","x"]])"), "model.merges[0]: token 'x' is not in");
  expect(merges(R"([["a","c"]])"), "model.merges[0]: token 'ac' is not in");
  expect(merges(R"(["a b","a"])"), "model.merges[1]: not two tokens");
  expect(merges(R"(["a b c"])"), "model.merges[0]: not two tokens");
  expect(merges(R"([["a",""]])"), "model.merges[0]: not two tokens");
  expect(merges(R"([3])"), "model.merges[0]: not two tokens");
  expect(merges("{}"), "model.merges: not a list");
  expect([](Sample &s) { s.model += R"(,"unk_token":"?")"; },
         "model.unk_token: '?' is not in the vocabulary");
  expect([](Sample &s) { s.decoder = R"({"type":"CTC"})"; },
         "decoder: CTC is not supported");
  expect(
      [](Sample &s) {
        s.preTokenizer = R"({"type":"Split","behavior":"Isolated",
                             "invert":false,"pattern":{"Regex":"(?<=a)b"}})";
      },
      "pattern '(?<=a)b': group '(?<' is not supported");
}

TEST(TokenizerUnigram, TakesTheLikeliest) {
  Sample sample;
  sample.normalizer = sample.postProcessor = sample.preTokenizer = "null";
  sample.added = "[]";
  sample.model = R"("type":"Unigram","unk_id":0)";
  sample.vocab = R"([["<unk>",0],["a",-2],["b",-2],["ab",-3],["ba",-2.5],
                     ["aba",-7]])";
  const auto table = tableOf(sample);
  EXPECT_EQ(encode(table, "ab"), (Ids{3}));
  EXPECT_EQ(encode(table, "aba"), (Ids{1, 4}));
  EXPECT_EQ(encode(table, "a\u00e9\u00e9b"), (Ids{1, 0, 2}));
  sample.vocab = R"([["<unk>",0],["a","x"]])";
  EXPECT_NE(errorOf(sample.json()).find("model.vocab[1]: not a token with"),
            std::string::npos);
  sample.vocab = R"([["a",0],["a",1]])";
  EXPECT_NE(errorOf(sample.json()).find("token 'a' occurs twice"),
            std::string::npos);
  sample.vocab = "[]";
  EXPECT_NE(errorOf(sample.json()).find("unk_id: 0 is beyond"),
            std::string::npos);
}

TEST(TokenizerGguf, RefusesContradictions) {
  GgufVocabulary good;
  good.model = "gpt2";
  good.pre = "gpt-2";
  good.tokens = {"a", "b", "ab"};
  good.merges = {"a b"};
  auto error = [](const GgufVocabulary &v) {
    auto d = readGgufVocabulary(v, "m.gguf");
    return d ? std::string() : llvm::toString(d.takeError());
  };
  EXPECT_EQ(error(good), "");
  auto expect = [&](auto change, const char *message) {
    GgufVocabulary v = good;
    change(v);
    EXPECT_EQ(error(v), std::string("m.gguf: ") + message);
  };
  expect([](auto &v) { v.tokens.clear(); },
         "tokenizer.ggml.tokens: missing or empty");
  expect([](auto &v) { v.scores = {1}; },
         "tokenizer.ggml.scores: 1 for 3 tokens");
  expect([](auto &v) { v.types = {1, 1}; },
         "tokenizer.ggml.token_type: 2 for 3 tokens");
  expect([](auto &v) { v.bos = 3; },
         "tokenizer.ggml.bos_token_id: 3 is beyond the 3 tokens");
  expect([](auto &v) { v.pre = "new"; },
         "tokenizer.ggml.pre: 'new' is not known");
  expect([](auto &v) { v.model = "rwkv"; },
         "tokenizer.ggml.model: 'rwkv' is not supported; supported: gpt2, "
         "llama, t5, bert");
  expect([](auto &v) { v.merges = {"a c"}; },
         "tokenizer.ggml.merges[0]: token 'c' is not in the vocabulary");
  expect([](auto &v) { v.merges = {"ab"}; },
         "tokenizer.ggml.merges[0]: not two tokens");
  expect([](auto &v) { v.tokens[1] = "a"; },
         "model.vocab: token 'a' occurs twice");
  expect([](auto &v) { v.tokens[1] = "\xff"; },
         "tokenizer.ggml.tokens[1]: not valid UTF-8");
}

TEST(TokenizerGguf, KnowsEveryPattern) {
  for (const char *pre :
       {"", "default", "gpt-2", "llama-bpe", "qwen2", "qwen35", "smollm",
        "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "bloom",
        "viking", "tekken", "gpt-4o", "kimi-k2", "bailingmoe", "seed-coder"}) {
    auto steps = ggufPreTokenizer(pre);
    ASSERT_TRUE(steps) << pre;
    for (const Step &step : steps->preTokenizer)
      EXPECT_TRUE(bool(compileRegex(step.pattern))) << pre;
  }
}

/// A .model of a few pieces: {text, score, type}.
std::string sentencePieceFile(bool isUnigram) {
  auto field = [](unsigned number, llvm::StringRef bytes) {
    return std::string(1, char(number << 3 | 2)) +
           std::string(1, char(bytes.size())) + bytes.str();
  };
  auto piece = [&](llvm::StringRef text, float score, char type) {
    std::string body = field(1, text) + "\x15";
    body.append(reinterpret_cast<const char *>(&score), 4);
    return field(1, body + '\x18' + type);
  };
  std::string trainer = std::string("\x18") + (isUnigram ? '\1' : '\2');
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("\u2581", -2, 1) +
         piece("a", -3, 1) + piece("\u2581a", -1, 1) + piece("b", -4, 1) +
         piece("ab", -2, 1) + piece("<x>", 0, 4) + field(2, trainer) +
         field(3, std::string("\x18\1\x20\1\x28\1", 6));
}

std::string sentencePieceError(llvm::StringRef file) {
  auto d = readSentencePiece(file, "t.model", "", "");
  if (!d)
    return llvm::toString(d.takeError());
  auto table = writeTable(*d, "t.model", {/*decodes=*/true});
  return table ? "" : llvm::toString(table.takeError());
}

TEST(TokenizerSentencePiece, EncodesAndDecodes) {
  for (bool isUnigram : {false, true}) {
    auto d = readSentencePiece(sentencePieceFile(isUnigram), "t.model", "", "");
    ASSERT_TRUE(bool(d)) << llvm::toString(d.takeError());
    auto table = llvm::cantFail(writeTable(*d, "t.model", {true}));
    EXPECT_EQ(encode(table, " a  ab<x>b "),
              isUnigram ? (Ids{4, 2, 6, 7, 5}) : (Ids{4, 4, 5, 7, 5}));
    EXPECT_EQ(encode(table, "zz"), (Ids{2, 0}));
    EXPECT_EQ(encode(table, "<s>a"), (Ids{1, 4}));
    EXPECT_EQ(decode(table, {4, 4, 5}).first, "a ab");
    EXPECT_EQ(decode(table, {2, 4, 0}).first, "a \u2047 ");
  }
}

TEST(TokenizerSentencePiece, RefusesDamage) {
  const std::string file = sentencePieceFile(true);
  EXPECT_EQ(sentencePieceError(file), "");
  EXPECT_EQ(sentencePieceError(""), "t.model: has no pieces; is this a "
                                    "sentencepiece model?");
  unsigned errors = 0;
  for (size_t n = 0; n < file.size(); ++n) {
    std::string error = sentencePieceError(llvm::StringRef(file).take_front(n));
    errors += !error.empty();
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
  EXPECT_GT(errors, file.size() / 2);
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = file;
    for (int change = 0; change < 3; ++change)
      damaged[random() % damaged.size()] ^= char(1 << random() % 8);
    std::string error = sentencePieceError(damaged);
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

/// What reads also encodes and decodes, whatever it says.
void use(const Description &d) {
  auto table = writeTable(d, "t", {/*decodes=*/true});
  if (!table)
    return llvm::consumeError(table.takeError());
  PareTokenizer tokenizer;
  ASSERT_EQ(pare_tokenizer_open(table->data(), table->size(), &tokenizer), 0);
  const llvm::StringRef text = "abc <end>\u00e9 ab\xff 12\n";
  Ids ids(16);
  int64_t n = pare_tokenizer_encode(&tokenizer, text.data(), text.size(),
                                    ids.data(), ids.size(), 0);
  if (n > 0)
    pare_tokenizer_decode(&tokenizer, ids.data(), uint64_t(n), nullptr, 0, 0);
}

TEST(TokenizerReader, SurvivesFlippedBits) {
  Sample rich = bpe();
  rich.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFKC"},
      {"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "},
      {"type":"Prepend","prepend":"a"},{"type":"Strip"}]})";
  rich.preTokenizer = R"({"type":"Sequence","pretokenizers":[
      {"type":"Digits","individual_digits":true},{"type":"Split","pattern":
      {"Regex":"(?i:'s)|[^\\r\\n\\p{L}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},
      "behavior":"Isolated","invert":false},{"type":"ByteLevel",
      "add_prefix_space":true,"use_regex":false}]})";
  const std::string json = rich.json();
  ASSERT_EQ(errorOf(json), "");
  std::mt19937 random(1);
  for (int round = 0; round < 1500; ++round) {
    std::string damaged = json;
    damaged[random() % damaged.size()] ^= char(1 << random() % 7);
    auto d = readTokenizerJson(damaged, "t.json");
    if (d)
      use(*d);
    else
      EXPECT_EQ(llvm::toString(d.takeError()).find('\n'), std::string::npos);
  }
}

TEST(TokenizerTable, DamagedModelsStayInside) {
  std::mt19937 random(1);
  for (bool scores : {false, true}) {
    std::vector<uint8_t> table = decodingTable(bpe());
    if (scores)
      table =
          llvm::cantFail(writeTable(llvm::cantFail(readSentencePiece(
                                        sentencePieceFile(false), "t", "", "")),
                                    "t", {true}));
    for (int round = 0; round < 4000; ++round) {
      std::unique_ptr<uint8_t[]> copy(new uint8_t[table.size()]);
      std::copy(table.begin(), table.end(), copy.get());
      for (int change = 0; change < 4; ++change)
        copy[random() % table.size()] ^= uint8_t(1 << random() % 8);
      PareTokenizer tokenizer;
      if (pare_tokenizer_open(copy.get(), table.size(), &tokenizer) != 0)
        continue;
      const llvm::StringRef text = "abc <end>\u00e9 ab\xff<x>";
      Ids ids(16);
      int64_t n = pare_tokenizer_encode(&tokenizer, text.data(), text.size(),
                                        ids.data(), ids.size(), 0);
      ASSERT_LE(n, int64_t(ids.size()));
      for (int64_t i = 0; i < n; ++i)
        pare_tokenizer_decode(&tokenizer, ids.data(), uint64_t(i), nullptr, 0,
                              0);
    }
  }
}

} // namespace
