//===- Sample.h - A small tokenizer.json and helpers ------------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_TOKENIZER_SAMPLE_H
#define PARE_TESTS_UNIT_TOKENIZER_SAMPLE_H

#include "backends/runtime/Tokenizer.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "gtest/gtest.h"

#include <string>
#include <vector>

namespace pare::tokenizer::test {

using Ids = std::vector<int32_t>;

/// The parts of a tokenizer.json, each JSON text; BERT-like by default.
struct Sample {
  std::string truncation = "null";
  std::string padding = "null";
  std::string added =
      R"([{"id":0,"content":"[PAD]","special":true,"normalized":false},
          {"id":1,"content":"[UNK]","special":true,"normalized":false},
          {"id":2,"content":"[CLS]","special":true,"normalized":false},
          {"id":3,"content":"[SEP]","special":true,"normalized":false}])";
  std::string normalizer =
      R"({"type":"BertNormalizer","clean_text":true,
          "handle_chinese_chars":true,"strip_accents":null,"lowercase":true})";
  std::string preTokenizer = R"({"type":"BertPreTokenizer"})";
  std::string postProcessor = R"({"type":"TemplateProcessing",
      "single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},
                {"Sequence":{"id":"A","type_id":0}},
                {"SpecialToken":{"id":"[SEP]","type_id":0}}],
      "pair":[{"Sequence":{"id":"A","type_id":0}},
              {"Sequence":{"id":"B","type_id":1}}],
      "special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},
                        "[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}})";
  std::string vocab =
      R"({"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"un":4,"##able":5,"##a":6,
          "cafe":7,"!":8,"i":9,"##s":10,"\u4e2d":11,"[":12,"]":13,
          "\uac00":14,"\u1100\u1161":15,"caf\u00e9":16,"x":17,"#":18})";
  std::string decoder = "null";
  std::string model = R"("type":"WordPiece","unk_token":"[UNK]",
      "continuing_subword_prefix":"##","max_input_chars_per_word":8)";

  std::string json() const {
    return R"({"version":"1.0","truncation":)" + truncation + R"(,"padding":)" +
           padding + R"(,"added_tokens":)" + added + R"(,"normalizer":)" +
           normalizer + R"(,"pre_tokenizer":)" + preTokenizer +
           R"(,"post_processor":)" + postProcessor + R"(,"decoder":)" +
           decoder + R"(,"model":{)" + model + R"(,"vocab":)" + vocab + "}}";
  }
};

/// The table of `sample`, or the test fails.
inline std::vector<uint8_t> tableOf(const Sample &sample) {
  llvm::Expected<Description> description =
      readTokenizerJson(sample.json(), "t.json");
  if (!description) {
    ADD_FAILURE() << llvm::toString(description.takeError());
    return {};
  }
  llvm::Expected<std::vector<uint8_t>> table =
      writeTable(*description, "t.json");
  if (!table) {
    ADD_FAILURE() << llvm::toString(table.takeError());
    return {};
  }
  return *table;
}

inline Ids encode(const std::vector<uint8_t> &table, llvm::StringRef text,
                  uint64_t capacity = 64, uint32_t flags = 0) {
  PareTokenizer tokenizer;
  if (pare_tokenizer_open(table.data(), table.size(), &tokenizer) != 0) {
    ADD_FAILURE() << "the table does not open";
    return {};
  }
  Ids ids(capacity);
  int64_t count = pare_tokenizer_encode(&tokenizer, text.data(), text.size(),
                                        ids.data(), capacity, flags);
  if (count < 0)
    return {int32_t(count)};
  ids.resize(size_t(count));
  return ids;
}

} // namespace pare::tokenizer::test

#endif
