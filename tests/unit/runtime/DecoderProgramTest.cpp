//===- DecoderProgramTest.cpp - The commands of a language model ----------===//
#include "ProgramTest.h"
#include "ToyDecoder.h"

#include <cmath>
#include <pty.h>
#include <signal.h>

namespace {

using Tokens = std::vector<int32_t>;

class DecoderTest : public ProgramTest {
protected:
  /// Text by the model's definition, all of it likeliest tokens.
  static std::string greedy(std::string prompt, size_t count,
                            bool begins = true) {
    Tokens history;
    if (begins)
      history.push_back(toy::kBegin);
    for (char c : prompt)
      history.push_back(uint8_t(c));
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      int32_t best = 0;
      auto logit = [&](int32_t v) {
        return toy::logitAfter(history.data(), history.size(), v);
      };
      for (int32_t v = 1; v < int32_t(toy::kVocabulary); ++v)
        if (logit(v) > logit(best))
          best = v;
      history.push_back(best);
      text += char(best);
    }
    return text;
  }
  static std::string chatPrompt(const std::string &messages) {
    return messages + "<|im_start|>assistant\n";
  }
  static std::string message(const std::string &role,
                             const std::string &content) {
    return "<|im_start|>" + role + "\n" + content + "<|im_end|>\n";
  }
};

} // namespace

TEST_F(DecoderTest, Help) {
  Ran ran = run("toy_decoder --help");
  for (const char *part : {"generate ", "chat ", "perplexity ", "pp", "info "})
    EXPECT_TRUE(contains(ran.out, part)) << part;
  for (const char *command : {"generate", "chat", "perplexity", "bench"}) {
    ran = run(std::string("toy_decoder ") + command + " --help");
    EXPECT_EQ(ran.code, 0);
    EXPECT_TRUE(contains(ran.out, "example:\n  ./toy_decoder ")) << ran.out;
  }
  expectError("toy generate x", "unknown command 'generate'; see --help");
  ran = run("toy_decoder info");
  EXPECT_TRUE(contains(ran.out, "context   200 tokens of 258")) << ran.out;
  EXPECT_TRUE(contains(run("toy_decoder info --json").out, "\"context\":200"));
}

TEST_F(DecoderTest, GenerateContinuesPrompts) {
  std::string greedily = " --temperature 0 --max-tokens 30";
  std::string once = greedy("Once", 30), lines = greedy("two\nlines", 30);
  EXPECT_EQ(run("toy_decoder generate Once" + greedily).out, once + "\n");
  EXPECT_EQ(run("toy_decoder generate --guard Once" + greedily).out,
            once + "\n");
  EXPECT_EQ(
      run("toy_decoder generate --weights-memory huge Once" + greedily).out,
      once + "\n");
  std::ofstream(path("prompt")) << "two\nlines\n";
  EXPECT_EQ(run("toy_decoder generate" + greedily + " <" + path("prompt")).out,
            lines + "\n");
  EXPECT_EQ(run("toy_decoder generate Once 'two\nlines'" + greedily).out,
            once + "\n" + lines + "\n");
  // More answers than sequences.
  std::string prompts, expected;
  for (int i = 0; i < 20; ++i) {
    prompts += " p" + std::to_string(i);
    expected += greedy("p" + std::to_string(i), 12) + "\n";
  }
  EXPECT_EQ(
      run("toy_decoder generate --temperature 0 --max-tokens 12" + prompts).out,
      expected);
}

TEST_F(DecoderTest, GenerateOptions) {
  std::string text = greedy("stop", 60);
  Ran ran = run("toy_decoder generate stop --temperature 0 --max-tokens 60 "
                "--stop nothing --stop '" +
                text.substr(8, 3) + "'");
  EXPECT_EQ(ran.out, text.substr(0, text.find(text.substr(8, 3))) + "\n");

  std::string sampled =
      "toy_decoder generate seed --max-tokens 40 --temperature 1.2 --seed ";
  Ran one = run(sampled + "1 --n 3");
  EXPECT_EQ(run(sampled + "1 --n 3 --threads 3 --guard").out, one.out);
  EXPECT_NE(run(sampled + "2 --n 3").out, one.out);
  // The first of several answers is the only one of one.
  EXPECT_EQ(run(sampled + "1").out, one.out.substr(0, one.out.find('\n') + 1));
  EXPECT_EQ(std::count(one.out.begin(), one.out.end(), '\n'), 3);

  EXPECT_EQ(
      run("toy_decoder generate x --logit-bias 33:100 --max-tokens 5").out,
      "!!!!!\n");
  EXPECT_EQ(run("toy_decoder generate x --logit-bias 257:100").out, "\n");
  EXPECT_EQ(run("toy_decoder generate x --logit-bias 257:100 --max-tokens 2 "
                "--ignore-stop-tokens --special")
                .out,
            "</s></s>\n");
  EXPECT_EQ(run("toy_decoder generate x --logit-bias=257:100 --max-tokens 2 "
                "--ignore-stop-tokens")
                .out,
            "\n");
  ran = run("toy_decoder generate x --temperature 0 --max-tokens 9 --stats");
  EXPECT_TRUE(contains(ran.error, "prompt 2 tokens, ")) << ran.error;
  EXPECT_TRUE(contains(ran.error, "answer 9 tokens, ")) << ran.error;
  ran = run("toy_decoder generate x --temperature 0");
  EXPECT_EQ(ran.out.size(), 200u);
  EXPECT_TRUE(contains(ran.error, "the context of 200 tokens is full"));
}

TEST_F(DecoderTest, GenerateJson) {
  Ran ran = run("toy_decoder generate 'a\"b' --temperature 0 --max-tokens 2 "
                "--seed 5 --json --logprobs 1");
  std::string text = greedy("a\"b", 2);
  for (std::string part :
       {std::string("{\"prompt\":\"a\\\"b\",\"text\":\"") + text + "\"",
        std::string("\"finish\":\"length\",\"seed\":5,\"index\":0,"
                    "\"prompt_tokens\":4,\"reused_tokens\":0,\"tokens\":2,"
                    "\"logprobs\":[{\"token\":\"") +
            text[0] + "\",\"id\":" + std::to_string(int(text[0])) +
            ",\"logprob\":-"})
    EXPECT_TRUE(contains(ran.out, part)) << part << '\n' << ran.out;
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1);
}

TEST_F(DecoderTest, CachesInFiles) {
  std::string first = greedy("beginning", 20);
  Ran ran = run("toy_decoder generate beginning --temperature 0 --max-tokens "
                "20 --cache-save " +
                path("cache"));
  EXPECT_EQ(ran.out, first + "\n");
  std::string prompt = "beginning" + first + " and";
  ran = run("toy_decoder generate '" + prompt +
            "' --temperature 0 --max-tokens 20 --json --cache-load " +
            path("cache"));
  EXPECT_TRUE(contains(ran.out, "\"text\":\"" + greedy(prompt, 20) + "\""))
      << ran.out;
  EXPECT_TRUE(contains(ran.out, "\"reused_tokens\":29,")) << ran.out;
  std::ofstream(path("cut"), std::ios::binary)
      << readText(path("cache")).substr(0, 300);
  expectError("toy_decoder generate x --cache-load " + path("cut"),
              "'" + path("cut") + "': not a whole saved sequence");
  expectError("toy_decoder generate x --cache-load " + path("none"),
              "cannot read '" + path("none") + "': no such file or folder");
}

TEST_F(DecoderTest, GenerateNamesWhatIsWrong) {
  std::string at = "toy_decoder generate x ";
  expectError(at + "--temperature hot",
              "--temperature is 'hot', expected a number from 0 to 1000");
  expectError(at + "--top-p 1.5",
              "--top-p is '1.5', expected a number from 0 to 1");
  expectError(at + "--logit-bias 258:1",
              "--logit-bias is '258:1', expected ID:X with a token below 258 "
              "and a number or -inf");
  expectError(at + "--logprobs 2", "--logprobs needs --json");
  expectError(at + "--n 2 --cache-save " + path("c"),
              "--cache-save and --cache-load take one prompt and one answer");
  expectError(at + "--weights-memory tape",
              "--weights-memory is 'tape', expected map or huge");
  expectError("toy_decoder generate " + std::string(200, 'x'),
              "the prompt has 201 tokens, more than the model's context of "
              "200");
  std::string line = TOY_PROGRAMS
                     "/toy_decoder generate x --max-tokens 3 >/dev/full 2>" +
                     path("err");
  EXPECT_EQ(WEXITSTATUS(system(line.c_str())), 1);
  EXPECT_EQ(readText(path("err")),
            "toy_decoder: error: cannot write to standard output\n");
}

TEST_F(DecoderTest, ChatReadsLines) {
  std::ofstream(path("lines")) << "hi\r\n\n  there \n/reset\nhi\n/help\n";
  Ran ran =
      run("toy_decoder chat --temperature 0 --max-tokens 8 <" + path("lines"));
  EXPECT_EQ(ran.code, 0) << ran.error;
  std::string first = greedy(chatPrompt(message("user", "hi")), 8, false);
  std::string second =
      greedy(chatPrompt(message("user", "hi") + message("assistant", first) +
                        message("user", "there")),
             8, false);
  EXPECT_EQ(ran.out.substr(0, 27), first + "\n" + second + "\n" + first + "\n");
  EXPECT_TRUE(contains(ran.out.substr(27), "/reset"));
  std::ofstream(path("line")) << "hi";
  ran = run("toy_decoder chat --system Brief. --temperature 0 --max-tokens 8 "
            "--stats <" +
            path("line"));
  EXPECT_EQ(ran.out, greedy(chatPrompt(message("system", "Brief.") +
                                       message("user", "hi")),
                            8, false) +
                         "\n");
  EXPECT_TRUE(contains(ran.error, "(0 reused)")) << ran.error;
}

TEST_F(DecoderTest, ChatAtATerminal) {
  int terminal;
  pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::string history = path("history");
    execl(TOY_PROGRAMS "/toy_decoder", "toy_decoder", "chat", "--quiet",
          "--temperature", "0", "--max-tokens", "8", "--history",
          history.c_str(), nullptr);
    _exit(127);
  }
  std::string seen;
  auto waitFor = [&](const std::string &part) {
    char buffer[4096];
    ssize_t n;
    while (seen.find(part) == std::string::npos &&
           (n = read(terminal, buffer, sizeof(buffer))) > 0)
      seen.append(buffer, size_t(n));
    size_t at = seen.find(part);
    EXPECT_NE(at, std::string::npos) << part << " in\n" << seen;
    seen.erase(0, at == std::string::npos ? 0 : at + part.size());
  };
  auto type = [&](const std::string &keys) {
    EXPECT_EQ(write(terminal, keys.data(), keys.size()), ssize_t(keys.size()));
  };
  std::string first = greedy(chatPrompt(message("user", "hi")), 8, false);
  waitFor("> ");
  type("xhi\x1b[D\x1b[D\x7f\r"); // takes the x away
  waitFor(first);
  waitFor("> ");
  type("/reset\r");
  waitFor("\n");
  waitFor("> ");
  type("gone\x03"); // Ctrl-C drops the line
  waitFor("\n");
  waitFor("> ");
  type("\x1b[A\x1b[A\r"); // up: /reset, hi
  waitFor(first);
  waitFor("> ");
  type("\x04");
  int status;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  close(terminal);
  EXPECT_EQ(readText(path("history")), "hi\n/reset\nhi\n");
}

TEST_F(DecoderTest, CtrlCEndsAnAnswer) {
  // A context of 200 tokens is soon full, so the answers are many.
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    dup2(pipes[1], 1);
    close(pipes[0]);
    execl(TOY_PROGRAMS "/toy_decoder", "toy_decoder", "generate", "x",
          "--quiet", "--n", "100000", nullptr);
    _exit(127);
  }
  close(pipes[1]);
  std::string text;
  char buffer[4096];
  bool sent = false;
  for (ssize_t n; (n = read(pipes[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, size_t(n));
    if (!sent && text.size() > 2000)
      sent = kill(child, SIGINT) == 0;
  }
  close(pipes[0]);
  int status;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130);
  EXPECT_LT(text.size(), 100000u * 150);
  EXPECT_EQ(text.back(), '\n');
}

TEST_F(DecoderTest, Perplexity) {
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += char('a' + i * i % 23);
  std::ofstream(path("text")) << text;
  const size_t size = 90;
  double half = 0, all = 0;
  size_t halfCount = 0, allCount = 0;
  std::string tokens = '\0' + text; // the first stands for the begin token
  for (size_t chunk = 0; chunk < tokens.size() / size; ++chunk) {
    Tokens ids = {toy::kBegin};
    for (size_t i = 1; i < size; ++i)
      ids.push_back(uint8_t(tokens[chunk * size + i]));
    for (size_t i = 1; i < size; ++i) {
      double sum = 0;
      for (int32_t v = 0; v < int32_t(toy::kVocabulary); ++v)
        sum += std::exp(double(toy::logitAfter(ids.data(), i, v)));
      double loss =
          std::log(sum) - double(toy::logitAfter(ids.data(), i, ids[i]));
      all += loss;
      ++allCount;
      if (i >= size / 2 + 1) {
        half += loss;
        ++halfCount;
      }
    }
  }
  auto valueOf = [&](const std::string &json, const std::string &part) {
    size_t at = json.find("\"" + part + "\":{\"perplexity\":");
    EXPECT_NE(at, std::string::npos) << json;
    return std::stod(json.substr(json.find(':', at + part.size() + 3) + 1));
  };
  Ran ran = run("toy_decoder perplexity " + path("text") +
                " --context 90 --all --json");
  EXPECT_EQ(ran.code, 0) << ran.error;
  double expected = std::exp(half / double(halfCount));
  EXPECT_NEAR(valueOf(ran.out, "second_half"), expected, 1e-5 * expected);
  expected = std::exp(all / double(allCount));
  EXPECT_NEAR(valueOf(ran.out, "all"), expected, 1e-5 * expected);
  Ran same = run("toy_decoder perplexity - --context 90 --json --guard <" +
                 path("text"));
  EXPECT_EQ(valueOf(same.out, "second_half"), valueOf(ran.out, "second_half"));
  EXPECT_TRUE(contains(
      run("toy_decoder perplexity --context 50 --chunks 2 " + path("text")).out,
      "chunks      2 of 50 tokens"));
  expectError("toy_decoder perplexity " + path("text"),
              "--context is 512, the model's context is 200");
  std::ofstream(path("short")) << "short";
  expectError("toy_decoder perplexity --context 100 " + path("short"),
              "the text has 6 tokens, fewer than one chunk of 100; see "
              "--context");
}

TEST_F(DecoderTest, LogitsOfGivenTokens) {
  const size_t size = 50, chunks = 2;
  Tokens ids;
  for (size_t i = 0; i < chunks * size; ++i)
    ids.push_back(i % size ? int32_t('a' + i * i % 23) : toy::kBegin);
  writeNpy("tokens.npy", PARE_I32, {int64_t(chunks), int64_t(size)}, ids);
  Ran ran =
      run("toy_decoder perplexity --logits --tokens " + path("tokens.npy"));
  EXPECT_EQ(ran.code, 0) << ran.error;
  // Rows of the second halves, but for the last token's.
  const size_t rows = size - 1 - size / 2;
  ASSERT_EQ(ran.out.size(), chunks * rows * toy::kVocabulary * sizeof(float));
  std::vector<float> logits(ran.out.size() / sizeof(float));
  memcpy(logits.data(), ran.out.data(), ran.out.size());
  for (size_t chunk = 0; chunk < chunks; ++chunk)
    for (size_t row = 0; row < rows; ++row)
      for (int32_t v = 0; v < int32_t(toy::kVocabulary); v += 37)
        EXPECT_NEAR(
            logits[(chunk * rows + row) * toy::kVocabulary + size_t(v)],
            toy::logitAfter(ids.data() + chunk * size, size / 2 + row + 1, v),
            1e-5);
  writeNpy("flat.npy", PARE_I32, {int64_t(ids.size())}, ids);
  expectError("toy_decoder perplexity --logits --tokens " + path("flat.npy"),
              "'" + path("flat.npy") + "' is not of int32 [chunks, tokens]");
  writeNpy("wide.npy", PARE_I32, {1, 201}, Tokens(201));
  expectError("toy_decoder perplexity --tokens " + path("wide.npy"),
              "--context is 201, the model's context is 200");
  writeNpy("beyond.npy", PARE_I32, {1, 4}, Tokens{1, 2, 3, 258});
  expectError("toy_decoder perplexity --tokens " + path("beyond.npy"),
              "the tokenizer has tokens that the model lacks");
}

TEST_F(DecoderTest, TablesAreWritten) {
  EXPECT_EQ(
      run("toy_decoder info --quiet --write-tokenizer " + path("table")).code,
      0);
  const PareDecoderInfo &info = *toy::decoderModel.decoder;
  EXPECT_EQ(readText(path("table")),
            std::string(reinterpret_cast<const char *>(info.tokenizer),
                        info.tokenizer_bytes));
}

TEST_F(DecoderTest, Bench) {
  Ran ran = run("toy_decoder bench -p 40 -n 10 -t 1,2 -r 2 -b 3 --profile");
  EXPECT_EQ(ran.code, 0) << ran.error;
  for (const char *part : {"pp40 ", "tg10 x3", "map", "huge",
                           "GB/s on 2 threads", "cached_attention, logits"})
    EXPECT_TRUE(contains(ran.out, part)) << part << '\n' << ran.out;
  ran =
      run("toy_decoder bench -p 0 -n 5 -t 1 -r 1 --weights-memory map --json");
  EXPECT_TRUE(contains(ran.out, "\"tests\":[{\"test\":\"tg5\",\"threads\":1,"
                                "\"weights\":\"map\",\"batch\":1,"))
      << ran.out;
  EXPECT_TRUE(contains(ran.out, "\"read_bandwidth\":[{\"threads\":1,"));
  ran = run("toy_decoder bench -p 20 -n 10 -b 2 -d 180 -t 1 -r 1");
  EXPECT_EQ(ran.code, 0) << ran.error;
  for (const char *part : {"pp20 @ d180 ", "tg10 x2 @ d180 "})
    EXPECT_TRUE(contains(ran.out, part)) << part << '\n' << ran.out;
  expectError("toy_decoder bench -p 201",
              "-p and -n, each with -d, take 200 at most, the model's context");
  expectError("toy_decoder bench -d 191 -p 0 -n 10",
              "-p and -n, each with -d, take 200 at most, the model's context");
  expectError("toy_decoder bench -p 1 -n 1 --profile --json",
              "--profile prints tables: leave --json out");
  expectError("toy_decoder bench -p 1 -n 1 -t 1,x",
              "-t takes thread counts: 1,2,4");
}

TEST_F(DecoderTest, Run) {
  writeNpy<int32_t>("tokens.npy", PARE_I32, {3}, {256, 104, 105});
  writeNpy<int32_t>("positions.npy", PARE_I32, {3}, {0, 1, 2});
  writeNpy<int32_t>("sequences.npy", PARE_I32, {3}, {1, 1, 1});
  writeNpy<int32_t>("outputs.npy", PARE_I32, {1}, {2});
  std::string line = "toy_decoder run";
  for (const char *input : {"tokens", "positions", "sequences", "outputs"})
    line += std::string(" --input ") + input + "=" +
            path(std::string(input) + ".npy");
  line += " --output " + path("logits.npy");
  expectError(line, "input 'sequences': element 0 is 1, expected 0 to 0");
  ASSERT_EQ(run(line + " --sequences 2").code, 0);
  std::vector<float> logits = valuesOf<float>(readText(path("logits.npy")));
  ASSERT_EQ(logits.size(), size_t(toy::kColumns));
  Tokens history = {256, 104, 105};
  for (int32_t v = 0; v < int32_t(toy::kVocabulary); ++v)
    EXPECT_EQ(logits[size_t(v)], toy::logitAfter(history.data(), 3, v));
}

TEST_F(DecoderTest, Size) {
  EXPECT_LE(std::filesystem::file_size(TOY_PROGRAMS "/toy_decoder"),
            280u << 10);
}
