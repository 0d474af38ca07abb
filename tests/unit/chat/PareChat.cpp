//===- PareChat.cpp - Render conversations from standard input ------------===//
//
//   pare-chat TEMPLATE
//
// Standard input holds requests, each of six texts behind their 4-byte
// little-endian lengths: messages, tools, variables, the texts of the bos and
// eos tokens, and options: "p" adds the generation prompt, "b" and "e" define
// the tokens, digits are the time. Prints, in the same form, the prompt of
// each, or an error behind "\0".
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/Chat.h"
#include "frontend/chat/Template.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

static pare::rt::Str toStr(StringRef text) {
  return {text.data(), text.size()};
}

int main(int argc, char **argv) {
  if (argc != 2) {
    errs() << "usage: pare-chat TEMPLATE\n";
    return 2;
  }
  auto source = MemoryBuffer::getFile(argv[1]);
  auto input = MemoryBuffer::getSTDIN();
  if (!source || !input) {
    errs() << argv[1] << " or standard input cannot be read\n";
    return 2;
  }
  auto table = pare::chat::compileTemplate((*source)->getBuffer(), argv[1]);
  if (!table) {
    errs() << toString(table.takeError()) << "\n";
    return 1;
  }
  pare::rt::ChatTemplate chat;
  if (!chat.open(table->data(), table->size())) {
    errs() << "the table that was just built does not open\n";
    return 1;
  }

  StringRef rest = (*input)->getBuffer();
  auto take = [&] {
    if (rest.size() < 4)
      return StringRef();
    const uint32_t n = support::endian::read32le(rest.data());
    const StringRef text = rest.substr(4, n);
    rest = rest.drop_front(4 + text.size());
    return text;
  };
  while (!rest.empty()) {
    const StringRef messages = take(), tools = take(), variables = take();
    const StringRef bos = take(), eos = take(), options = take();
    pare::rt::ChatInput request;
    request.messages = toStr(messages);
    request.tools = toStr(tools);
    request.variables = toStr(variables);
    request.addGenerationPrompt = options.contains('p');
    if (options.contains('b'))
      request.bosToken = toStr(bos);
    if (options.contains('e'))
      request.eosToken = toStr(eos);
    options.ltrim("pbe").getAsInteger(10, request.now);
    pare::rt::Bytes prompt;
    pare::rt::Message error;
    std::string text;
    if (chat.render(request, prompt, error))
      text.assign(prompt.str().data, prompt.size);
    else
      text = std::string(1, '\0') + error.c_str();
    const uint32_t size = uint32_t(text.size());
    outs().write(reinterpret_cast<const char *>(&size), 4);
    outs() << text;
  }
  return 0;
}
