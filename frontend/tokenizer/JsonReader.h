//===- JsonReader.h - Parts of tokenizer.json -------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_JSONREADER_H
#define PARE_FRONTEND_TOKENIZER_JSONREADER_H

#include "frontend/tokenizer/Description.h"

#include "llvm/Support/JSON.h"

#include <limits>
#include <optional>

namespace pare::tokenizer {

/// Reads the parts of a tokenizer.json; the first thing wrong is kept as the
/// error, and what is read after it means nothing.
class JsonReader {
public:
  static constexpr int64_t maxId = std::numeric_limits<int32_t>::max();

  explicit JsonReader(llvm::StringRef path) : path(path) {}

  bool failed() const { return !message.empty(); }
  llvm::Error takeError() const { return tokenizerError(path, message); }

  /// Returns the name of the token for what is unknown, or nothing.
  std::string readModel(const llvm::json::Value *value, Description &d);
  void readNormalizer(const llvm::json::Value *value, Description &d);
  void readPreTokenizer(const llvm::json::Value *value, Description &d);
  void readPostProcessor(const llvm::json::Value *value, Description &d);
  void readLengths(const llvm::json::Object &root, Description &d);
  void readAddedTokens(const llvm::json::Value *value, Description &d);
  /// After the vocabulary is finished.
  void readDecoder(const llvm::json::Value *value, Description &d);

private:
  std::nullopt_t fail(const llvm::Twine &text) {
    if (message.empty())
      message = text.str();
    return std::nullopt;
  }

  /// A component's "type", or empty when the component is absent or null.
  llvm::StringRef type(const llvm::json::Value *value, llvm::StringRef where);
  int64_t integer(const llvm::json::Object &object, llvm::StringRef key,
                  llvm::StringRef where, int64_t max);
  llvm::StringRef string(const llvm::json::Object &object, llvm::StringRef key,
                         llvm::StringRef where);
  /// Empty where it is absent or null.
  llvm::StringRef optionalString(const llvm::json::Object &object,
                                 llvm::StringRef key, llvm::StringRef where);
  bool boolean(const llvm::json::Object &object, llvm::StringRef key,
               llvm::StringRef where, bool missing);
  /// The list `key` of a Sequence, or null with an error.
  const llvm::json::Array *list(const llvm::json::Object &object,
                                llvm::StringRef key, llvm::StringRef where);
  /// A {"String": …} or {"Regex": …}.
  RegexNode pattern(const llvm::json::Object &object, llvm::StringRef where);

  void readCharsmap(const llvm::json::Object &object, Description &d);
  void readRules(llvm::StringRef kind, const llvm::json::Object &object,
                 Description &d);
  void readByteLevel(const llvm::json::Object &object, Description &d);
  void readMetaspace(const llvm::json::Object &object, Description &d);
  void addSplit(RegexNode pattern, llvm::StringRef behavior, bool invert,
                llvm::StringRef where, Description &d);
  void readVocab(const llvm::json::Object &model, Description &d);
  std::string readWordPiece(const llvm::json::Object &model, Description &d);
  std::string readBpe(const llvm::json::Object &model, Description &d);
  std::string readUnigram(const llvm::json::Object &model, Description &d);
  void readMerges(const llvm::json::Object &model,
                  const llvm::StringMap<int32_t> &ids, Description &d);
  void readTemplate(const llvm::json::Object &processor, llvm::StringRef key,
                    std::vector<PareTokenizerPiece> &out);
  std::optional<int32_t> namedId(const llvm::json::Object &processor,
                                 llvm::StringRef key);
  void applyDecoder(const llvm::json::Value &value, Description &d);

  llvm::StringRef path;
  std::string message;
  bool sawByteLevel = false; ///< a ByteLevel pre-tokenizer
  bool sawFuse = false;      ///< of the decoder
};

/// The pattern of GPT-2, which ByteLevel splits by.
inline constexpr llvm::StringLiteral gpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// `pattern` for tokenizers, which look for it in valid text.
llvm::Expected<RegexNode> parsePattern(llvm::StringRef pattern);

} // namespace pare::tokenizer

#endif
