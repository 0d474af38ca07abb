//===- VocabularyTest.cpp - The tokenizer of a GGUF file ------------------===//
#include "frontend/gguf/Vocabulary.h"
#include "Files.h"
#include "frontend/gguf/File.h"

#include "gtest/gtest.h"

using namespace pare::gguf;

namespace {

/// What `fill` writes, as a table; or the error, without the file's path.
std::string build(llvm::function_ref<void(Writer &)> fill) {
  Writer writer;
  writer.addString("general.architecture", "test");
  fill(writer);
  pare::TemporaryFolder folder;
  std::string path = folder.write("m.gguf", toBytes(writer));
  llvm::Expected<File> file = File::open(path);
  if (!file)
    return llvm::toString(file.takeError());
  auto table = buildTokenizerTable(file->metadata(), {/*decodes=*/true});
  if (table)
    return "built";
  std::string error = llvm::toString(table.takeError());
  llvm::StringRef rest = error;
  EXPECT_TRUE(rest.consume_front(path)) << error;
  return rest.str();
}

void addGood(Writer &writer) {
  writer.addString("tokenizer.ggml.model", "llama");
  writer.addStrings("tokenizer.ggml.tokens", {"<unk>", "<s>", "\u2581", "a"});
  writer.addF32s("tokenizer.ggml.scores", {0, 0, -1, -2});
  writer.addI32s("tokenizer.ggml.token_type", {2, 3, 1, 1});
  writer.addU32("tokenizer.ggml.bos_token_id", 1);
}

TEST(GgufVocabulary, BecomesATable) { EXPECT_EQ(build(addGood), "built"); }

TEST(GgufVocabulary, NamesTheKey) {
  EXPECT_EQ(build([](Writer &) {}),
            ": tokenizer.ggml.tokens: missing or empty");
  EXPECT_EQ(build([](Writer &writer) {
              addGood(writer);
              writer.addU32("tokenizer.ggml.eos_token_id", 4);
            }),
            ": tokenizer.ggml.eos_token_id: 4 is beyond the 4 tokens");
  EXPECT_NE(build([](Writer &writer) {
              addGood(writer);
              writer.addU32("tokenizer.ggml.pre", 4);
            }).find("tokenizer.ggml.pre"),
            std::string::npos);
  EXPECT_NE(build([](Writer &writer) {
              addGood(writer);
              writer.addString("tokenizer.ggml.add_bos_token", "yes");
            }).find("tokenizer.ggml.add_bos_token"),
            std::string::npos);
}

TEST(GgufVocabulary, GivesTheChatTemplateItsSpecialTokens) {
  auto compile = [](llvm::StringRef source) {
    Writer writer;
    writer.addString("general.architecture", "test");
    addGood(writer);
    if (!source.empty())
      writer.addString("tokenizer.chat_template", source);
    pare::TemporaryFolder folder;
    std::string path = folder.write("m.gguf", toBytes(writer));
    llvm::Expected<File> file = File::open(path);
    auto table = buildChatTemplate(llvm::cantFail(std::move(file)).metadata());
    return table ? std::string(table->begin(), table->end())
                 : llvm::toString(table.takeError());
  };
  EXPECT_EQ(compile(""), "");
  EXPECT_NE(compile("{{ bos_token }}").find("<s>"), std::string::npos);
  EXPECT_EQ(compile("{{ eos_token }}").find("<s>"), std::string::npos);
  EXPECT_NE(compile("{{ x | odd }}").find("filter 'odd' (line 1)"),
            std::string::npos);
}

} // namespace
