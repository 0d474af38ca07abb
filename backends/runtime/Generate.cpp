//===- Generate.cpp - `generate` ------------------------------------------===//
#include "backends/runtime/Conversation.h"
#include "backends/runtime/DecoderModule.h"
#include "backends/runtime/DecoderOptions.h"
#include "backends/runtime/Interrupt.h"
#include "backends/runtime/LineEditor.h"

#include <stdlib.h>

using namespace pare::rt;

namespace {

constexpr uint64_t kMaxParallel = 16; ///< sequences; more wait
constexpr int kInterruptedCode = 130; ///< as shells report Ctrl-C

class Generate {
public:
  Generate(Program &program, const Args &args)
      : session(program), generator(session), args(args) {}
  ~Generate();

  bool run();
  Session session;
  bool interrupted = false;

private:
  struct Prompt {
    Str text;
    Bytes tokens;
  };
  /// An answer on its way to standard output.
  struct Job {
    int32_t sequence = -1;
    bool done = false;
    uint64_t numPrinted = 0;
    Bytes output; ///< what is left to print when it is done
  };

  bool open();
  bool readPrompts();
  bool encode(Prompt &prompt);
  bool start(uint64_t job);
  bool finish(uint64_t job, const Answer &answer);
  bool putJson(uint64_t job, const Answer &answer, Bytes &out);
  bool putScores(const Answer &answer, Bytes &out);
  bool putToken(int32_t token, Bytes &out);
  bool print(uint64_t job, Str text);
  void putStats();
  bool fail(const char *message) {
    session.error.start().put(message);
    return false;
  }

  Generator generator;
  const Args &args;
  AnswerOptions options;
  TemplateOptions templates;
  uint64_t numAnswers = 1; ///< of each prompt
  int64_t alternatives = -1;
  bool json = false;

  Prompt *prompts = nullptr;
  uint64_t numPrompts = 0;
  Bytes input; ///< from standard input
  Job *jobs = nullptr;
  uint64_t numJobs = 0, numStarted = 0;
  StandardOutput out;

  uint64_t beginTime = 0, openTime = 0, firstTime = 0, promptNanos = 0;
  uint64_t promptTokens = 0, reusedTokens = 0, answerTokens = 0;
};

Generate::~Generate() {
  for (uint64_t i = 0; jobs && i < numJobs; ++i)
    jobs[i].~Job();
  for (uint64_t i = 0; i < numPrompts; ++i)
    prompts[i].~Prompt();
  free(jobs);
  free(prompts);
}

bool Generate::readPrompts() {
  uint64_t count = 0;
  for (uint32_t i = 0; i < args.count; ++i)
    count += args.items[i].option == nullptr;
  prompts =
      static_cast<Prompt *>(calloc(max<uint64_t>(count, 1), sizeof(Prompt)));
  if (!prompts)
    return fail("out of memory");
  for (uint32_t i = 0; i < args.count; ++i)
    if (!args.items[i].option)
      (new (&prompts[numPrompts++], PareInPlace()) Prompt)->text =
          args.items[i].value;
  if (count)
    return true;
  if (isTerminal(0))
    return fail("no prompt: give one as an argument or on standard input");
  if (!readStandardInput(input, session.error))
    return false;
  new (&prompts[numPrompts++], PareInPlace()) Prompt;
  prompts[0].text = input.str();
  if (prompts[0].text.endsWith("\n"))
    --prompts[0].text.size;
  return true;
}

bool Generate::open() {
  int64_t n = 1;
  if (!args.number("--n", 1, n, session.error) ||
      !args.number("--logprobs", 0, alternatives, session.error) ||
      !options.parse(args, *session.model.decoder, session.error) ||
      !templates.parse(args, session.error) || !readPrompts())
    return false;
  numAnswers = uint64_t(n);
  json = args.has("--json");
  const char *const ofChat[] = {"--system", "--tools", "--var"};
  for (const char *option : ofChat)
    if (args.has(option) && !args.has("--chat")) {
      session.error.start().put(option).put(" needs --chat");
      return false;
    }
  if (alternatives >= 0 && !json)
    return fail("--logprobs needs --json");
  if (alternatives > 1000)
    return fail("--logprobs takes 1000 at most");
  numJobs = numPrompts * numAnswers;
  if (numJobs > 1 && (args.has("--cache-save") || args.has("--cache-load")))
    return fail("--cache-save and --cache-load take one prompt and one answer");
  if (numJobs > 1000000)
    return fail("too many answers: a million at most");
  jobs = static_cast<Job *>(calloc(numJobs, sizeof(Job)));
  if (!jobs)
    return fail("out of memory");
  for (uint64_t i = 0; i < numJobs; ++i)
    new (&jobs[i], PareInPlace()) Job;

  PareOptions contextOptions = {};
  contextOptions.sequences = uint32_t(min(numJobs, kMaxParallel));
  if (!parseWeightsMemory(args, contextOptions, session.error) ||
      !session.open(args, contextOptions) || !generator.open())
    return false;
  const char *path = args.get("--cache-load");
  if (path && !generator.load(0, path))
    return false;
  for (uint64_t i = 0; i < numPrompts; ++i)
    if (!encode(prompts[i]))
      return false;
  return true;
}

bool Generate::encode(Prompt &prompt) {
  if (!args.has("--chat"))
    return generator.encode(prompt.text, /*special=*/true, prompt.tokens);
  Conversation conversation;
  const char *system = args.get("--system");
  if ((system && !conversation.add("system", system)) ||
      !conversation.add("user", prompt.text))
    return fail("out of memory");
  return conversation.encode(generator, templates, prompt.tokens,
                             session.error);
}

bool Generate::start(uint64_t job) {
  const Prompt &prompt = prompts[job / numAnswers];
  Request request = options.request();
  request.tokens = reinterpret_cast<const int32_t *>(prompt.tokens.data);
  request.numTokens = prompt.tokens.size / sizeof(int32_t);
  request.stream = job % numAnswers;
  request.scores = alternatives >= 0;
  request.alternatives = uint32_t(max<int64_t>(alternatives, 0));
  jobs[job].sequence = generator.add(request);
  return jobs[job].sequence >= 0;
}

bool Generate::print(uint64_t job, Str text) {
  jobs[job].numPrinted += text.size;
  return out.text().put(text).flush() ||
         fail("cannot write to standard output");
}

bool Generate::putToken(int32_t token, Bytes &to) {
  char text[512];
  int64_t size = pare_tokenizer_decode(&generator.tokenizer(), &token, 1, text,
                                       sizeof(text), 0);
  return appendJson(to, {text, uint64_t(max<int64_t>(size, 0))});
}

namespace {
/// Short text and numbers into bytes.
bool append(Bytes &to, Str text) { return to.append(text.data, text.size); }
bool appendNumber(Bytes &to, const char *name, int64_t value) {
  char text[96];
  Writer writer(-1, text, sizeof(text));
  writer.put(",\"").put(name).put("\":").num(value);
  return append(to, {text, writer.column()});
}
bool appendReal(Bytes &to, const char *name, float value) {
  char text[96];
  Writer writer(-1, text, sizeof(text));
  writer.put(",\"").put(name).put("\":");
  if (value - value == 0)
    writer.real(value);
  else
    writer.put("null"); // JSON has no infinity
  return append(to, {text, writer.column()});
}
} // namespace

bool Generate::putScores(const Answer &answer, Bytes &to) {
  uint64_t perToken = 1 + uint64_t(alternatives);
  bool good = append(to, ",\"logprobs\":[");
  auto put = [&](const TokenScore &score) {
    good = good && append(to, "{\"token\":") && putToken(score.token, to) &&
           appendNumber(to, "id", score.token) &&
           appendReal(to, "logprob", score.logProbability);
  };
  for (uint64_t i = 0; good && i < answer.numTokens; ++i) {
    const TokenScore *scores = answer.scores + i * perToken;
    good = append(to, i ? "," : "");
    put(scores[0]);
    good = good && append(to, ",\"top\":[");
    for (uint64_t k = 1; k < perToken && scores[k].token >= 0; ++k) {
      good = good && append(to, k > 1 ? "," : "");
      put(scores[k]);
      good = good && append(to, "}");
    }
    good = good && append(to, "]}");
  }
  return good && append(to, "]");
}

bool Generate::putJson(uint64_t job, const Answer &answer, Bytes &to) {
  return append(to, "{\"prompt\":") &&
         appendJson(to, prompts[job / numAnswers].text) &&
         append(to, ",\"text\":") && appendJson(to, answer.text) &&
         append(to, ",\"finish\":") &&
         appendJson(to, finishName(answer.finish)) &&
         appendNumber(to, "seed", int64_t(options.seed())) &&
         appendNumber(to, "index", int64_t(job % numAnswers)) &&
         appendNumber(to, "prompt_tokens", int64_t(answer.promptTokens)) &&
         appendNumber(to, "reused_tokens", int64_t(answer.reusedTokens)) &&
         appendNumber(to, "tokens", int64_t(answer.numTokens)) &&
         (alternatives < 0 || putScores(answer, to)) && append(to, "}\n");
}

bool Generate::finish(uint64_t index, const Answer &answer) {
  Job &job = jobs[index];
  job.done = true;
  firstTime = firstTime && answer.firstTime ? min(firstTime, answer.firstTime)
                                            : max(firstTime, answer.firstTime);
  promptNanos += answer.promptNanos;
  promptTokens += answer.promptTokens;
  reusedTokens += answer.reusedTokens;
  answerTokens += answer.numTokens;
  if (answer.finish == Finish::Context) {
    Message line;
    line.start()
        .put("the context of ")
        .unsignedNum(generator.context())
        .put(" tokens is full: the answer ends here");
    session.program.say(line.c_str());
  }
  if (options.endedByDefault(answer))
    session.program.say(kEndedByDefault);
  bool good = json ? putJson(index, answer, job.output)
                   : append(job.output, answer.text.drop(job.numPrinted)) &&
                         append(job.output, "\n");
  uint32_t sequence = uint32_t(job.sequence);
  generator.release(sequence);
  if (!good)
    return fail("out of memory");
  const char *path = args.get("--cache-save");
  return !path || generator.save(sequence, path);
}

void Generate::putStats() {
  double wall = double(nowNanos() - openTime) * 1e-9;
  double prompt = double(promptNanos) * 1e-9;
  Message line;
  Writer &text = line.start();
  text.put("prompt ").unsignedNum(promptTokens).put(" tokens");
  if (reusedTokens)
    text.put(" (").unsignedNum(reusedTokens).put(" reused)");
  auto putRate = [&](uint64_t count, double seconds) {
    text.put(", ").fixed(seconds > 0 ? double(count) / seconds : 0, 1);
    text.put(" tokens/s");
  };
  putRate(promptTokens - reusedTokens, prompt);
  text.put("; first token after ")
      .fixed(firstTime ? double(firstTime - beginTime) * 1e-6 : 0, 1)
      .put(" ms; answer ")
      .unsignedNum(answerTokens)
      .put(" tokens");
  // The prompt's runs give the first token of an answer.
  putRate(answerTokens > numStarted ? answerTokens - numStarted : 0,
          wall - prompt);
  session.program.say(line.c_str());
}

bool Generate::run() {
  beginTime = nowNanos();
  if (!open())
    return false;
  Interrupt interrupt;
  openTime = nowNanos();
  uint64_t shown = 0, running = 0, wanted = numJobs;
  const uint64_t parallel = pare_sequences(session.context);
  while (shown < wanted) {
    for (; numStarted < wanted && running < parallel; ++numStarted, ++running)
      if (!start(numStarted))
        return false;
    if (generator.active() && !generator.step())
      return false;
    interrupted = interrupted || interrupt.happened();
    for (uint64_t i = shown; i < numStarted; ++i) {
      if (jobs[i].done)
        continue;
      if (interrupted)
        generator.cancel(uint32_t(jobs[i].sequence));
      Answer answer = generator.answer(uint32_t(jobs[i].sequence));
      if (i == shown && !json &&
          !print(i, answer.text.drop(jobs[i].numPrinted)))
        return false;
      if (answer.finish == Finish::Running)
        continue;
      if (!finish(i, answer))
        return false;
      --running;
    }
    if (interrupted)
      wanted = numStarted;
    for (; shown < numStarted && jobs[shown].done; ++shown) {
      if (!print(shown, jobs[shown].output.str()))
        return false;
      jobs[shown].output.~Bytes();
      new (&jobs[shown].output, PareInPlace()) Bytes;
    }
  }
  if (args.has("--stats"))
    putStats();
  return true;
}

const Option kOptions[] = {
    PARE_ANSWER_OPTIONS,
    {"--n", "N", "answers to each prompt (default: 1)"},
    {"--chat", nullptr, "the prompt is a message: use the chat template"},
    {"--system", "TEXT", "with --chat: what the assistant is told first"},
    PARE_TEMPLATE_OPTIONS,
    {"--json", nullptr, "print a JSON line for each answer"},
    {"--logprobs", "N", "with --json: log probabilities, and N others' each"},
    {"--cache-load", "FILE", "go on from what --cache-save wrote"},
    {"--cache-save", "FILE", "write what the model has read and said"},
    {"--stats", nullptr, "print speed on standard error"},
    PARE_WEIGHTS_MEMORY_OPTION,
    PARE_SESSION_OPTIONS,
    PARE_COMMON_OPTIONS};

} // namespace

const Command pare::rt::kGenerateCommand = {
    "generate",
    "[PROMPT ...] [options]",
    "Continues prompts, or the text of standard input.",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./")
          .put(program.name)
          .put(" generate \"Once upon a time\" --max-tokens 64 --seed 1");
    },
    [](Program &program, const Args &args) {
      Generate generate(program, args);
      if (!generate.run())
        return program.fail(generate.session.error);
      return generate.interrupted ? kInterruptedCode : 0;
    },
    /*takesTexts=*/true,
    kSamplingDetails};
