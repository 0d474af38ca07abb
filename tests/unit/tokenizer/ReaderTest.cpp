//===- ReaderTest.cpp - What the readers accept and refuse ----------------===//
#include "Sample.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace pare::tokenizer;
using namespace pare::tokenizer::test;

namespace {

/// The error of reading and writing `json`, or empty.
std::string errorOf(llvm::StringRef json) {
  llvm::Expected<Description> description = readTokenizerJson(json, "t.json");
  if (!description)
    return llvm::toString(description.takeError());
  llvm::Expected<std::vector<uint8_t>> table =
      writeTable(*description, "t.json");
  return table ? "" : llvm::toString(table.takeError());
}

void expectError(llvm::StringRef json, llvm::StringRef part) {
  std::string error = errorOf(json);
  EXPECT_TRUE(llvm::StringRef(error).starts_with("t.json: ")) << error;
  EXPECT_NE(error.find(part.str()), std::string::npos)
      << "'" << error << "' lacks '" << part.str() << "'";
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
}

std::vector<uint32_t> operations(llvm::ArrayRef<Step> steps) {
  std::vector<uint32_t> ops;
  for (const Step &step : steps)
    ops.push_back(step.op);
  return ops;
}

TEST(TokenizerReader, ReadsEveryPart) {
  Sample sample;
  sample.truncation = R"({"direction":"Left","max_length":128,
                          "strategy":"LongestFirst","stride":0})";
  sample.padding = R"({"strategy":"BatchLongest","direction":"Left",
                       "pad_id":0,"pad_type_id":0,"pad_token":"[PAD]"})";
  llvm::Expected<Description> d = readTokenizerJson(sample.json(), "t.json");
  ASSERT_TRUE(bool(d)) << llvm::toString(d.takeError());
  EXPECT_EQ(d->config.vocab_size, 19u);
  EXPECT_EQ(d->config.unk_id, 1);
  EXPECT_EQ(d->config.max_word_chars, 8u);
  EXPECT_EQ(d->config.max_length, 128u);
  EXPECT_EQ(d->config.truncate_left, 1u);
  EXPECT_EQ(d->config.pad_id, 0);
  EXPECT_EQ(d->config.pad_left, 1u);
  EXPECT_EQ(d->prefix, "##");
  EXPECT_EQ(d->added.size(), 4u);
  const std::vector<uint32_t> ops = {PARE_NORM_CLEAN_TEXT, PARE_NORM_SPACE_CJK,
                                     PARE_NORM_NFD, PARE_NORM_STRIP_NONSPACING,
                                     PARE_NORM_LOWERCASE};
  EXPECT_EQ(operations(d->normalizer), ops);
  ASSERT_EQ(d->single.size(), 3u);
  EXPECT_EQ(d->single[1].id, PARE_PIECE_SEQUENCE_A);
  ASSERT_EQ(d->pair.size(), 2u);
  EXPECT_EQ(d->pair[1].type_id, 1u);
}

TEST(TokenizerReader, NamesUnsupportedComponents) {
  Sample sample;
  sample.normalizer = R"({"type":"ByteLevel"})";
  expectError(sample.json(), "normalizer: ByteLevel is not supported");
  sample = {};
  sample.preTokenizer = R"({"type":"UnicodeScripts"})";
  expectError(sample.json(), "pre_tokenizer: UnicodeScripts is not supported");
  sample = {};
  sample.preTokenizer = R"({"type":"Punctuation","behavior":"Odd"})";
  expectError(sample.json(), "unknown behavior 'Odd'");
  sample = {};
  sample.preTokenizer = R"({"type":"ByteLevel"})";
  expectError(sample.json(), "ByteLevel is supported for BPE only");
  sample = {};
  sample.postProcessor = R"({"type":"Other"})";
  expectError(sample.json(), "post_processor: Other is not supported");
  sample = {};
  sample.model = R"("type":"WordLevel")";
  expectError(sample.json(), "model: WordLevel is not supported");
  sample = {};
  sample.added = R"([{"id":19,"content":"\u00e9","normalized":true}])";
  expectError(sample.json(), "not ASCII");
}

TEST(TokenizerReader, RefusesContradictions) {
  Sample sample;
  sample.vocab = R"({"[UNK]":0,"a":1,"b":1})";
  sample.added = "[]";
  sample.postProcessor = "null";
  expectError(sample.json(), "share id 1");
  sample.vocab = R"({"[UNK]":0,"a":1000})";
  expectError(sample.json(), "ids are not dense");
  sample.vocab = R"({"a":0})";
  expectError(sample.json(), "model.unk_token: '[UNK]' is not in");
  sample.vocab = R"({"[UNK]":-1})";
  expectError(sample.json(), "id of '[UNK]' is not an integer in");
  sample.vocab = R"({"[UNK]":1e300})";
  expectError(sample.json(), "id of '[UNK]' is not an integer in");
  sample.vocab = R"({"[UNK]":4294967296})";
  expectError(sample.json(), "id of '[UNK]' is not an integer in");
  sample.vocab = R"({"[UNK]":0.5})";
  expectError(sample.json(), "id of '[UNK]' is not an integer in");
  sample.vocab = "[]";
  expectError(sample.json(), "model.vocab: not a map");
  sample.vocab = R"({"[UNK]":0})";
  sample.added = R"([{"id":7,"content":"x"}])";
  expectError(sample.json(), "'x' has id 7, but the vocabulary gives it 1");
  sample.added = R"([{"id":0,"content":"[UNK]"},{"id":0,"content":"[UNK]"}])";
  expectError(sample.json(), "occurs twice");
  sample.added = R"([{"id":1,"content":"AB"},{"id":2,"content":"ab"}])";
  expectError(sample.json(), "two tokens read 'ab' when normalized");
  sample.added = R"([{"id":1,"content":""}])";
  expectError(sample.json(), "has no text");
  sample.added = "[]";
  sample.postProcessor =
      R"({"type":"BertProcessing","sep":["[SEP]",5],"cls":["[CLS]",4]})";
  expectError(sample.json(), "special token id 4 is beyond");
  sample = {};
  sample.postProcessor = R"({"type":"TemplateProcessing","single":[],
                             "pair":[],"special_tokens":{}})";
  expectError(sample.json(), "sequence A exactly once");
}

TEST(TokenizerReader, RefusesDamagedJson) {
  expectError("", "not valid JSON");
  expectError("[1]", "not a JSON object");
  expectError("{}", "model: missing");
  expectError(std::string(100000, '['), "nested deeper");
  expectError("{\"model\":\"\xff\"}", "UTF-8");
  const std::string json = Sample().json();
  for (size_t n = 0; n < json.size(); ++n)
    EXPECT_NE(errorOf(llvm::StringRef(json).take_front(n)), "") << n;
  // Any byte replaced: an error or a tokenizer, never a crash.
  unsigned errors = 0;
  for (size_t i = 0; i < json.size(); ++i)
    for (char c : {'\0', '"', '9', '}', '\xff'}) {
      std::string damaged = json;
      damaged[i] = c;
      errors += !errorOf(damaged).empty();
    }
  EXPECT_GT(errors, json.size());
}

TEST(TokenizerReader, ReadsVocabText) {
  const char *vocab = "[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n##c\nab";
  llvm::Expected<Description> d =
      readVocabText(vocab, "vocab.txt",
                    R"({"do_lower_case":false,"strip_accents":null,"sep_token":
          {"content":"[SEP]"},"tokenize_chinese_chars":false})",
                    "tokenizer_config.json");
  ASSERT_TRUE(bool(d)) << llvm::toString(d.takeError());
  EXPECT_EQ(operations(d->normalizer),
            std::vector<uint32_t>{PARE_NORM_CLEAN_TEXT});
  EXPECT_EQ(d->config.vocab_size, 8u);
  ASSERT_EQ(d->vocab.size(), 7u);
  EXPECT_EQ(d->vocab.back().text, "ab"); // the last of two lines wins
  EXPECT_EQ(d->vocab.back().id, 7);
  ASSERT_EQ(d->single.size(), 3u);
  EXPECT_EQ(d->single[0].id, 2);

  auto error = [](llvm::StringRef text, llvm::StringRef config) {
    auto result = readVocabText(text, "vocab.txt", config, "config.json");
    return result ? std::string() : llvm::toString(result.takeError());
  };
  EXPECT_EQ(error("a\nb\n", ""),
            "vocab.txt: special token '[UNK]' is not in the vocabulary");
  EXPECT_EQ(error("a\n\xff\n", ""), "vocab.txt: byte 2 is not valid UTF-8");
  EXPECT_EQ(error(vocab, R"({"do_lower_case":"yes"})"),
            "config.json: do_lower_case: not true or false");
  EXPECT_NE(error(vocab, "{").find("config.json: not valid JSON"),
            std::string::npos);
}

TEST(TokenizerReader, FindsTheFileInAFolder) {
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("pare-tokenizer", folder));
  auto write = [&](llvm::StringRef name, llvm::StringRef text) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    std::error_code code;
    llvm::raw_fd_ostream(path, code) << text;
    ASSERT_FALSE(code);
  };
  auto build = [&] {
    auto table = pare::buildTokenizerTable(folder);
    return table ? std::string("built") : llvm::toString(table.takeError());
  };
  EXPECT_NE(build().find("no tokenizer.json, no tokenizer.model and no"),
            std::string::npos);
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  EXPECT_EQ(build(), "built");
  write("tokenizer.json", "{");
  EXPECT_NE(build().find("tokenizer.json: not valid JSON"), std::string::npos);
  write("tokenizer.json", Sample().json());
  EXPECT_EQ(build(), "built");
  llvm::sys::fs::remove_directories(folder);
  EXPECT_NE(build().find("cannot be read"), std::string::npos);
}

} // namespace
