//===- Tokens.h - Documents to a model's tokens -----------------*- C++ -*-===//
//
// By the runtime's own tokenizer and chat templates: the compiler sees the
// tokens that artifacts see.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_DATA_TOKENS_H
#define PARE_TOOLS_DATA_TOKENS_H

#include "frontend/Progress.h"
#include "tools/data/Documents.h"
#include <cstdint>
#include <memory>
#include <optional>

struct PareTokenizer;

namespace pare::tools {

/// A model's tokenizer and chat template.
class TextTokenizer {
public:
  /// Copies the serialized tables (frontend/tokenizer/Format.h,
  /// frontend/chat/Format.h; the latter may be empty). Fails for tables that
  /// are damaged; `label` names the model.
  static llvm::Expected<TextTokenizer> open(llvm::ArrayRef<uint8_t> tokenizer,
                                            llvm::ArrayRef<uint8_t> chat,
                                            llvm::StringRef label);
  TextTokenizer(TextTokenizer &&);
  ~TextTokenizer();

  /// Tokens of a document. Plain text gets the special tokens that the
  /// tokenizer puts around texts. A conversation is rendered by the chat
  /// template, which says what is special; without one it is its messages as
  /// plain text. `capacity`, where not 0: longer text is cut as the tokenizer
  /// does it. Fails where the template refuses the conversation.
  llvm::Expected<std::vector<int32_t>> encode(const Document &document,
                                              uint64_t capacity = 0) const;
  /// The text that encode() sees: a conversation as the template has it.
  llvm::Expected<std::string> render(const Document &document) const;
  /// Whether that is plain text, with special tokens around it.
  bool isPlain(const Document &document) const;

  /// The token that begins texts, where the tokenizer has one.
  std::optional<int32_t> getBegin() const;
  /// Whether a token stands for what the vocabulary cannot spell: the unknown
  /// token, or a byte on its own.
  bool isUnknown(int32_t token) const;
  const PareTokenizer &getTable() const;

private:
  struct Tables;
  explicit TextTokenizer(std::unique_ptr<Tables> tables);
  llvm::Expected<std::vector<int32_t>>
  encodeText(llvm::StringRef text, uint32_t flags, uint64_t capacity) const;

  std::unique_ptr<Tables> tables;
};

/// Tokens of texts, one after the other.
struct TokenStream {
  std::vector<int32_t> tokens;
  uint64_t bytes = 0;   ///< of the texts
  uint64_t unknown = 0; ///< tokens that TextTokenizer::isUnknown

  uint64_t special = 0; ///< tokens around texts

  /// Appends the tokens of `document`, cut to `capacity` where that is not 0;
  /// returns how many. Fails as TextTokenizer::encode.
  llvm::Expected<uint64_t> add(const Document &document,
                               const TextTokenizer &tokenizer,
                               uint64_t capacity = 0);
  /// What makes it likely that the model was made for other text: nullopt, or
  /// one line. More than a fifth of the tokens unknown, or fewer than 1.6 bytes
  /// to a token, where prose in a language of the vocabulary has about 4;
  /// tokens around texts do not count, and of fewer than 32 others nothing is
  /// said.
  std::optional<std::string> findStrange() const;
};

/// Encodes `documents` for a model of `vocabulary` tokens (0: do not check).
/// Fails where there are no tokens or one is beyond the vocabulary.
llvm::Expected<TokenStream> encodeAll(llvm::ArrayRef<Document> documents,
                                      const TextTokenizer &tokenizer,
                                      int64_t vocabulary,
                                      const ProgressFn &listener);

/// `wanted` of the numbers in [0, count), ascending and each once: one drawn by
/// `seed` from each of `wanted` equal parts, or all of them.
std::vector<size_t> drawSpread(size_t count, size_t wanted, uint64_t seed);

/// Cuts a stream into chunks of `size` tokens, each of which begins with
/// `begin` in place of its own first token, as llama.cpp's perplexity does. The
/// rest is left out, or with `keepsRest` one more chunk if it has at least two
/// tokens.
std::vector<std::vector<int32_t>> cutChunks(llvm::ArrayRef<int32_t> tokens,
                                            size_t size,
                                            std::optional<int32_t> begin,
                                            bool keepsRest);

} // namespace pare::tools

#endif
