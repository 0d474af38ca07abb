//===- ChatCommand.cpp - `chat` -------------------------------------------===//
#include "backends/runtime/Conversation.h"
#include "backends/runtime/DecoderModule.h"
#include "backends/runtime/DecoderOptions.h"
#include "backends/runtime/Interrupt.h"
#include "backends/runtime/LineEditor.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

using namespace pare::rt;

namespace {

class Chat {
public:
  Chat(Program &program, const Args &args)
      : session(program), generator(session), args(args) {}
  bool run();
  Session session;

private:
  enum class Next { Line, Interrupted, Leave, Failed };

  bool start();
  Next readLine();
  Next editLine();
  bool handle(Str line);
  bool answer(Str message);
  bool stream(uint32_t sequence, Answer &answer);
  void putStats(const Answer &answer);
  void say(const char *message) { session.program.say(message); }
  bool fail(const char *message) {
    session.error.start().put(message);
    return false;
  }

  Generator generator;
  const Args &args;
  AnswerOptions options;
  Conversation conversation;
  TemplateOptions templates;
  uint64_t beginning = 0; ///< of the conversation, behind the system prompt
  bool interactive = false;
  StandardOutput out;
  Interrupt interrupt; ///< Ctrl-C between answers does nothing

  Bytes line;  ///< the current one
  Bytes input; ///< read ahead, from `consumed` on
  uint64_t consumed = 0;
  bool ended = false;
  LineHistory history;
  char historyPath[1024] = "";
  uint64_t beginTime = 0;
};

const char kHelp[] = "/reset  starts a new conversation\n"
                     "/help   this text\n"
                     "Ctrl-C  stops an answer\n"
                     "Ctrl-D  leaves\n";

bool Chat::start() {
  if (!options.parse(args, *session.model.decoder, session.error) ||
      !templates.parse(args, session.error))
    return false;
  PareOptions contextOptions = {};
  if (!parseWeightsMemory(args, contextOptions, session.error) ||
      !session.open(args, contextOptions) || !generator.open())
    return false;
  const char *system = args.get("--system");
  if (system && !conversation.add("system", system))
    return fail("out of memory");
  beginning = conversation.mark();
  interactive = isTerminal(0) && isTerminal(1);
  if (!interactive)
    return true;
  const char *given = args.get("--history"), *home = getenv("HOME");
  Writer path(-1, historyPath, sizeof(historyPath));
  if (given)
    path.put(given);
  else if (home && *home)
    path.put(home).put("/.pare_history");
  if (path.column() >= sizeof(historyPath))
    historyPath[0] = 0;
  if (historyPath[0])
    history.load(historyPath);
  return true;
}

/// A line of standard input that is no terminal.
Chat::Next Chat::readLine() {
  for (uint64_t scanned = consumed;;) {
    Str rest = input.str().drop(scanned);
    uint64_t newline = scanned + rest.find('\n');
    if (newline < input.size || (ended && newline > consumed)) {
      Str whole = input.str().take(newline).drop(consumed);
      if (whole.endsWith("\r"))
        --whole.size;
      line.size = 0;
      consumed = min(newline + 1, input.size);
      return line.append(whole.data, whole.size) ? Next::Line : Next::Failed;
    }
    if (ended)
      return Next::Leave;
    memmove(input.data, input.data + consumed, input.size - consumed);
    input.size -= consumed;
    consumed = 0;
    scanned = input.size;
    if (!input.reserve(input.size + 4096))
      return Next::Failed;
    ssize_t n = read(0, input.data + input.size, 4096);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      ended = true;
    else
      input.size += uint64_t(n);
  }
}

/// A line typed at a terminal.
Chat::Next Chat::editLine() {
  constexpr char kPrompt[] = "> ";
  RawTerminal raw;
  LineEditor editor(history);
  editor.begin();
  for (;;) {
    editor.draw(out.text(), kPrompt, terminalWidth());
    out.text().flush();
    uint8_t bytes[256];
    ssize_t n = read(0, bytes, sizeof(bytes));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return Next::Leave;
    for (ssize_t i = 0; i < n; ++i) {
      LineEditor::Event event;
      if (!editor.feed(bytes[i], event))
        return Next::Failed;
      if (event == LineEditor::None)
        continue;
      // What was pasted behind the line's end is dropped.
      editor.draw(out.text(), kPrompt, terminalWidth());
      out.text().put('\n').flush();
      if (event != LineEditor::Enter)
        return event == LineEditor::End ? Next::Leave : Next::Interrupted;
      line.size = 0;
      Str typed = editor.line();
      return line.append(typed.data, typed.size) && history.add(typed)
                 ? Next::Line
                 : Next::Failed;
    }
  }
}

bool Chat::stream(uint32_t sequence, Answer &answer) {
  interrupt.reset();
  uint64_t printed = 0;
  for (;;) {
    answer = generator.answer(sequence);
    out.text().put(answer.text.drop(printed));
    printed = answer.text.size;
    if (!out.text().flush())
      return fail("cannot write to standard output");
    if (answer.finish != Finish::Running)
      return true;
    if (interrupt.happened())
      generator.cancel(sequence);
    else if (!generator.step())
      return false;
  }
}

void Chat::putStats(const Answer &answer) {
  auto rate = [](uint64_t count, uint64_t nanos) {
    return nanos ? double(count) * 1e9 / double(nanos) : 0;
  };
  Message line;
  line.start()
      .put("prompt ")
      .unsignedNum(answer.promptTokens)
      .put(" tokens (")
      .unsignedNum(answer.reusedTokens)
      .put(" reused), ")
      .fixed(
          rate(answer.promptTokens - answer.reusedTokens, answer.promptNanos),
          1)
      .put(" tokens/s; first token after ")
      .fixed(answer.firstTime ? double(answer.firstTime - beginTime) * 1e-6 : 0,
             1)
      .put(" ms; answer ")
      .unsignedNum(answer.numTokens)
      .put(" tokens, ")
      .fixed(rate(answer.numTokens ? answer.numTokens - 1 : 0,
                  answer.lastTime - answer.firstTime),
             1)
      .put(" tokens/s");
  say(line.c_str());
}

/// One turn. A prompt that does not fit is an error of the turn alone.
bool Chat::answer(Str message) {
  beginTime = nowNanos();
  uint64_t before = conversation.mark();
  Bytes tokens;
  if (!conversation.add("user", message))
    return fail("out of memory");
  if (!conversation.encode(generator, templates, tokens, session.error))
    return false;
  Request request = options.request();
  request.tokens = reinterpret_cast<const int32_t *>(tokens.data);
  request.numTokens = tokens.size / sizeof(int32_t);
  int32_t sequence = generator.add(request);
  if (sequence < 0) {
    conversation.cut(before);
    if (!interactive)
      return false;
    session.program.fail(session.error);
    say("/reset starts a new conversation");
    return true;
  }
  Answer result;
  if (!stream(uint32_t(sequence), result))
    return false;
  bool good = conversation.add("assistant", result.text);
  generator.release(uint32_t(sequence));
  out.text().put('\n');
  if (!good || !out.text().flush())
    return fail(good ? "cannot write to standard output" : "out of memory");
  if (result.finish == Finish::Context)
    say("the model's context is full: /reset starts a new conversation");
  if (options.endedByDefault(result))
    say(kEndedByDefault);
  if (args.has("--stats"))
    putStats(result);
  return true;
}

bool Chat::handle(Str text) {
  while (text.size && (text.data[0] == ' ' || text.data[0] == '\t'))
    text = text.drop(1);
  while (text.endsWith(" ") || text.endsWith("\t"))
    --text.size;
  if (!text.size)
    return true;
  if (text == "/reset") {
    conversation.cut(beginning);
    say("a new conversation begins");
    return true;
  }
  if (text == "/help") {
    out.text().put(kHelp);
    return out.text().flush() || fail("cannot write to standard output");
  }
  return answer(text);
}

bool Chat::run() {
  if (!start())
    return false;
  if (interactive)
    say("/help shows what can be typed");
  for (;;) {
    switch (interactive ? editLine() : readLine()) {
    case Next::Line:
      if (!handle(line.str()))
        return false;
      break;
    case Next::Interrupted:
      break;
    case Next::Failed:
      return fail("out of memory");
    case Next::Leave:
      return !interactive || !historyPath[0] ||
             history.save(historyPath, session.error);
    }
  }
}

const Option kOptions[] = {
    {"--system", "TEXT", "what the assistant is told first"},
    PARE_TEMPLATE_OPTIONS,
    PARE_ANSWER_OPTIONS,
    {"--stats", nullptr, "print speed on standard error after each answer"},
    {"--history", "FILE", "lines typed before (default: ~/.pare_history)"},
    PARE_WEIGHTS_MEMORY_OPTION,
    PARE_SESSION_OPTIONS,
    PARE_COMMON_OPTIONS};

} // namespace

const Command pare::rt::kChatCommand = {
    "chat",
    "[options]",
    "Answers messages: lines typed, or each line of standard input.",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./")
          .put(program.name)
          .put(" chat --system \"You answer briefly.\"");
    },
    [](Program &program, const Args &args) {
      Chat chat(program, args);
      return chat.run() ? 0 : program.fail(chat.session.error);
    },
    /*takesTexts=*/false,
    kSamplingDetails};
