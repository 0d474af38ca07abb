#include "backends/runtime/Generator.h"
#include "ToyDecoder.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

using namespace pare::rt;

namespace {

using Tokens = std::vector<int32_t>;

Tokens bytesOf(const std::string &text) {
  Tokens tokens = {toy::kBegin};
  for (char c : text)
    tokens.push_back(uint8_t(c));
  return tokens;
}

/// The greedy answer by the model's definition, without a cache.
Tokens greedy(Tokens history, size_t count) {
  Tokens answer;
  while (answer.size() < count) {
    int32_t best = 0;
    float top = -INFINITY;
    for (int32_t v = 0; v < int32_t(toy::kVocabulary); ++v) {
      float logit = toy::logitAfter(history.data(), history.size(), v);
      if (logit > top) {
        top = logit;
        best = v;
      }
    }
    answer.push_back(best);
    history.push_back(best);
  }
  return answer;
}

struct Engine {
  explicit Engine(uint32_t sequences = 1, bool guard = false,
                  uint32_t weightsMemory = PARE_WEIGHTS_MAP)
      : program{toy::decoderModel, "toy"}, session(program),
        generator(session) {
    PareOptions options = {};
    options.threads = 2;
    options.guard = guard;
    options.sequences = sequences;
    options.weights_memory = weightsMemory;
    bool good = session.open(options) && generator.open();
    EXPECT_TRUE(good) << session.error.c_str();
  }
  ~Engine() = default;

  std::string error() const { return session.error.c_str(); }

  void finish() {
    while (generator.active())
      ASSERT_TRUE(generator.step()) << error();
  }
  Tokens tokensOf(int32_t sequence) {
    Answer answer = generator.answer(uint32_t(sequence));
    return Tokens(answer.tokens, answer.tokens + answer.numTokens);
  }
  std::string textOf(int32_t sequence) {
    Answer answer = generator.answer(uint32_t(sequence));
    return std::string(answer.text.data, answer.text.size);
  }
  /// Answers one request alone.
  Tokens run(const Request &request) {
    int32_t s = generator.add(request);
    EXPECT_GE(s, 0) << error();
    finish();
    Tokens tokens = tokensOf(s);
    generator.release(uint32_t(s));
    return tokens;
  }

  Program program;
  Session session;
  Generator generator;
};

Request greedyRequest(const Tokens &prompt, uint64_t count) {
  Request request;
  request.tokens = prompt.data();
  request.numTokens = prompt.size();
  request.sampling.temperature = 0;
  request.maxTokens = count;
  request.ignoresStopTokens = true;
  return request;
}

std::string name(const char *file) {
  return (std::filesystem::temp_directory_path() /
          ("pare-generator-" + std::to_string(getpid()) + file))
      .string();
}

} // namespace

TEST(Generator, GreedyAnswersAreTheModels) {
  for (bool guard : {false, true})
    for (size_t length : {1, 2, 31, 32, 33, 70, 120}) {
      Tokens prompt = bytesOf(std::string(length - 1, 'x'));
      Engine engine(1, guard);
      EXPECT_EQ(engine.run(greedyRequest(prompt, 60)), greedy(prompt, 60))
          << length;
    }
}

TEST(Generator, ContextFull) {
  Tokens prompt = bytesOf(std::string(toy::kContext - 11, 'y'));
  Engine engine;
  int32_t s = engine.generator.add(greedyRequest(prompt, 1000));
  engine.finish();
  Answer answer = engine.generator.answer(uint32_t(s));
  EXPECT_EQ(answer.finish, Finish::Context);
  EXPECT_EQ(answer.numTokens, 11u);
  EXPECT_EQ(engine.tokensOf(s), greedy(prompt, 11));
  engine.generator.release(uint32_t(s));

  prompt = bytesOf(std::string(toy::kContext - 1, 'y'));
  EXPECT_EQ(engine.run(greedyRequest(prompt, 5)), greedy(prompt, 1));
  prompt.push_back('z');
  EXPECT_EQ(engine.generator.add(greedyRequest(prompt, 5)), -1);
  EXPECT_EQ(engine.error(), "the prompt has 201 tokens, more than the model's "
                            "context of 200");
}

TEST(Generator, RefusesWhatItCannotAnswer) {
  Engine engine;
  Request request;
  EXPECT_EQ(engine.generator.add(request), -1);
  EXPECT_EQ(engine.error(), "the prompt is empty");
  Tokens prompt = {toy::kBegin, 300};
  EXPECT_EQ(engine.generator.add(greedyRequest(prompt, 5)), -1);
  EXPECT_EQ(engine.error(), "the tokenizer has tokens that the model lacks");
  prompt = bytesOf("a");
  EXPECT_EQ(engine.generator.add(greedyRequest(prompt, 5)), 0);
  EXPECT_EQ(engine.generator.add(greedyRequest(prompt, 5)), -1);
  EXPECT_EQ(engine.error(), "all sequences are busy");
  engine.generator.release(0);
  prompt = bytesOf("ab\xff");
  EXPECT_EQ(engine.generator.add(greedyRequest(prompt, 5)), 0);
  EXPECT_FALSE(engine.generator.step());
  EXPECT_EQ(engine.error(), "the model's logits at position 3 are not numbers");
}

TEST(Generator, BatchedEqualsAlone) {
  std::vector<Tokens> prompts;
  for (size_t i = 0; i < 11; ++i)
    prompts.push_back(
        bytesOf("prompt " + std::string(i * i, char('a' + i)) + "!"));
  auto request = [&](size_t i) {
    Request request;
    request.tokens = prompts[i].data();
    request.numTokens = prompts[i].size();
    request.seed = 42;
    request.stream = i;
    request.maxTokens = 20 + 3 * i;
    request.sampling.topK = 30;
    request.sampling.topP = 0.9f;
    request.sampling.temperature = 1.5f;
    request.sampling.repetition = 1.1f;
    return request;
  };
  std::vector<Tokens> alone;
  for (size_t i = 0; i < prompts.size(); ++i)
    alone.push_back(Engine().run(request(i)));
  EXPECT_NE(alone[0], alone[1]);
  for (uint32_t count : {2, 5, 11, 20}) {
    Engine engine(count, count == 5);
    std::vector<int32_t> sequence(prompts.size(), -1);
    size_t next = 0, done = 0;
    while (done < prompts.size()) {
      while (next < prompts.size() && next - done < count) {
        sequence[next] = engine.generator.add(request(next));
        ASSERT_GE(sequence[next], 0) << engine.error();
        ++next;
      }
      ASSERT_TRUE(engine.generator.step()) << engine.error();
      for (size_t i = 0; i < next; ++i)
        if (sequence[i] >= 0 &&
            engine.generator.answer(uint32_t(sequence[i])).finish !=
                Finish::Running) {
          EXPECT_EQ(engine.tokensOf(sequence[i]), alone[i]) << i;
          engine.generator.release(uint32_t(sequence[i]));
          sequence[i] = -1;
          ++done;
        }
    }
  }
}

TEST(Generator, ReusesWhatASequenceHolds) {
  Tokens first = bytesOf(std::string(60, 'p'));
  Engine engine;
  Tokens answer = engine.run(greedyRequest(first, 10));
  // The next turn of a conversation.
  Tokens second = first;
  second.insert(second.end(), answer.begin(), answer.end());
  for (char c : std::string("more"))
    second.push_back(c);
  int32_t s = engine.generator.add(greedyRequest(second, 10));
  engine.finish();
  // The answer's last token was never run.
  EXPECT_EQ(engine.generator.answer(uint32_t(s)).reusedTokens,
            first.size() + 9);
  EXPECT_EQ(engine.tokensOf(s), greedy(second, 10));
  engine.generator.release(uint32_t(s));

  // The same again: all but the last token.
  s = engine.generator.add(greedyRequest(second, 10));
  EXPECT_EQ(engine.generator.answer(uint32_t(s)).reusedTokens,
            second.size() - 1);
  engine.finish();
  EXPECT_EQ(engine.tokensOf(s), greedy(second, 10));
  engine.generator.release(uint32_t(s));

  // Further back than the ring of the window remembers.
  Tokens third(first.begin(), first.begin() + 30);
  third.push_back('q');
  s = engine.generator.add(greedyRequest(third, 10));
  EXPECT_EQ(engine.generator.answer(uint32_t(s)).reusedTokens, 0u);
  engine.finish();
  EXPECT_EQ(engine.tokensOf(s), greedy(third, 10));
  engine.generator.release(uint32_t(s));
  // What was computed anew counts from there.
  third.back() = 'r';
  s = engine.generator.add(greedyRequest(third, 10));
  EXPECT_EQ(engine.generator.answer(uint32_t(s)).reusedTokens, 30u);
  engine.finish();
  EXPECT_EQ(engine.tokensOf(s), greedy(third, 10));
}

TEST(Generator, ReuseEqualsFresh) {
  // Random prompts that share beginnings, in random sequences.
  std::mt19937 engine(3);
  Engine reusing(3);
  Tokens base = bytesOf(std::string(90, 'b'));
  uint64_t reused = 0;
  for (int i = 0; i < 200; ++i) {
    size_t shared = 1 + engine() % base.size();
    Tokens prompt(base.begin(), base.begin() + long(shared));
    for (unsigned n = engine() % 40; n > 0; --n)
      prompt.push_back('a' + int32_t(engine() % 2));
    int32_t s = reusing.generator.add(greedyRequest(prompt, engine() % 30 + 1));
    ASSERT_GE(s, 0);
    reusing.finish();
    Tokens answer = reusing.tokensOf(s);
    ASSERT_EQ(answer, greedy(prompt, answer.size())) << i;
    reused += reusing.generator.answer(uint32_t(s)).reusedTokens;
    reusing.generator.release(uint32_t(s));
    base.assign(prompt.begin(), prompt.end());
    base.insert(base.end(), answer.begin(), answer.end());
    base.resize(std::min<size_t>(base.size(), 140));
  }
  EXPECT_GT(reused, 2000u);
}

TEST(Generator, AnswersToOnePromptShareIt) {
  Tokens prompt = bytesOf(std::string(100, 'n'));
  Engine engine(4);
  std::vector<Tokens> alone;
  for (uint64_t i = 0; i < 4; ++i) {
    Request request = greedyRequest(prompt, 25);
    request.sampling.temperature = 1;
    request.stream = i;
    alone.push_back(Engine().run(request));
    ASSERT_EQ(engine.generator.add(request), int32_t(i));
  }
  engine.finish();
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(engine.tokensOf(int32_t(i)), alone[i]);
    EXPECT_EQ(engine.generator.answer(i).reusedTokens, i ? 100u : 0u);
  }
  EXPECT_NE(alone[0], alone[1]);
}

TEST(Generator, SeedsAreReproducible) {
  Tokens prompt = bytesOf("seed");
  auto answer = [&](uint64_t seed, uint64_t stream) {
    Request request = greedyRequest(prompt, 40);
    request.sampling.temperature = 1;
    request.seed = seed;
    request.stream = stream;
    return Engine().run(request);
  };
  EXPECT_EQ(answer(1, 0), answer(1, 0));
  EXPECT_NE(answer(1, 0), answer(2, 0));
  EXPECT_NE(answer(1, 0), answer(1, 1));
}

TEST(Generator, StopTokensAndTexts) {
  Tokens prompt = bytesOf("stop here");
  Engine engine;
  int32_t s = engine.generator.add(greedyRequest(prompt, 80));
  engine.finish();
  Tokens tokens = engine.tokensOf(s);
  std::string text = engine.textOf(s);
  engine.generator.release(0);
  ASSERT_GT(text.size(), 40u);

  // At the model's end, which is not text.
  TokenBias bias = {toy::kEnd, 100};
  Request ends = greedyRequest(prompt, 80);
  ends.sampling.biases = &bias;
  ends.sampling.numBiases = 1;
  ends.ignoresStopTokens = false;
  s = engine.generator.add(ends);
  engine.finish();
  Answer answer = engine.generator.answer(uint32_t(s));
  EXPECT_EQ(answer.finish, Finish::Stop);
  EXPECT_EQ(answer.numTokens, 0u);
  EXPECT_EQ(answer.text.size, 0u);
  engine.generator.release(0);

  // Before the first stop text, wherever it begins; text is shown as it comes,
  // and never more than the text before it.
  for (size_t begin : {0, 1, 7, 20})
    for (size_t size : {1, 3, 9}) {
      std::string stopText = text.substr(begin, size);
      std::string expected = text.substr(0, text.find(stopText));
      Str stops[] = {
          "", "never said, this", {stopText.data(), stopText.size()}};
      Request request = greedyRequest(prompt, 80);
      request.stops = stops;
      request.numStops = 3;
      s = engine.generator.add(request);
      while (engine.generator.active()) {
        ASSERT_TRUE(engine.generator.step());
        std::string shown = engine.textOf(s);
        EXPECT_EQ(shown, expected.substr(0, shown.size()));
      }
      EXPECT_EQ(engine.textOf(s), expected);
      EXPECT_EQ(engine.generator.answer(uint32_t(s)).finish, Finish::Stop);
      engine.generator.release(0);
    }
}

TEST(Generator, CancelKeepsTheText) {
  Tokens prompt = bytesOf("cancel");
  Engine engine(2);
  Tokens expected = greedy(prompt, 5);
  ASSERT_EQ(engine.generator.add(greedyRequest(prompt, 80)), 0);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(engine.generator.step());
  engine.generator.cancel(0);
  EXPECT_FALSE(engine.generator.active());
  EXPECT_EQ(engine.generator.answer(0).finish, Finish::Cancelled);
  EXPECT_EQ(engine.tokensOf(0), expected);
  EXPECT_EQ(engine.textOf(0).size(), 5u);
  engine.generator.release(0);
}

TEST(Generator, Scores) {
  Tokens prompt = bytesOf("scores");
  Engine engine;
  Request request = greedyRequest(prompt, 10);
  request.sampling.temperature = 1;
  request.sampling.repetition = 1.5f; // changes the choice, not the scores
  request.scores = true;
  request.alternatives = 3;
  int32_t s = engine.generator.add(request);
  engine.finish();
  Answer answer = engine.generator.answer(uint32_t(s));
  Tokens history = prompt;
  for (uint64_t i = 0; i < answer.numTokens; ++i) {
    const TokenScore *scores = answer.scores + i * 4;
    EXPECT_EQ(scores[0].token, answer.tokens[i]);
    double sum = 0;
    for (int32_t v = 0; v < int32_t(toy::kVocabulary); ++v)
      sum +=
          std::exp(double(toy::logitAfter(history.data(), history.size(), v)));
    for (int k = 0; k < 4; ++k)
      EXPECT_NEAR(double(scores[k].logProbability),
                  double(toy::logitAfter(history.data(), history.size(),
                                         scores[k].token)) -
                      std::log(sum),
                  1e-5);
    EXPECT_EQ(scores[1].token, greedy(history, 1)[0]);
    EXPECT_GE(scores[1].logProbability, scores[2].logProbability);
    history.push_back(answer.tokens[i]);
  }
}

TEST(Generator, SavedSequencesGoOn) {
  Tokens prompt = bytesOf(std::string(70, 's'));
  Engine saving(2);
  Tokens answer = saving.run(greedyRequest(prompt, 10));
  std::string path = name("saved");
  ASSERT_TRUE(saving.generator.save(0, path.c_str())) << saving.error();
  // Positions in use, not the whole context.
  EXPECT_LT(std::filesystem::file_size(path), 80u * 8 + 48 * 4 + 80 * 4 + 100);

  Tokens next = prompt;
  next.insert(next.end(), answer.begin(), answer.end());
  next.push_back('!');
  for (bool guard : {false, true}) {
    Engine loading(2, guard);
    ASSERT_TRUE(loading.generator.load(1, path.c_str())) << loading.error();
    int32_t s = loading.generator.add(greedyRequest(next, 30));
    EXPECT_EQ(s, 1);
    loading.finish();
    EXPECT_EQ(loading.generator.answer(1).reusedTokens, 80u);
    EXPECT_EQ(loading.tokensOf(s), greedy(next, 30));
  }

  // Cut anywhere, or changed where it says what it is.
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Engine engine;
  auto refuses = [&](const std::string &contents) {
    std::ofstream(path, std::ios::binary) << contents;
    return !engine.generator.load(0, path.c_str()) &&
           engine.error().find(path) != std::string::npos;
  };
  for (size_t size = 0; size < bytes.size(); size += 7)
    EXPECT_TRUE(refuses(bytes.substr(0, size))) << size;
  EXPECT_TRUE(refuses(bytes + "x"));
  for (size_t at = 0; at < 24; ++at) {
    std::string changed = bytes;
    changed[at] ^= 0x40;
    EXPECT_TRUE(refuses(changed)) << at;
  }
  std::string other = bytes;
  other[24 + 80 * 4 + 8] ^= 1; // of the model's digest
  EXPECT_TRUE(refuses(other));
  EXPECT_EQ(engine.error(), "'" + path + "': the cache is of another model");
  EXPECT_FALSE(refuses(bytes));
  std::filesystem::remove(path);
}

TEST(Generator, HugePages) {
  Tokens prompt = bytesOf("huge");
  Engine engine(1, false, PARE_WEIGHTS_HUGE);
  EXPECT_EQ(engine.run(greedyRequest(prompt, 5)), greedy(prompt, 5));
}

TEST(Caches, InputsAreChecked) {
  Engine engine(2);
  PareContext *context = engine.session.context;
  EXPECT_EQ(pare_sequences(context), 2u);
  int32_t tokens[] = {1, 2}, positions[] = {0, 1}, sequences[] = {1, 1},
          outputs[] = {1};
  std::vector<float> logits(toy::kColumns);
  auto run = [&] {
    PareTensor inputs[4] = {}, output = {};
    int32_t *data[] = {tokens, positions, sequences, outputs};
    for (int i = 0; i < 4; ++i) {
      inputs[i].data = data[i];
      inputs[i].dtype = PARE_I32;
      inputs[i].rank = 1;
      inputs[i].dims[0] = i == 3 ? 1 : 2;
      inputs[i].bytes = uint64_t(inputs[i].dims[0]) * 4;
    }
    output.data = logits.data();
    output.bytes = logits.size() * 4;
    return pare_run(context, inputs, &output) == 0
               ? ""
               : std::string(pare_error(context));
  };
  EXPECT_EQ(run(), "");
  EXPECT_EQ(logits[5], toy::logitAfter(tokens, 2, 5));
  EXPECT_EQ(pare_cache_reusable(context, 1, 2), 2u);
  EXPECT_EQ(pare_cache_reusable(context, 1, 3), 0u);
  EXPECT_EQ(pare_cache_reusable(context, 0, 1), 0u);
  EXPECT_EQ(pare_cache_reusable(context, 9, 0), 0u);
  struct {
    int32_t *where, value;
    const char *error;
  } cases[] = {
      {tokens + 1, 258, "input 'tokens': element 1 is 258, expected 0 to 257"},
      {tokens, -1, "input 'tokens': element 0 is -1, expected 0 to 257"},
      {positions, 200,
       "input 'positions': element 0 is 200, expected 0 to 199"},
      {sequences + 1, 2, "input 'sequences': element 1 is 2, expected 0 to 1"},
      {outputs, 2, "input 'outputs': element 0 is 2, expected 0 to 1"},
  };
  for (const auto &c : cases) {
    int32_t kept = *c.where;
    *c.where = c.value;
    EXPECT_EQ(run(), c.error);
    *c.where = kept;
  }
  EXPECT_EQ(run(), "");

  EXPECT_EQ(pare_cache_copy(context, 0, 1, 3), 1);
  EXPECT_STREQ(pare_error(context),
               "sequence 1 does not hold its first 3 positions any more");
  EXPECT_EQ(pare_cache_copy(context, 2, 1, 1), 1);
  EXPECT_STREQ(pare_error(context),
               "there is no sequence 2: the context was made for 2");
  EXPECT_EQ(pare_cache_copy(context, 0, 1, 2), 0);
  EXPECT_EQ(pare_cache_reusable(context, 0, 2), 2u);
  EXPECT_EQ(pare_cache_reset(context, 1), 0);
  EXPECT_EQ(pare_cache_reset(context, 2), 1);
  EXPECT_EQ(pare_cache_reusable(context, 1, 1), 0u);
  EXPECT_EQ(pare_cache_bytes(context, toy::kContext + 1), 0u);
  char block[16];
  EXPECT_EQ(pare_cache_save(context, 0, 2, block, sizeof(block)), 1);
}

TEST(Caches, TheCallersAllocator) {
  struct Counter {
    int64_t blocks = 0;
  } counter;
  PareAllocator allocator;
  allocator.user = &counter;
  allocator.allocate = [](void *user, uint64_t bytes,
                          uint64_t alignment) -> void * {
    ++static_cast<Counter *>(user)->blocks;
    return std::aligned_alloc(alignment, bytes);
  };
  allocator.release = [](void *user, void *memory, uint64_t) {
    --static_cast<Counter *>(user)->blocks;
    std::free(memory);
  };
  PareOptions options = {};
  options.threads = 1;
  options.sequences = 3;
  options.allocator = &allocator;
  {
    Program program{toy::decoderModel, "toy"};
    Session session(program);
    Generator generator(session);
    ASSERT_TRUE(session.open(options) && generator.open());
    EXPECT_EQ(counter.blocks, 5); // arena, scratch, three caches
    Tokens prompt = bytesOf("mine");
    ASSERT_EQ(generator.add(greedyRequest(prompt, 8)), 0);
    while (generator.active())
      ASSERT_TRUE(generator.step());
    Answer answer = generator.answer(0);
    EXPECT_EQ(Tokens(answer.tokens, answer.tokens + answer.numTokens),
              greedy(prompt, 8));
  }
  EXPECT_EQ(counter.blocks, 0);
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

namespace {

/// Feeds `bytes` as tokens, and expects that what is shown only grows, in whole
/// characters.
std::string shownBy(const std::string &bytes,
                    const std::vector<std::string> &stopTexts, bool &stopped) {
  PareTokenizer tokenizer;
  EXPECT_EQ(pare_tokenizer_open(toy::decoderModel.decoder->tokenizer,
                                toy::decoderModel.decoder->tokenizer_bytes,
                                &tokenizer),
            PARE_TOKENIZER_OK);
  std::vector<Str> stops;
  for (const std::string &stop : stopTexts)
    stops.push_back({stop.data(), stop.size()});
  AnswerText text;
  EXPECT_TRUE(text.begin(tokenizer, false, stops.data(), uint32_t(stops.size()),
                         nullptr, 0));
  std::string last;
  auto shown = [&] {
    return std::string(text.shown().data, text.shown().size);
  };
  stopped = false;
  for (size_t i = 0; i < bytes.size() && !stopped; ++i) {
    EXPECT_TRUE(text.add(uint8_t(bytes[i]), stopped));
    std::string now = shown();
    EXPECT_EQ(now.substr(0, last.size()), last);
    // A character's first byte comes with its last one.
    std::string piece = now.substr(last.size());
    if (!piece.empty())
      EXPECT_NE(uint8_t(piece[0]) & 0xc0, 0x80);
    last = now;
  }
  if (!stopped)
    EXPECT_TRUE(text.finish(stopped));
  return shown();
}

} // namespace

TEST(AnswerText, WholeCharacters) {
  bool stopped;
  for (std::string text : {"grüße", "日本語", "🙂 ok", "e\u0301"})
    EXPECT_EQ(shownBy(text, {}, stopped), text);
  EXPECT_EQ(shownBy("a\xe6\x97", {}, stopped), "a\ufffd");
  EXPECT_EQ(shownBy("\x80z", {}, stopped), "\ufffdz");
}

TEST(AnswerText, StopTexts) {
  struct {
    std::string text;
    std::vector<std::string> stops;
    std::string shown;
    bool stopped;
  } cases[] = {
      {"one two three", {"two"}, "one ", true},
      {"one two three", {"tww", "three"}, "one two ", true},
      {"aaab", {"aab"}, "a", true},
      {"ababac", {"abac"}, "ab", true},
      {"one twx", {"two"}, "one twx", false},
      {"one tw", {"two"}, "one tw", false},
      {"日本語。次", {"。"}, "日本語", true},
      {"日本語", {"\x9c\xac"}, "日", true}, // inside a character
      {"ab", {"b", "ab"}, "", true},
      {"x", {""}, "x", false},
      {"ok\xff", {"\ufffd"}, "ok", true},
  };
  for (const auto &c : cases) {
    bool stopped;
    EXPECT_EQ(shownBy(c.text, c.stops, stopped), c.shown) << c.text;
    EXPECT_EQ(stopped, c.stopped) << c.text;
  }
}
