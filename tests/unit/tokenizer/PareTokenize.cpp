//===- PareTokenize.cpp - Encode texts from standard input ----------------===//
//
//   pare-tokenize PATH [--capacity=N] [--no-special] [--repeat=N]
//
// PATH is what buildTokenizerTable takes. Standard input holds texts, each a
// 4-byte little-endian length and that many bytes. Prints one JSON list of ids
// per text, or the error of the table. With --repeat, encodes everything N
// times and prints the throughput instead.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/Tokenizer.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace llvm;

static cl::opt<std::string> path(cl::Positional, cl::Required);
static cl::opt<uint64_t> capacity("capacity", cl::init(1 << 24));
static cl::opt<bool> noSpecial("no-special");
static cl::opt<unsigned> repeat("repeat", cl::init(0));

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv);
  Expected<std::vector<uint8_t>> table = pare::buildTokenizerTable(path);
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

  std::vector<int32_t> ids(capacity);
  const uint32_t flags = noSpecial ? PARE_TOKENIZER_NO_SPECIAL : 0;
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
