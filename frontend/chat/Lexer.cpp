//===- Lexer.cpp - Jinja templates to tokens ------------------------------===//
#include "frontend/chat/Lexer.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::chat {
namespace {

/// Line ends become \n; one at the end of the text goes.
std::string normalizeNewlines(StringRef source) {
  std::string text;
  while (!source.empty()) {
    text += source.front() == '\r' ? '\n' : source.front();
    source = source.drop_front(source.starts_with("\r\n") ? 2 : 1);
  }
  if (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

bool isSpace(char c) {
  return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31);
}

bool isNameByte(char c) {
  return isAlnum(c) || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

class Lexer {
public:
  explicit Lexer(StringRef text) : rest(text) {}

  Expected<std::vector<Token>> run() {
    while (!rest.empty())
      if (Error error = readText())
        return std::move(error);
    push(Token::End, "");
    return std::move(tokens);
  }

private:
  void push(Token::Kind kind, StringRef text) {
    tokens.push_back({kind, line, text.str()});
  }
  void skip(size_t n) {
    line += unsigned(rest.take_front(n).count('\n'));
    rest = rest.drop_front(n);
  }
  void skipSpace() { skip(rest.size() - rest.drop_while(isSpace).size()); }

  Error readText();
  Error readTag(bool print);
  Error readToken();
  Error readString();
  bool readEnd(StringRef mark, bool trims);
  size_t balance = 0; ///< open brackets

  StringRef rest;
  unsigned line = 1;
  bool lineStarts = true; ///< the text so far ends a line
  std::vector<Token> tokens;
};

/// The end of a tag, `mark`, with the white space that goes with it; false if
/// it is not what comes next.
bool Lexer::readEnd(StringRef mark, bool trims) {
  const StringRef before = rest;
  const bool strips = rest.starts_with("-");
  const bool keeps = trims && rest.starts_with("+");
  if (!rest.drop_front(strips || keeps).starts_with(mark))
    return false;
  skip(mark.size() + (strips || keeps));
  if (strips)
    skipSpace();
  else if (trims && !keeps && rest.starts_with("\n"))
    skip(1);
  lineStarts = before.drop_back(rest.size()).ends_with("\n");
  return true;
}

/// Text up to a tag or comment, and that.
Error Lexer::readText() {
  size_t n = 0;
  while ((n = rest.find('{', n)) != StringRef::npos &&
         (n + 1 == rest.size() || !StringRef("{%#").contains(rest[n + 1])))
    ++n;
  StringRef text = rest.take_front(n);
  if (n == StringRef::npos) {
    push(Token::Text, text);
    skip(rest.size());
    return Error::success();
  }
  const char kind = rest[n + 1];
  const char sign = n + 2 < rest.size() ? rest[n + 2] : 0;
  if (sign == '-') {
    text = text.rtrim(" \t\n\v\f\r\x1c\x1d\x1e\x1f");
  } else if (sign != '+' && kind != '{') {
    const size_t begin = text.rfind('\n') + 1; // npos + 1 is 0
    if ((begin > 0 || lineStarts) && all_of(text.drop_front(begin), isSpace))
      text = text.take_front(begin);
  }
  if (!text.empty())
    push(Token::Text, text);
  skip(n + 2 + (sign == '-' || sign == '+'));

  if (kind == '#') {
    const unsigned begin = line;
    while (!readEnd("#}", /*trims=*/true)) {
      if (rest.empty())
        return lineError(begin, "a comment has no end");
      skip(1);
    }
    return Error::success();
  }
  return readTag(/*print=*/kind == '{');
}

Error Lexer::readTag(bool print) {
  const unsigned begin = line;
  push(print ? Token::PrintBegin : Token::TagBegin, "");
  balance = 0;
  for (;;) {
    if (balance == 0 && readEnd(print ? "}}" : "%}", /*trims=*/!print)) {
      push(print ? Token::PrintEnd : Token::TagEnd, "");
      return Error::success();
    }
    if (rest.empty())
      return lineError(begin, "a tag has no end");
    if (isSpace(rest.front()))
      skipSpace();
    else if (Error error = readToken())
      return error;
  }
}

Error Lexer::readToken() {
  if (rest.front() == '\'' || rest.front() == '"')
    return readString();

  if (isDigit(rest.front())) {
    auto digits = [&](size_t from) {
      while (from < rest.size() && (isDigit(rest[from]) || rest[from] == '_'))
        ++from;
      return from;
    };
    const size_t whole = digits(0);
    size_t n = whole;
    if (n + 1 < rest.size() && rest[n] == '.' && isDigit(rest[n + 1]))
      n = digits(n + 1);
    if (n + 1 < rest.size() && (rest[n] | 0x20) == 'e') {
      const size_t sign = rest[n + 1] == '+' || rest[n + 1] == '-';
      if (n + 1 + sign < rest.size() && isDigit(rest[n + 1 + sign]))
        n = digits(n + 1 + sign);
    }
    std::string number = rest.take_front(n).str();
    erase(number, '_');
    push(n > whole ? Token::Float : Token::Integer, number);
    skip(n);
    return Error::success();
  }
  if (isNameByte(rest.front())) {
    const StringRef name = rest.take_while(isNameByte);
    push(Token::Name, name);
    skip(name.size());
    return Error::success();
  }

  StringRef found;
  for (StringRef op : {"//", "**", "==", "!=", ">=", "<="})
    if (rest.starts_with(op))
      found = op;
  if (found.empty() && StringRef("+-/*%~[](){}<>=.:|,").contains(rest.front()))
    found = rest.take_front(1);
  if (found.empty())
    return lineError(line, "'" + rest.take_front(1) + "' means nothing here");
  if (StringRef("([{").contains(found))
    ++balance;
  if (StringRef(")]}").contains(found) && balance-- == 0)
    return lineError(line, "'" + found + "' closes nothing");
  push(Token::Operator, found);
  skip(found.size());
  return Error::success();
}

/// A string with Python's escapes.
Error Lexer::readString() {
  const char quote = rest.front();
  const unsigned begin = line;
  std::string value;
  size_t i = 1;
  for (; i < rest.size() && rest[i] != quote; ++i) {
    if (rest[i] != '\\' || i + 1 == rest.size()) {
      value += rest[i];
      continue;
    }
    const char c = rest[++i];
    const size_t named = StringRef("\\'\"abfnrtv\n").find(c);
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code;
    if (c == '\n')
      continue;
    if (named != StringRef::npos) {
      value += "\\'\"\a\b\f\n\r\t\v"[named];
    } else if (c >= '0' && c <= '7') {
      size_t n = 1;
      while (n < 3 && i + n < rest.size() && rest[i + n] >= '0' &&
             rest[i + n] <= '7')
        ++n;
      rest.substr(i, n).getAsInteger(8, code);
      tokenizer::appendUtf8(code, value);
      i += n - 1;
    } else if (digits) {
      const StringRef hex = rest.substr(i + 1, digits);
      if (hex.size() != digits || hex.getAsInteger(16, code) ||
          code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return lineError(line, "a string has a broken escape");
      tokenizer::appendUtf8(code, value);
      i += digits;
    } else {
      value += '\\';
      value += c;
    }
  }
  if (i == rest.size())
    return lineError(begin, "a string has no end");
  push(Token::String, value);
  skip(i + 1);
  return Error::success();
}

} // namespace

Error lineError(unsigned line, const Twine &message) {
  return createStringError("line " + Twine(line) + ": " + message);
}

Expected<std::vector<Token>> tokenize(StringRef source) {
  const std::string text = normalizeNewlines(source);
  return Lexer(text).run();
}

} // namespace pare::chat
