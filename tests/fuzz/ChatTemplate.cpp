//===- ChatTemplate.cpp - Templates to tables to prompts ------------------===//
#include "backends/runtime/Chat.h"
#include "frontend/chat/Template.h"
#include "tests/fuzz/Check.h"

using namespace pare;

static const char messages[] = R"([
  {"role": "system", "content": "Be \u00e9 brief."},
  {"role": "user", "content": " a b,c\n1 ", "n": [1, -2.5, null, true]},
  {"role": "assistant", "content": null, "tool_calls": [
    {"id": "1", "function": {"name": "f", "arguments": {"x": 1, "y": {}}}}]}])";
static const char tools[] =
    R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef source(reinterpret_cast<const char *>(data), size);
  llvm::Expected<std::vector<uint8_t>> table =
      chat::compileTemplate(source, "template");
  if (!table) {
    fuzz::checkError(table.takeError());
    return 0;
  }
  rt::ChatTemplate chat;
  fuzz::check(chat.open(table->data(), table->size()), "a new table opens");
  rt::ChatInput input;
  input.messages = messages;
  input.tools = tools;
  input.addGenerationPrompt = size % 2;
  input.bosToken = "<s>";
  rt::Bytes out;
  rt::Message error;
  if (!chat.render(input, out, error)) {
    llvm::StringRef line = error.c_str();
    fuzz::check(!line.empty() && !line.contains('\n'), "an error is one line");
    fuzz::check(!line.contains("damaged"), "new tables are sound");
  }
  return 0;
}
