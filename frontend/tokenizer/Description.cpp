//===- Description.cpp - Checks shared by all readers ---------------------===//
#include "frontend/tokenizer/Description.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>

using namespace llvm;

namespace pare::tokenizer {

Error tokenizerError(StringRef path, const Twine &message) {
  std::string text = message.str();
  for (char &c : text)
    if (uint8_t(c) < 0x20)
      c = ' ';
  return createStringError(inconvertibleErrorCode(), path + ": " + text);
}

std::vector<Step> bertNormalizer(bool cleanText, bool spaceCjk,
                                 bool stripAccents, bool lowercase) {
  std::vector<Step> steps;
  auto add = [&](uint32_t op) { steps.push_back({op}); };
  if (cleanText)
    add(PARE_NORM_CLEAN_TEXT);
  if (spaceCjk)
    add(PARE_NORM_SPACE_CJK);
  if (stripAccents) {
    add(PARE_NORM_NFD);
    add(PARE_NORM_STRIP_NONSPACING);
  }
  if (lowercase)
    add(PARE_NORM_LOWERCASE);
  return steps;
}

StringMap<int32_t> idsOf(const Description &d) {
  StringMap<int32_t> ids(unsigned(d.vocab.size()));
  for (const Token &token : d.vocab)
    ids.try_emplace(token.text, token.id);
  return ids;
}

Expected<Merge> mergeOf(StringRef left, StringRef right, StringRef prefix,
                        const StringMap<int32_t> &ids) {
  const StringRef tail =
      right.size() >= prefix.size() ? right.drop_front(prefix.size()) : right;
  const std::string both = (left + tail).str();
  const StringRef tokens[] = {left, right, both};
  int32_t found[3];
  for (auto [index, token] : llvm::enumerate(tokens)) {
    auto it = ids.find(token);
    if (it == ids.end())
      return createStringError(inconvertibleErrorCode(),
                               "token '" + token +
                                   "' is not in the vocabulary");
    found[index] = it->second;
  }
  return Merge{found[0], found[1], found[2]};
}

std::optional<uint8_t> byteToken(StringRef text) {
  uint8_t byte;
  if (text.size() != 6 || !text.consume_front("<0x") ||
      !text.consume_back(">") || text.getAsInteger(16, byte))
    return std::nullopt;
  return byte;
}

void findByteTokens(Description &d, const StringMap<int32_t> &ids) {
  d.byteIds.assign(256, -1);
  for (unsigned b = 0; b < 256; ++b) {
    auto found = ids.find(
        ("<0x" + Twine(hexdigit(b >> 4)) + Twine(hexdigit(b & 15)) + ">")
            .str());
    if (found != ids.end())
      d.byteIds[b] = found->second;
  }
}

Error finishVocabulary(Description &d, StringRef unk, StringRef path) {
  std::sort(d.vocab.begin(), d.vocab.end(),
            [](const Token &a, const Token &b) { return a.id < b.id; });
  StringMap<int32_t> ids;
  for (size_t i = 0; i < d.vocab.size(); ++i) {
    const Token &token = d.vocab[i];
    if (i > 0 && d.vocab[i - 1].id == token.id)
      return tokenizerError(
          path, "model.vocab: tokens '" + d.vocab[i - 1].text + "' and '" +
                    token.text + "' share id " + Twine(token.id));
    if (!ids.try_emplace(token.text, token.id).second)
      return tokenizerError(path, "model.vocab: token '" + token.text +
                                      "' occurs twice");
  }

  // The library numbers tokens that the model lacks from the vocabulary's
  // size on, whatever the file says; only where both agree are ids certain.
  uint64_t next = d.vocab.size();
  DenseSet<int32_t> addedIds;
  StringMap<int32_t> addedTexts;
  for (const AddedToken &token : d.added) {
    if (token.text.empty())
      return tokenizerError(path, "added_tokens: the token with id " +
                                      Twine(token.id) + " has no text");
    auto known = ids.find(token.text);
    uint64_t expected = known != ids.end() ? known->second : next++;
    if (uint64_t(token.id) != expected)
      return tokenizerError(
          path, "added_tokens: '" + token.text + "' has id " + Twine(token.id) +
                    ", but the vocabulary gives it " + Twine(expected));
    if (!addedIds.insert(token.id).second ||
        !addedTexts.try_emplace(token.text, 0).second)
      return tokenizerError(path, "added_tokens: '" + token.text + "' (id " +
                                      Twine(token.id) + ") occurs twice");
  }

  int64_t largest = d.vocab.empty() ? -1 : d.vocab.back().id;
  for (const AddedToken &token : d.added)
    largest = std::max<int64_t>(largest, token.id);
  if (largest + 1 > 2 * int64_t(d.vocab.size() + d.added.size()))
    return tokenizerError(
        path, "model.vocab: ids are not dense: " + Twine(d.vocab.size()) +
                  " tokens, largest id " + Twine(largest));
  d.config.vocab_size = uint32_t(largest + 1);

  d.config.unk_id = -1;
  if (unk.empty())
    return Error::success();
  auto found = ids.find(unk);
  if (found == ids.end())
    return tokenizerError(path, "model.unk_token: '" + unk +
                                    "' is not in the vocabulary");
  d.config.unk_id = found->second;
  return Error::success();
}

} // namespace pare::tokenizer
