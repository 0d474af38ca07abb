#include "frontend/chat/Template.h"
#include "frontend/tokenizer/Tokenizer.h"
#include "tools/Arrays.h"
#include "tools/Calibration.h"
#include "tools/Cli.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace pare;
using namespace pare::tools;

namespace {

/// Words "a" to "e" are 4 to 8, [BOS] is 0, [UNK] 1.
constexpr StringLiteral kTokenizer = R"({"version":"1.0","truncation":null,
  "padding":null,"added_tokens":[
    {"id":0,"content":"[BOS]","special":true,"normalized":false},
    {"id":1,"content":"[UNK]","special":true,"normalized":false}],
  "normalizer":null,"pre_tokenizer":{"type":"BertPreTokenizer"},
  "post_processor":{"type":"TemplateProcessing",
    "single":[{"SpecialToken":{"id":"[BOS]","type_id":0}},
              {"Sequence":{"id":"A","type_id":0}}],
    "pair":[{"Sequence":{"id":"A","type_id":0}},
            {"Sequence":{"id":"B","type_id":1}}],
    "special_tokens":{"[BOS]":{"id":"[BOS]","ids":[0],"tokens":["[BOS]"]}}},
  "decoder":null,"model":{"type":"WordPiece","unk_token":"[UNK]",
    "continuing_subword_prefix":"##","max_input_chars_per_word":16,
    "vocab":{"[BOS]":0,"[UNK]":1,"user":2,"assistant":3,"a":4,"b":5,"c":6,
             "d":7,"e":8}}})";

class DataTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(sys::fs::createUniqueDirectory("pare-data", folder));
  }
  void TearDown() override { sys::fs::remove_directories(folder); }

  std::string path(const Twine &name) {
    SmallString<128> result(folder);
    sys::path::append(result, name);
    return std::string(result);
  }
  std::string write(const Twine &name, StringRef text) {
    std::string file = path(name);
    EXPECT_FALSE(sys::fs::create_directories(sys::path::parent_path(file)));
    std::error_code error;
    raw_fd_ostream(file, error) << text;
    return file;
  }
  static std::string failure(Error error) {
    EXPECT_TRUE(bool(error));
    return toString(std::move(error));
  }
  template <typename T> static std::string failure(Expected<T> value) {
    return failure(value.takeError());
  }
  /// Names of the files of one path, relative to the folder.
  std::vector<std::string> list(const std::string &text) {
    Expected<std::vector<DataFile>> files = findDataFiles({text});
    std::vector<std::string> names;
    if (!files)
      return {toString(files.takeError())};
    for (const DataFile &file : *files)
      names.push_back(file.path.substr(folder.size() + 1));
    return names;
  }
  std::vector<Document> read(const std::string &text, bool byLine = false) {
    std::vector<Document> documents;
    Expected<std::vector<DataFile>> files = findDataFiles({text});
    EXPECT_TRUE(bool(files));
    for (const DataFile &file : *files)
      if (Error error = readDocuments(file, byLine, documents))
        documents.push_back({"", "", "", toString(std::move(error))});
    return documents;
  }
  static std::vector<uint8_t> table() {
    auto description = tokenizer::readTokenizerJson(kTokenizer, "t.json");
    EXPECT_TRUE(bool(description));
    auto result = tokenizer::writeTable(*description, "t.json");
    EXPECT_TRUE(bool(result));
    return *result;
  }
  static TextTokenizer openTokenizer(ArrayRef<uint8_t> chat = {}) {
    Expected<TextTokenizer> result = TextTokenizer::open(table(), chat, "toy");
    EXPECT_TRUE(bool(result));
    return std::move(*result);
  }

  SmallString<128> folder;
};

TEST_F(DataTest, SharesOfPaths) {
  std::string file = write("x.txt", "text");
  Expected<DataPath> share = parseDataPath(file + ":12.5%-50%");
  ASSERT_TRUE(bool(share));
  EXPECT_EQ(share->path, file);
  EXPECT_EQ(share->begin, 0.125);
  EXPECT_EQ(share->end, 0.5);
  for (const char *plain : {"x.txt", "a:b.txt", "a:50%", "a:x%-5%"}) {
    share = parseDataPath(plain);
    ASSERT_TRUE(bool(share));
    EXPECT_EQ(share->path, plain);
    EXPECT_EQ(share->end, 1);
  }
  for (const char *wrong : {"x:50%-10%", "x:0%-0%", "x:0%-101%"})
    EXPECT_NE(failure(parseDataPath(wrong)).find("expected a share"),
              std::string::npos);
  // A file whose name looks like a share is itself.
  std::string odd = write("x.txt:0%-50%", "odd");
  EXPECT_EQ(read(odd)[0].text, "odd");
}

TEST_F(DataTest, FoldersAreListedInOrder) {
  write("d/2/b.png", "x");
  write("d/1/a.png", "x");
  write("d/1/.hidden", "x");
  write("d/labels.txt", "x");
  write("d/3.png", "x");
  using Names = std::vector<std::string>;
  EXPECT_EQ(list(path("d")), (Names{"d/1/a.png", "d/2/b.png", "d/3.png"}));
  EXPECT_EQ(list(path("d") + ":0%-34%"), Names{"d/1/a.png"});
  EXPECT_EQ(list(path("d") + ":34%-100%"), (Names{"d/2/b.png", "d/3.png"}));
  Expected<std::vector<DataFile>> files = findDataFiles({path("d")});
  ASSERT_TRUE(bool(files));
  EXPECT_EQ((*files)[0].folder, "1");
  EXPECT_EQ((*files)[2].folder, "");
  EXPECT_NE(list(path("absent"))[0].find("no such file"), std::string::npos);
  sys::fs::create_directories(path("empty"));
  EXPECT_NE(list(path("empty"))[0].find("no files in"), std::string::npos);
  EXPECT_NE(list(path("d") + ":0%-1%")[0].find("no files in this share"),
            std::string::npos);
}

TEST_F(DataTest, SharesOfTextsDoNotOverlap) {
  std::string lines, words;
  for (int i = 0; i < 1000; ++i) {
    lines += "line " + std::to_string(i) + "\n";
    words += "word" + std::to_string(i) + " ";
  }
  for (StringRef text : {StringRef(lines), StringRef(words)}) {
    std::string file = write("t.txt", text);
    std::string joined;
    for (const char *share : {":0%-13%", ":13%-50%", ":50%-100%"}) {
      std::vector<Document> part = read(file + share);
      ASSERT_EQ(part.size(), 1u);
      EXPECT_TRUE(isSpace(part[0].text.back()));
      joined += part[0].text;
    }
    EXPECT_EQ(joined, text);
  }
  std::string json;
  for (int i = 0; i < 10; ++i)
    json += "{\"text\":\"" + std::to_string(i) + "\"}\n\n";
  std::string file = write("t.jsonl", json);
  EXPECT_EQ(read(file + ":0%-30%").size(), 3u);
  EXPECT_EQ(read(file + ":30%-100%")[0].text, "3");
}

TEST_F(DataTest, LinesAreTexts) {
  std::string file = write("t.txt", "one\r\n\n  \ntwo\nthree");
  std::vector<Document> lines = read(file, /*byLine=*/true);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text, "one");
  EXPECT_EQ(lines[1].where, file + ":4");
  EXPECT_EQ(lines[2].text, "three");
  EXPECT_EQ(read(file).size(), 1u);
}

TEST_F(DataTest, JsonLines) {
  std::string file = write(
      "t.jsonl",
      "{\"text\":\"plain\"}\n"
      "{\"prompt\":\"Hi\",\"response\":\"Ho\",\"more\":1}\n"
      "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[]}\n");
  std::vector<Document> documents = read(file);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[0].messages, "");
  EXPECT_EQ(documents[1].text, "Hi\nHo\n");
  EXPECT_EQ(documents[1].messages, R"([{"content":"Hi","role":"user"},)"
                                   R"({"content":"Ho","role":"assistant"}])");
  EXPECT_EQ(documents[2].tools, "[]");
  EXPECT_EQ(documents[2].where, file + ":3");
}

TEST_F(DataTest, BadTexts) {
  EXPECT_NE(read(write("a.txt", ""))[0].where.find("' is empty"),
            std::string::npos);
  EXPECT_NE(read(write("b.txt", " \n\n"))[0].where.find("' is empty"),
            std::string::npos);
  EXPECT_NE(read(write("c.txt", StringRef("ab\0c", 4)))[0].where.find(
                "is not a text: byte 2 is zero"),
            std::string::npos);
  const std::pair<const char *, const char *> lines[] = {
      {"{\"text\":", ":2: not JSON"},
      {"[1]", ":2: expected an object"},
      {"{\"prompt\":\"x\"}", ":2: expected an object"},
      {"{\"text\":1}", ":2: \"text\" is not a text"},
      {"{\"prompt\":1,\"response\":\"x\"}", ":2: \"prompt\" is not a text"},
      {"{\"messages\":[]}", ":2: \"messages\" is not a list"},
      {"{\"messages\":[{\"content\":\"x\"}]}", ":2: a message is not"},
  };
  for (auto [line, message] : lines) {
    std::string file =
        write("bad.jsonl", "{\"text\":\"x\"}\n" + Twine(line).str());
    std::string error = read(file).back().where;
    EXPECT_NE(error.find(file + message), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

TEST_F(DataTest, TokensAndTheTokenThatBegins) {
  TextTokenizer tokenizer = openTokenizer();
  EXPECT_EQ(tokenizer.getBegin(), 0);
  Document document{"a b e", "", "", "x"};
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(*tokenizer.encode(document), (Ids{0, 4, 5, 8}));
  EXPECT_EQ(*tokenizer.encode(document, 3), (Ids{0, 4, 5}));
  Expected<TokenStream> stream =
      encodeAll({document, document}, tokenizer, 9, nullptr);
  ASSERT_TRUE(bool(stream));
  EXPECT_EQ(stream->tokens, (Ids{0, 4, 5, 8, 0, 4, 5, 8}));
  EXPECT_EQ(stream->bytes, 10u);
  EXPECT_NE(failure(encodeAll({document}, tokenizer, 8, nullptr))
                .find("x: token 8 of the tokenizer is beyond the model's 8"),
            std::string::npos);
  EXPECT_NE(failure(encodeAll({{" ", "", "", "x"}}, tokenizer, 9, nullptr))
                .find("no tokens"),
            std::string::npos);
  uint8_t damaged[64] = {};
  EXPECT_NE(failure(TextTokenizer::open(damaged, {}, "toy")).find("damaged"),
            std::string::npos);
}

TEST_F(DataTest, ConversationsGoThroughTheTemplate) {
  Document document{"a\nb\n",
                    R"([{"role":"user","content":"a"},)"
                    R"({"role":"assistant","content":"b"}])",
                    "", "chat.jsonl:1"};
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(*openTokenizer().encode(document), (Ids{0, 4, 5}));
  auto chat = chat::compileTemplate(
      "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}", "t");
  ASSERT_TRUE(bool(chat));
  EXPECT_EQ(*openTokenizer(*chat).encode(document), (Ids{2, 4, 3, 5}));
  chat = chat::compileTemplate("{{ raise_exception('no') }}", "t");
  ASSERT_TRUE(bool(chat));
  EXPECT_NE(failure(openTokenizer(*chat).encode(document)).find("chat.jsonl:1"),
            std::string::npos);
}

TEST_F(DataTest, StrangeTextIsToldOf) {
  TextTokenizer tokenizer = openTokenizer();
  auto strange = [&](StringRef text, unsigned times = 20) {
    std::vector<Document> documents(times, {text.str(), "", "", "x"});
    return encodeAll(documents, tokenizer, 9, nullptr)->findStrange();
  };
  // One in five tokens unknown, then two in four.
  EXPECT_FALSE(strange("assistant user assistant user zzz"));
  ASSERT_TRUE(strange("assistant zzz zzz user"));
  EXPECT_NE(strange("assistant zzz zzz user")->find("50% of the tokens"),
            std::string::npos);
  // Three bytes in two tokens: the one that begins is no text.
  ASSERT_TRUE(strange("a b"));
  EXPECT_NE(strange("a b")->find("1.5 bytes"), std::string::npos);
  EXPECT_FALSE(strange("a b", 2)); // too few to say
}

TEST(Chunks, BeginAsTextsDo) {
  using Chunks = std::vector<std::vector<int32_t>>;
  std::vector<int32_t> ids = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(cutChunks(ids, 4, std::nullopt, false),
            (Chunks{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(cutChunks(ids, 4, 99, true),
            (Chunks{{99, 1, 2, 3}, {99, 5, 6, 7}, {99, 9}}));
  EXPECT_EQ(cutChunks(ArrayRef(ids).take_front(9), 4, 99, true).size(), 2u);
  EXPECT_TRUE(cutChunks(ids, 11, 99, false).empty());
}

TEST(Chunks, DrawnOnceEachFromEqualParts) {
  EXPECT_EQ(drawSpread(3, 5, 1), (std::vector<size_t>{0, 1, 2}));
  for (auto [count, wanted] :
       {std::pair<size_t, size_t>(10, 4), {100, 99}, {1000, 7}, {7, 7}})
    for (uint64_t seed = 0; seed < 50; ++seed) {
      std::vector<size_t> drawn = drawSpread(count, wanted, seed);
      ASSERT_EQ(drawn.size(), wanted);
      for (size_t i = 0; i < wanted; ++i) {
        EXPECT_LT(drawn[i], count);
        EXPECT_TRUE(i == 0 || drawn[i - 1] < drawn[i]);
        double part = double(count) / double(wanted);
        EXPECT_GE(double(drawn[i]) + 1, part * double(i));
        EXPECT_LE(double(drawn[i]), part * double(i + 1));
      }
    }
  EXPECT_EQ(drawSpread(1000, 7, 3), drawSpread(1000, 7, 3));
  EXPECT_NE(drawSpread(1000, 7, 3), drawSpread(1000, 7, 4));
}

//===----------------------------------------------------------------------===//
// Samples
//===----------------------------------------------------------------------===//

class SamplesTest : public DataTest {
protected:
  void SetUp() override {
    DataTest::SetUp();
    loadDialects(context);
  }
  /// A model of inputs only.
  Model makeModel(ArrayRef<std::tuple<StringRef, nn::Shape, mlir::Type>> inputs,
                  ArrayRef<int64_t> minima, ArrayRef<int64_t> maxima) {
    Model model;
    mlir::OpBuilder builder(&context);
    mlir::Location loc = builder.getUnknownLoc();
    model.module = mlir::ModuleOp::create(loc);
    builder.setInsertionPointToEnd(model.module->getBody());
    SmallVector<mlir::Type> types;
    for (const auto &[name, shape, element] : inputs)
      types.push_back(nn::getTensorType(shape, element));
    auto entry = mlir::func::FuncOp::create(builder, loc, "main",
                                            builder.getFunctionType(types, {}));
    entry.addEntryBlock();
    for (auto [i, input] : enumerate(inputs))
      entry.setArgAttr(i, nn::kNameAttr,
                       builder.getStringAttr(std::get<0>(input)));
    entry->setAttr(nn::kDimMinAttr, builder.getDenseI64ArrayAttr(minima));
    entry->setAttr(nn::kDimMaxAttr, builder.getDenseI64ArrayAttr(maxima));
    builder.setInsertionPointToEnd(&entry.getBody().front());
    mlir::func::ReturnOp::create(builder, loc);
    model.name = "toy";
    return model;
  }
  nn::Dim symbol(unsigned i) { return mlir::getAffineSymbolExpr(i, &context); }
  nn::Dim size(int64_t n) { return nn::constant(n, &context); }
  mlir::Type i32() { return mlir::IntegerType::get(&context, 32); }
  mlir::Type i64() { return mlir::IntegerType::get(&context, 64); }
  mlir::Type f32() { return mlir::Float32Type::get(&context); }

  Model makeDecoder(int64_t promptTokens = 0) {
    Model model = makeModel({{"tokens", {symbol(0)}, i32()},
                             {"positions", {symbol(0)}, i32()},
                             {"sequences", {symbol(0)}, i32()},
                             {"outputs", {symbol(1)}, i32()}},
                            {1, 1}, {8, 4});
    model.decoder.emplace();
    model.decoder->tokenizer = table();
    model.decoder->vocabulary = 9;
    model.decoder->context = 100;
    model.decoder->promptTokens = promptTokens;
    return model;
  }
  Model makeEncoder(nn::Dim batch, nn::Dim length) {
    Model model = makeModel({{"input_ids", {batch, length}, i64()},
                             {"attention_mask", {batch, length}, i64()},
                             {"token_type_ids", {batch, length}, i64()}},
                            {1, 1}, {64, 5});
    model.encoder.emplace();
    model.encoder->tokenizer = table();
    return model;
  }
  std::vector<int64_t> values(const HostTensor &tensor) {
    return tensor.read<int64_t>();
  }
  Expected<CalibrationData> calibrate(Model &model, const std::string &file,
                                      uint64_t tokens = 1000) {
    CalibrationOptions options;
    options.paths = {file};
    options.tokens = tokens;
    options.outputs = 2;
    return readCalibration(options, model, {});
  }
  mlir::MLIRContext context;
};

using Values = std::vector<int64_t>;

TEST_F(SamplesTest, ChunksOfALanguageModel) {
  Model model = makeDecoder();
  std::string file = write("t.txt", "a b c d e a b c d e");
  Expected<CalibrationData> data = calibrate(model, file);
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  // 11 tokens, at most 8 in a run.
  ASSERT_EQ(data->samples.size(), 2u);
  EXPECT_EQ(data->tokens, 11u);
  const Sample &first = data->samples[0], &last = data->samples[1];
  ASSERT_EQ(first.size(), 4u);
  EXPECT_EQ(values(first[0]), (Values{0, 4, 5, 6, 7, 8, 4, 5}));
  EXPECT_EQ(values(first[1]), (Values{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(values(first[2]), Values(8));
  EXPECT_EQ(values(first[3]), (Values{3, 7}));
  // The token that begins takes the place of the first, as in perplexity.
  EXPECT_EQ(values(last[0]), (Values{0, 7, 8}));
  EXPECT_EQ(values(last[3]), (Values{0, 2}));
  for (const HostTensor &tensor : first)
    EXPECT_EQ(tensor.element(), i32());
  // A budget of one chunk.
  data = calibrate(model, file, 8);
  ASSERT_TRUE(bool(data));
  EXPECT_EQ(data->samples.size(), 1u);
}

TEST_F(SamplesTest, PromptTokensComeFirst) {
  Model model = makeDecoder(/*promptTokens=*/2);
  Expected<CalibrationData> data = calibrate(model, write("t.txt", "a b c"));
  ASSERT_TRUE(bool(data));
  ASSERT_EQ(data->samples.size(), 1u);
  EXPECT_EQ(values(data->samples[0][0]), (Values{9, 10, 0, 4, 5, 6}));
  EXPECT_EQ(values(data->samples[0][1]), (Values{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values(data->samples[0][3]), (Values{3, 5}));
}

TEST_F(SamplesTest, TextsOfAnEncoder) {
  Model model = makeEncoder(symbol(0), symbol(1));
  std::string file = write("t.txt", "a b\n\na b c d e a b c\n");
  Expected<CalibrationData> data = calibrate(model, file);
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  ASSERT_EQ(data->samples.size(), 2u);
  // Each as long as it is, and cut at the model's length.
  EXPECT_EQ(values(data->samples[0][0]), (Values{0, 4, 5}));
  EXPECT_EQ(data->samples[0][0].shape(), ArrayRef<int64_t>({1, 3}));
  EXPECT_EQ(values(data->samples[0][1]), (Values{1, 1, 1}));
  EXPECT_EQ(values(data->samples[1][0]), (Values{0, 4, 5, 6, 7}));
  EXPECT_EQ(data->samples[0][0].element(), i64());

  // Fixed: padded, and rows beyond the last text repeat it.
  Model fixed = makeEncoder(size(3), size(5));
  data = calibrate(fixed, file);
  ASSERT_TRUE(bool(data));
  ASSERT_EQ(data->samples.size(), 1u);
  EXPECT_EQ(values(data->samples[0][0]),
            (Values{0, 4, 5, 0, 0, 0, 4, 5, 6, 7, 0, 4, 5, 6, 7}));
  EXPECT_EQ(values(data->samples[0][1]),
            (Values{1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(values(data->samples[0][2]), Values(15));
}

TEST_F(SamplesTest, ArraysAreChecked) {
  Model model = makeModel({{"x", {symbol(0), size(2)}, f32()}}, {1}, {4});
  auto save = [&](ArrayRef<int64_t> shape, std::vector<float> values) {
    std::string file = path("x.npy");
    EXPECT_FALSE(bool(
        writeArray(file, HostTensor(mlir::RankedTensorType::get(shape, f32()),
                                    ArrayRef<float>(values)))));
    return file;
  };
  Expected<CalibrationData> data = calibrate(model, save({1, 2}, {1, 2}));
  ASSERT_TRUE(bool(data));
  EXPECT_EQ(data->samples.size(), 1u);
  EXPECT_EQ(data->tokens, 0u);
  auto error = [&](const std::string &file) {
    std::string text = failure(calibrate(model, file));
    EXPECT_EQ(text.find("--calibrate: "), 0u) << text;
    EXPECT_NE(text.find(file), std::string::npos) << text;
    return text;
  };
  EXPECT_NE(error(save({1, 3}, {1, 2, 3})).find("has shape"),
            std::string::npos);
  EXPECT_NE(error(save({5, 2}, std::vector<float>(10))).find("expected 1 to 4"),
            std::string::npos);
  EXPECT_NE(error(save({1, 2}, {NAN, INFINITY})).find("has 2 values"),
            std::string::npos);
  EXPECT_NE(error(write("t.txt", "text")).find("no tokenizer"),
            std::string::npos);
}

} // namespace
