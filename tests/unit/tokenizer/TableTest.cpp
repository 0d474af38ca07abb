//===- TableTest.cpp - Tables whole, cut and damaged ----------------------===//
#include "Sample.h"

#include <memory>
#include <random>

using namespace pare::tokenizer;
using namespace pare::tokenizer::test;

namespace {

/// A copy in memory of exactly its size, so that sanitizers see overreads.
struct Exact {
  Exact(const std::vector<uint8_t> &source, size_t n)
      : bytes(new uint8_t[n]), size(n) {
    std::copy(source.begin(), source.begin() + ptrdiff_t(n), bytes.get());
  }
  int open(PareTokenizer &out) const {
    return pare_tokenizer_open(bytes.get(), size, &out);
  }
  std::unique_ptr<uint8_t[]> bytes;
  size_t size;
};

/// Uses every section: a token of each kind, all normalizer operations.
Sample fullSample() {
  Sample sample;
  sample.normalizer = R"({"type":"Sequence","normalizers":[
      {"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
       "strip_accents":true,"lowercase":true},
      {"type":"StripAccents"},{"type":"NFC"}]})";
  sample.added.pop_back();
  sample.added += R"(,{"id":19,"content":"Tok","single_word":true},
      {"id":20,"content":"<l>","lstrip":true,"normalized":false},
      {"id":21,"content":"<r>","rstrip":true,"normalized":true}])";
  return sample;
}

const char *const texts[] = {
    "unable caf\u00e9! \u4e2d\u6587 is tok <l> <r> x [SEP] unableable",
    "\u0130\u1100\u1161 \xff\xe2\x82 e\u0323\u0302\u0301 \uac01 \U0002f800",
};

TEST(TokenizerTable, SameInputSameBytes) {
  EXPECT_EQ(tableOf(fullSample()), tableOf(fullSample()));
}

TEST(TokenizerTable, HoldsOnlyWhatTheModelUses) {
  Sample plain;
  plain.normalizer = "null";
  Sample cased;
  cased.normalizer = R"({"type":"BertNormalizer","clean_text":true,
      "handle_chinese_chars":true,"strip_accents":false,"lowercase":false})";
  EXPECT_LT(tableOf(plain).size(), 4000u);
  EXPECT_LT(tableOf(cased).size(), 6000u);
  EXPECT_LT(tableOf(Sample()).size(), 32000u);
  EXPECT_LT(tableOf(fullSample()).size(), 48000u);
}

TEST(TokenizerTable, IsPositionIndependent) {
  const std::vector<uint8_t> table = tableOf(fullSample());
  const Exact copy(table, table.size());
  PareTokenizer tokenizer;
  ASSERT_EQ(copy.open(tokenizer), PARE_TOKENIZER_OK);
  for (llvm::StringRef text : texts) {
    Ids ids(64);
    int64_t count = pare_tokenizer_encode(&tokenizer, text.data(), text.size(),
                                          ids.data(), ids.size(), 0);
    ASSERT_GT(count, 2);
    ids.resize(size_t(count));
    EXPECT_EQ(ids, encode(table, text));
  }
}

TEST(TokenizerTable, CutAnywhereIsRefused) {
  const std::vector<uint8_t> table = tableOf(fullSample());
  PareTokenizer tokenizer;
  for (size_t n = 0; n < table.size(); ++n)
    ASSERT_EQ(Exact(table, n).open(tokenizer), PARE_TOKENIZER_E_TABLE) << n;
  EXPECT_EQ(pare_tokenizer_open(nullptr, 0, &tokenizer),
            PARE_TOKENIZER_E_TABLE);
}

TEST(TokenizerTable, RefusesWhatItDoesNotKnow) {
  const std::vector<uint8_t> table = tableOf(Sample());
  PareTokenizer tokenizer;
  auto refused = [&](auto change) {
    Exact copy(table, table.size());
    auto *header = reinterpret_cast<PareTokenizerHeader *>(copy.bytes.get());
    auto *sections = reinterpret_cast<PareTokenizerSection *>(header + 1);
    change(*header, sections);
    return copy.open(tokenizer) == PARE_TOKENIZER_E_TABLE;
  };
  using Header = PareTokenizerHeader;
  using Section = PareTokenizerSection;
  EXPECT_FALSE(refused([](Header &, Section *) {}));
  EXPECT_TRUE(refused([](Header &h, Section *) { h.version = 1; }));
  EXPECT_TRUE(refused([](Header &h, Section *) { h.model = 9; }));
  EXPECT_TRUE(refused([](Header &h, Section *) { --h.num_sections; }));
  EXPECT_TRUE(refused([](Header &h, Section *) { h.num_sections = ~0u; }));
  EXPECT_TRUE(refused([](Header &, Section *s) { s->tag = 99; }));
  EXPECT_TRUE(refused([](Header &, Section *s) { s[1].tag = s[0].tag; }));
  EXPECT_TRUE(refused([](Header &, Section *s) { s->offset += 4; }));
  EXPECT_TRUE(refused([](Header &, Section *s) { s->offset = ~7ull; }));
  EXPECT_TRUE(refused([](Header &, Section *s) { s->bytes = ~0ull; }));
  EXPECT_TRUE(refused([](Header &, Section *s) { s->bytes += 1; }));
}

TEST(TokenizerTable, DamageNeverReadsOrWritesOutside) {
  const std::vector<uint8_t> table = tableOf(fullSample());
  std::mt19937 random(1);
  unsigned opened = 0, refused = 0;
  auto probe = [&](const Exact &copy) {
    PareTokenizer tokenizer;
    if (copy.open(tokenizer) != PARE_TOKENIZER_OK) {
      ++refused;
      return;
    }
    ++opened;
    for (llvm::StringRef text : texts) {
      Ids ids(8);
      int64_t count = pare_tokenizer_encode(
          &tokenizer, text.data(), text.size(), ids.data(), ids.size(), 0);
      ASSERT_LE(count, int64_t(ids.size()));
    }
  };
  for (size_t i = 0; i < table.size(); ++i) {
    Exact copy(table, table.size());
    copy.bytes[i] ^= uint8_t(1 + random() % 255);
    probe(copy);
  }
  for (unsigned round = 0; round < 3000; ++round) {
    Exact copy(table, table.size());
    for (unsigned change = 0; change < 64; ++change)
      copy.bytes[512 + random() % (copy.size - 512)] = uint8_t(random());
    probe(copy);
  }
  EXPECT_GT(opened, 1000u);
  EXPECT_GT(refused, 100u);
}

} // namespace
