//===- Lexer.h - Jinja templates to tokens ----------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_CHAT_LEXER_H
#define PARE_FRONTEND_CHAT_LEXER_H

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace pare::chat {

struct Token {
  enum Kind {
    Text,
    PrintBegin, ///< {{
    PrintEnd,
    TagBegin, ///< {%
    TagEnd,
    Name, ///< keywords, too
    String,
    Integer,
    Float,
    Operator,
    End
  };
  Kind kind;
  unsigned line;
  std::string text; ///< of a string, its value
};

/// Divides `source` as Jinja does under trim_blocks and lstrip_blocks, which
/// `transformers` sets. The last token is End. An error is "line N: ...".
llvm::Expected<std::vector<Token>> tokenize(llvm::StringRef source);

/// "line N: message".
llvm::Error lineError(unsigned line, const llvm::Twine &message);

} // namespace pare::chat

#endif
