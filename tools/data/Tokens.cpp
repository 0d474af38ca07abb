//===- Tokens.cpp - Documents to a model's tokens -------------------------===//
#include "tools/data/Tokens.h"
#include "backends/runtime/Chat.h"
#include "backends/runtime/Tokenizer.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <random>

using namespace llvm;

namespace pare::tools {

struct TextTokenizer::Tables {
  // Memory of operator new is aligned as the readers want it.
  std::vector<uint8_t> tokenizer, chat;
  PareTokenizer reader;
  rt::ChatTemplate chatReader;
  DenseSet<int32_t> unknown; ///< tokens of what the vocabulary cannot spell
};

TextTokenizer::TextTokenizer(std::unique_ptr<Tables> tables)
    : tables(std::move(tables)) {}
TextTokenizer::TextTokenizer(TextTokenizer &&) = default;
TextTokenizer::~TextTokenizer() = default;

Expected<TextTokenizer> TextTokenizer::open(ArrayRef<uint8_t> tokenizer,
                                            ArrayRef<uint8_t> chat,
                                            StringRef label) {
  auto tables = std::make_unique<Tables>();
  tables->tokenizer = tokenizer.vec();
  tables->chat = chat.vec();
  if (pare_tokenizer_open(tables->tokenizer.data(), tables->tokenizer.size(),
                          &tables->reader) != PARE_TOKENIZER_OK)
    return createStringError(label + ": the tokenizer is damaged");
  if (!chat.empty() &&
      !tables->chatReader.open(tables->chat.data(), tables->chat.size()))
    return createStringError(label + ": the chat template is damaged");
  const PareTokenizerConfig &config = *tables->reader.config;
  if (config.unk_id >= 0)
    tables->unknown.insert(config.unk_id);
  if (config.model_flags & PARE_MODEL_BYTE_FALLBACK) {
    const auto &bytes = tables->reader.sections[PARE_TOK_BYTES];
    auto *ids = reinterpret_cast<const int32_t *>(bytes.data);
    for (size_t i = 0; i < bytes.bytes / sizeof(*ids); ++i)
      if (ids[i] >= 0)
        tables->unknown.insert(ids[i]);
  }
  return TextTokenizer(std::move(tables));
}

const PareTokenizer &TextTokenizer::getTable() const { return tables->reader; }

bool TextTokenizer::isUnknown(int32_t token) const {
  return tables->unknown.contains(token);
}

Expected<std::vector<int32_t>>
TextTokenizer::encodeText(StringRef text, uint32_t flags,
                          uint64_t capacity) const {
  std::vector<int32_t> ids(capacity);
  int64_t count = 0;
  if (!capacity) {
    count = pare_tokenizer_encode(&tables->reader, text.data(), text.size(),
                                  nullptr, 0, flags);
    ids.resize(std::max<int64_t>(count, 0));
  }
  if (count >= 0 && !ids.empty())
    count = pare_tokenizer_encode(&tables->reader, text.data(), text.size(),
                                  ids.data(), ids.size(), flags);
  if (count < 0)
    return createStringError(
        count == PARE_TOKENIZER_E_MEMORY
            ? "out of memory for a text"
            : "the model takes fewer tokens than its special ones");
  ids.resize(count);
  return std::move(ids);
}

bool TextTokenizer::isPlain(const Document &document) const {
  return document.messages.empty() || tables->chat.empty();
}

Expected<std::string> TextTokenizer::render(const Document &document) const {
  if (isPlain(document))
    return document.text;
  rt::ChatInput input;
  input.messages = {document.messages.data(), document.messages.size()};
  input.tools = {document.tools.data(), document.tools.size()};
  rt::Bytes prompt;
  rt::Message error;
  if (!tables->chatReader.render(input, prompt, error))
    return createStringError(document.where + ": " + error.c_str());
  return std::string(prompt.str().data, prompt.size);
}

Expected<std::vector<int32_t>> TextTokenizer::encode(const Document &document,
                                                     uint64_t capacity) const {
  if (isPlain(document))
    return encodeText(document.text, 0, capacity);
  Expected<std::string> text = render(document);
  if (!text)
    return text.takeError();
  return encodeText(*text, PARE_TOKENIZER_NO_SPECIAL, capacity);
}

std::optional<int32_t> TextTokenizer::getBegin() const {
  if (!tables->reader.num_before)
    return std::nullopt;
  Expected<std::vector<int32_t>> special = encodeText("", 0, 0);
  if (special && !special->empty())
    return special->front();
  consumeError(special.takeError());
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

Expected<uint64_t> TokenStream::add(const Document &document,
                                    const TextTokenizer &tokenizer,
                                    uint64_t capacity) {
  Expected<std::vector<int32_t>> ids = tokenizer.encode(document, capacity);
  if (!ids)
    return ids.takeError();
  append_range(tokens, *ids);
  if (tokenizer.isPlain(document)) {
    const PareTokenizer &table = tokenizer.getTable();
    special += table.num_before + table.num_after;
    bytes += document.text.size();
  } else {
    Expected<std::string> text = tokenizer.render(document);
    if (!text)
      return text.takeError();
    bytes += text->size();
  }
  unknown +=
      count_if(*ids, [&](int32_t id) { return tokenizer.isUnknown(id); });
  return ids->size();
}

std::optional<std::string> TokenStream::findStrange() const {
  constexpr uint64_t few = 32;
  if (tokens.size() < special + few)
    return std::nullopt;
  auto count = double(tokens.size() - special);
  double share = double(unknown) / count;
  if (share > 0.2)
    return formatv("{0:f0}% of the tokens stand for what the vocabulary lacks: "
                   "is this the text that the model is for?",
                   100 * share)
        .str();
  double perToken = double(bytes) / count;
  if (perToken < 1.6)
    return formatv("a token is {0:f1} bytes of the text, where text that a "
                   "vocabulary was made for has about 4: is this the text that "
                   "the model is for?",
                   perToken)
        .str();
  return std::nullopt;
}

Expected<TokenStream> encodeAll(ArrayRef<Document> documents,
                                const TextTokenizer &tokenizer,
                                int64_t vocabulary,
                                const ProgressFn &listener) {
  TokenStream stream;
  PhaseProgress progress(listener, "tokenize", documents.size());
  for (const Document &document : documents) {
    Expected<uint64_t> count = stream.add(document, tokenizer);
    if (!count)
      return count.takeError();
    for (int32_t id : ArrayRef(stream.tokens).take_back(*count))
      if (vocabulary && (id < 0 || id >= vocabulary))
        return createStringError(document.where + ": token " + Twine(id) +
                                 " of the tokenizer is beyond the model's " +
                                 Twine(vocabulary));
    progress.finish();
  }
  if (stream.tokens.size() <= stream.special)
    return createStringError("the texts have no tokens");
  return std::move(stream);
}

std::vector<size_t> drawSpread(size_t count, size_t wanted, uint64_t seed) {
  std::vector<size_t> result;
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < std::min(count, wanted); ++i) {
    if (wanted >= count) {
      result.push_back(i);
      continue;
    }
    // Parts are at least one long, so no number is drawn twice.
    double part = double(count) / double(wanted);
    double at = (double(i) + double(random() >> 11) * 0x1p-53) * part;
    size_t low = size_t(std::ceil(double(i) * part)),
           high = std::min(count, size_t(std::ceil(double(i + 1) * part))) - 1;
    result.push_back(std::clamp(size_t(at), low, high));
  }
  return result;
}

std::vector<std::vector<int32_t>> cutChunks(ArrayRef<int32_t> tokens,
                                            size_t size,
                                            std::optional<int32_t> begin,
                                            bool keepsRest) {
  std::vector<std::vector<int32_t>> chunks;
  for (; tokens.size() >= size || (keepsRest && tokens.size() >= 2);
       tokens = tokens.drop_front(std::min(size, tokens.size()))) {
    chunks.push_back(tokens.take_front(size).vec());
    if (begin)
      chunks.back().front() = *begin;
  }
  return chunks;
}

} // namespace pare::tools
