//===- JsonDecoder.cpp - The decoder of tokenizer.json --------------------===//
//
// A decoder is a pipeline on a list of texts. What it does to each token alone
// is done here, once; what depends on neighbours is left to the runtime as a
// PareTokenizerDecoder and a PareTokenizerFirst.
//
//===----------------------------------------------------------------------===//
#include "frontend/tokenizer/JsonReader.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

std::string replaceAll(StringRef text, StringRef from, StringRef to) {
  std::string out;
  while (true) {
    size_t at = text.find(from);
    out += text.take_front(at);
    if (at == StringRef::npos)
      return out;
    out += to;
    text = text.drop_front(at + from.size());
  }
}

/// The `cleanup` of the library's WordPiece decoder.
std::string cleanUp(std::string text) {
  constexpr std::pair<StringLiteral, StringLiteral> rules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (auto [from, to] : rules)
    text = replaceAll(text, from, to);
  return text;
}

void decodeWordPiece(StringRef prefix, bool cleans, Description &d) {
  d.config.decoder = PARE_DECODER_WORDPIECE;
  for (TokenText &text : d.texts) {
    StringRef rest = text.bytes;
    if (!prefix.empty() && rest.consume_front(prefix)) {
      text.bytes = rest.str();
      if (text.kind == PARE_TEXT_PLAIN)
        text.kind = PARE_TEXT_BYTE;
    } else {
      text.bytes.insert(0, " ");
    }
    if (cleans)
      text.bytes = cleanUp(std::move(text.bytes));
  }
}

/// Takes up to `start` times `content` off the front, `stop` off the back.
void strip(std::string &text, StringRef content, int64_t start, int64_t stop) {
  StringRef rest = text;
  while (start-- > 0 && rest.consume_front(content))
    ;
  while (stop-- > 0 && rest.consume_back(content))
    ;
  text = rest.str();
}

} // namespace

void JsonReader::applyDecoder(const json::Value &value, Description &d) {
  StringRef kind = type(&value, "decoder");
  if (failed() || kind.empty())
    return;
  const json::Object &object = *value.getAsObject();
  if (kind == "Sequence") {
    const json::Array *items = list(object, "decoders", "decoder");
    for (size_t i = 0; items && i < items->size(); ++i)
      applyDecoder((*items)[i], d);
    return;
  }
  if (kind == "Fuse") {
    sawFuse = true;
    return;
  }
  const bool joined = d.config.decoder == PARE_DECODER_BYTES ||
                      d.config.decoder == PARE_DECODER_WORDPIECE || sawFuse;
  if (kind == "Strip" && joined && d.config.decoder != PARE_DECODER_WORDPIECE) {
    d.config.decode_first = PARE_FIRST_STRIP;
    d.config.decode_strip =
        uint32_t(integer(object, "start", "decoder.Strip", maxId));
    if (string(object, "content", "decoder.Strip") != " " ||
        integer(object, "stop", "decoder.Strip", maxId) != 0)
      fail("decoder: Strip behind Fuse is supported for spaces at the start");
    return;
  }
  if (joined)
    return void(fail("decoder: " + kind +
                     " behind Fuse, ByteLevel or "
                     "WordPiece is not supported"));
  if (kind == "ByteLevel") {
    d.config.decoder = PARE_DECODER_BYTES;
    for (TokenText &text : d.texts)
      if (auto bytes = fromAlphabet(text.bytes))
        text.bytes = std::move(*bytes);
  } else if (kind == "WordPiece") {
    decodeWordPiece(string(object, "prefix", "decoder"),
                    boolean(object, "cleanup", "decoder", true), d);
  } else if (kind == "Metaspace") {
    StringRef replacement = object.get("replacement")
                                ? string(object, "replacement", "decoder")
                                : "\u2581";
    bool prefix = boolean(object, "add_prefix_space", "decoder", true);
    StringRef scheme = object.getString("prepend_scheme")
                           .value_or(prefix ? "always" : "never");
    if (replacement.empty())
      return void(fail("decoder: Metaspace with an empty replacement"));
    for (TokenText &text : d.texts)
      text.bytes = replaceAll(text.bytes, replacement, " ");
    if (scheme != "never")
      d.config.decode_first = PARE_FIRST_NO_SPACES;
  } else if (kind == "ByteFallback") {
    for (TokenText &text : d.texts)
      if (auto byte = byteToken(text.bytes)) {
        text.bytes.assign(1, char(*byte));
        if (text.kind == PARE_TEXT_PLAIN)
          text.kind = PARE_TEXT_BYTE;
      }
  } else if (kind == "Replace") {
    const json::Object *from = object.getObject("pattern");
    auto literal = from ? from->getString("String") : std::nullopt;
    if (!literal || literal->empty())
      return void(fail("decoder: Replace is supported for a String"));
    StringRef content = string(object, "content", "decoder.Replace");
    for (TokenText &text : d.texts)
      if (text.kind != PARE_TEXT_BYTE)
        text.bytes = replaceAll(text.bytes, *literal, content);
  } else if (kind == "Strip") {
    StringRef content = string(object, "content", "decoder.Strip");
    int64_t start = integer(object, "start", "decoder.Strip", maxId);
    int64_t stop = integer(object, "stop", "decoder.Strip", maxId);
    for (TokenText &text : d.texts)
      if (!content.empty())
        strip(text.bytes, content, start, stop);
  } else {
    fail("decoder: " + kind +
         " is not supported; supported: Sequence, ByteLevel, ByteFallback, "
         "Fuse, Metaspace, Replace, Strip, WordPiece");
  }
}

void JsonReader::readDecoder(const json::Value *value, Description &d) {
  d.texts.resize(d.config.vocab_size);
  for (const Token &token : d.vocab)
    d.texts[size_t(token.id)] = {PARE_TEXT_PLAIN, token.text};
  for (const AddedToken &token : d.added)
    d.texts[size_t(token.id)] = {uint8_t(token.flags & PARE_ADDED_SPECIAL
                                             ? PARE_TEXT_SPECIAL
                                             : PARE_TEXT_PLAIN),
                                 token.text};
  d.config.decoder = PARE_DECODER_NONE;
  if (!value || value->getAsNull())
    return;
  d.config.decoder = PARE_DECODER_TEXT;
  applyDecoder(*value, d);
}

} // namespace pare::tokenizer
