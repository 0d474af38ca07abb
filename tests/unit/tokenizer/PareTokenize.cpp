//===- PareTokenize.cpp - Encode texts from standard input ----------------===//
//
//   pare-tokenize PATH [--capacity=N] [--no-special] [--plain] [--repeat=N]
//   pare-tokenize PATH --decode [--skip-special] [--stream]
//
// PATH is what buildTokenizerTable takes, or a .gguf.json (GgufJson.h).
// Standard input holds texts, each a 4-byte little-endian length and that many
// bytes. Prints one JSON list of ids per text, or the error of the table. With
// --repeat, encodes everything N times and prints the throughput instead. With
// --decode, standard input holds lists of 4-byte ids behind their lengths in
// bytes, and texts come out behind their lengths; with --stream, through the
// streaming decoder, which must give whole characters at every step.
//
//===----------------------------------------------------------------------===//
#include "GgufJson.h"
#include "backends/runtime/Tokenizer.h"
#include "backends/runtime/TokenizerDecode.h"
#include "frontend/gguf/File.h"
#include "frontend/gguf/Vocabulary.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace llvm;

static cl::opt<std::string> path(cl::Positional, cl::Required);
static cl::opt<uint64_t> capacity("capacity", cl::init(1 << 24));
static cl::opt<bool> noSpecial("no-special");
static cl::opt<bool> plain("plain");
static cl::opt<bool> decodes("decode");
static cl::opt<bool> skipSpecial("skip-special");
static cl::opt<bool> stream("stream");
static cl::opt<unsigned> repeat("repeat", cl::init(0));

/// The ids' text, or the size that the decoder asks for if it fails.
static std::string decode(const PareTokenizer &tokenizer,
                          ArrayRef<int32_t> ids) {
  const uint32_t flags = skipSpecial ? PARE_TOKENIZER_SKIP_SPECIAL : 0;
  std::string text;
  if (!stream) {
    int64_t size = pare_tokenizer_decode(&tokenizer, ids.data(), ids.size(),
                                         nullptr, 0, flags);
    text.resize(size_t(size));
    pare_tokenizer_decode(&tokenizer, ids.data(), ids.size(), text.data(),
                          text.size(), flags);
    return text;
  }
  PareTokenizerStream state;
  pare_tokenizer_stream_begin(&state, &tokenizer, flags);
  std::vector<char> buffer(pare_tokenizer_stream_capacity(&tokenizer));
  auto take = [&](int64_t n) {
    if (n < 0 || size_t(n) > buffer.size() ||
        !json::isUTF8(StringRef(buffer.data(), size_t(n)))) {
      errs() << "the stream gives " << n << " bytes that are no characters\n";
      exit(1);
    }
    text.append(buffer.data(), size_t(n));
  };
  for (int32_t id : ids)
    take(pare_tokenizer_stream_push(&state, id, buffer.data(), buffer.size()));
  take(pare_tokenizer_stream_finish(&state, buffer.data(), buffer.size()));
  return text;
}

static Expected<std::vector<uint8_t>> buildTable() {
  const pare::tokenizer::TableOptions options = {/*decodes=*/decodes};
  if (StringRef(path).ends_with(".gguf")) {
    Expected<pare::gguf::File> file = pare::gguf::File::open(path);
    if (!file)
      return file.takeError();
    return pare::gguf::buildTokenizerTable(file->metadata(), options);
  }
  if (!StringRef(path).ends_with(".gguf.json"))
    return pare::buildTokenizerTable(path, options);
  auto vocabulary = pare::tokenizer::test::readGgufJson(path);
  if (!vocabulary)
    return vocabulary.takeError();
  auto description = pare::tokenizer::readGgufVocabulary(*vocabulary, path);
  if (!description)
    return description.takeError();
  return pare::tokenizer::writeTable(*description, path, options);
}

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv);
  Expected<std::vector<uint8_t>> table = buildTable();
  if (!table) {
    errs() << toString(table.takeError()) << "\n";
    return 1;
  }
  PareTokenizer tokenizer;
  if (pare_tokenizer_open(table->data(), table->size(), &tokenizer) != 0) {
    errs() << "the table that was just built does not open\n";
    return 1;
  }
  auto input = MemoryBuffer::getSTDIN();
  if (!input) {
    errs() << input.getError().message() << "\n";
    return 1;
  }

  std::vector<StringRef> texts;
  size_t bytes = 0;
  for (StringRef rest = (*input)->getBuffer(); rest.size() >= 4;) {
    uint32_t n = support::endian::read32le(rest.data());
    texts.push_back(rest.substr(4, n));
    bytes += texts.back().size();
    rest = rest.drop_front(std::min<size_t>(rest.size(), 4 + size_t(n)));
  }

  if (decodes) {
    for (StringRef text : texts) {
      std::vector<int32_t> ids(text.size() / 4);
      memcpy(ids.data(), text.data(), ids.size() * 4);
      std::string decoded = decode(tokenizer, ids);
      uint32_t size = uint32_t(decoded.size());
      outs().write(reinterpret_cast<const char *>(&size), 4);
      outs() << decoded;
    }
    return 0;
  }

  std::vector<int32_t> ids(capacity);
  const uint32_t flags = (noSpecial ? PARE_TOKENIZER_NO_SPECIAL : 0) |
                         (plain ? PARE_TOKENIZER_PLAIN : 0);
  auto encode = [&](StringRef text) {
    return pare_tokenizer_encode(&tokenizer, text.data(), text.size(),
                                 ids.data(), ids.size(), flags);
  };
  if (repeat) {
    auto begin = std::chrono::steady_clock::now();
    int64_t total = 0;
    for (unsigned i = 0; i < repeat; ++i)
      for (StringRef text : texts)
        total += encode(text);
    std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - begin;
    outs() << format("%.1f MB/s, %.2f M tokens/s, table %zu bytes\n",
                     double(bytes) * repeat / seconds.count() / 1e6,
                     double(total) / seconds.count() / 1e6, table->size());
    return 0;
  }
  for (StringRef text : texts) {
    int64_t count = encode(text);
    if (count < 0) {
      outs() << count << "\n";
      continue;
    }
    outs() << "[";
    for (int64_t i = 0; i < count; ++i)
      outs() << (i ? "," : "") << ids[size_t(i)];
    outs() << "]\n";
  }
  return 0;
}
