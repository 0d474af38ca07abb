//===- RegexParser.cpp - The syntax of patterns ---------------------------===//
#include "frontend/tokenizer/Regex.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

constexpr unsigned maxRepeat = 1000, maxNesting = 64;

class Parser {
public:
  explicit Parser(StringRef pattern) : rest(pattern) {}

  Expected<RegexNode> parse() {
    RegexNode node = parseChoice();
    if (message.empty() && !rest.empty())
      fail("unbalanced ')'");
    if (!message.empty())
      return createStringError(inconvertibleErrorCode(), message);
    return node;
  }

private:
  RegexNode fail(const Twine &text) {
    if (message.empty())
      message = text.str();
    rest = "";
    return {};
  }

  RegexNode makeLiteral(const CharSet &set) {
    return RegexNode::makeSet(ignoreCase ? set.caseFolded() : set);
  }

  RegexNode parseChoice();
  RegexNode parseSequence();
  RegexNode parseQuantifiers(RegexNode atom);
  bool parseBounds(unsigned &min, unsigned &max);
  RegexNode parseAtom();
  RegexNode parseGroup();
  RegexNode parseLookAhead(bool negative);
  RegexNode parseEscape();
  std::optional<CharSet> parseClassEscape();
  uint32_t parseEscapedCodePoint(uint32_t letter);
  uint32_t parseHex(unsigned minDigits, unsigned maxDigits);
  CharSet parseClass();
  CharSet parseClassPart();

  StringRef rest;
  std::string message;
  bool ignoreCase = false;
  unsigned depth = 0;
};

RegexNode Parser::parseChoice() {
  if (++depth > maxNesting)
    return fail("groups nested deeper than " + Twine(maxNesting));
  RegexNode choice;
  choice.kind = RegexNode::Choice;
  choice.children.push_back(parseSequence());
  while (rest.consume_front("|"))
    choice.children.push_back(parseSequence());
  --depth;
  if (choice.children.size() == 1)
    return std::move(choice.children.front());
  return choice;
}

RegexNode Parser::parseSequence() {
  RegexNode sequence;
  while (!rest.empty() && rest.front() != '|' && rest.front() != ')')
    sequence.children.push_back(parseQuantifiers(parseAtom()));
  return sequence;
}

/// `{n}`, `{n,}`, `{,m}`, `{n,m}`; false, taking nothing, for other text.
bool Parser::parseBounds(unsigned &min, unsigned &max) {
  StringRef text = rest.take_front(rest.find('}') + 1);
  if (!text.consume_front("{") || !text.consume_back("}"))
    return false;
  auto [low, high] = text.split(',');
  const bool isRange = text.contains(',');
  if ((low.empty() && high.empty()) ||
      (!low.empty() && low.getAsInteger(10, min)) ||
      (!high.empty() && high.getAsInteger(10, max)))
    return false;
  if (low.empty())
    min = 0;
  if (!isRange)
    max = min;
  else if (high.empty())
    max = RegexNode::unbounded;
  rest = rest.drop_front(rest.find('}') + 1);
  if (min > maxRepeat || (max != RegexNode::unbounded && max > maxRepeat))
    fail("more than " + Twine(maxRepeat) + " repetitions");
  else if (max < min)
    fail("'{n,m}' with m below n");
  return true;
}

RegexNode Parser::parseQuantifiers(RegexNode atom) {
  while (!rest.empty()) {
    RegexNode node;
    node.kind = RegexNode::Repeat;
    bool bounds = false;
    if (rest.consume_front("*")) {
      node.min = 0;
      node.max = RegexNode::unbounded;
    } else if (rest.consume_front("+")) {
      node.max = RegexNode::unbounded;
    } else if (rest.consume_front("?")) {
      node.min = 0;
    } else if (!(bounds = parseBounds(node.min, node.max))) {
      break;
    }
    if (atom.kind == RegexNode::LookAhead)
      return fail("a repeated lookahead");
    // In this syntax `{n,m}+` repeats the repetition; `++` is possessive.
    if (rest.consume_front("?"))
      node.lazy = true;
    else if (!bounds && rest.consume_front("+"))
      node.possessive = true;
    node.children.push_back(std::move(atom));
    atom = std::move(node);
  }
  return atom;
}

RegexNode Parser::parseAtom() {
  if (rest.consume_front("("))
    return parseGroup();
  if (rest.consume_front("["))
    return makeLiteral(parseClass());
  if (rest.consume_front("\\"))
    return parseEscape();
  if (rest.consume_front("."))
    return RegexNode::makeSet(CharSet('\n').inverted());
  if (rest.consume_front("$"))
    return RegexNode::makeLookAhead('\n', /*atEnd=*/true);
  if (rest.front() == '^')
    return fail("'^' is not supported");
  if (StringRef("*+?").contains(rest.front()))
    return fail("a quantifier after nothing");
  return makeLiteral(takeCodePoint(rest));
}

RegexNode Parser::parseGroup() {
  const bool outer = ignoreCase;
  if (rest.consume_front("?")) {
    if (rest.consume_front("!"))
      return parseLookAhead(/*negative=*/true);
    if (rest.consume_front("="))
      return parseLookAhead(/*negative=*/false);
    if (rest.consume_front("i:"))
      ignoreCase = true;
    else if (rest.consume_front("i)")) { // up to the end of this group
      ignoreCase = true;
      RegexNode node = parseChoice();
      ignoreCase = outer;
      return node;
    } else if (!rest.consume_front(":"))
      return fail("group '(?" + rest.take_front(1) + "' is not supported");
  }
  RegexNode node = parseChoice();
  ignoreCase = outer;
  if (!rest.consume_front(")"))
    return fail("'(' without ')'");
  return node;
}

RegexNode Parser::parseLookAhead(bool negative) {
  RegexNode inside = parseChoice();
  if (!rest.consume_front(")"))
    return fail("'(' without ')'");
  RegexNode *one = &inside;
  while (one->kind == RegexNode::Sequence && one->children.size() == 1)
    one = &one->children.front();
  // An inverted lookahead inside means one end of text more or less.
  if (one->kind != RegexNode::Set && one->kind != RegexNode::LookAhead)
    return fail("a lookahead for more than one character is not supported");
  return RegexNode::makeLookAhead(negative ? one->set.inverted() : one->set,
                                  one->atEnd != negative);
}

uint32_t Parser::parseHex(unsigned minDigits, unsigned maxDigits) {
  uint32_t value = 0;
  unsigned digits = 0;
  for (; digits < maxDigits && !rest.empty() && isHexDigit(rest.front());
       ++digits, rest = rest.drop_front())
    value = value * 16 + hexDigitValue(rest.front());
  if (digits < minDigits || value > 0x10ffff)
    fail("a hexadecimal escape that is no code point");
  return value;
}

/// A class that the escape at `rest` (past the backslash) stands for, if it
/// stands for one.
std::optional<CharSet> Parser::parseClassEscape() {
  if (rest.empty()) {
    fail("'\\' at the end");
    return CharSet();
  }
  const char letter = rest.front();
  std::optional<CharSet> set;
  switch (letter) {
  case 's':
  case 'S':
    set = CharSet::space();
    break;
  case 'd':
  case 'D':
    set = CharSet::property("Nd");
    break;
  case 'w':
  case 'W':
    set = CharSet::word();
    break;
  case 'p':
  case 'P': {
    StringRef name = rest.drop_front();
    size_t end = name.starts_with("{") ? name.find('}') : StringRef::npos;
    if (end == StringRef::npos) {
      fail("'\\p' without {name}");
      return CharSet();
    }
    StringRef all = name.slice(1, end);
    name = all;
    bool inverted = name.consume_front("^") != (letter == 'P');
    set = CharSet::property(name);
    if (!set) {
      fail("property '" + all + "' is not supported");
      return CharSet();
    }
    rest = rest.drop_front(end + 2);
    return inverted ? set->inverted() : set;
  }
  default:
    return std::nullopt;
  }
  rest = rest.drop_front();
  return isUpper(letter) ? set->inverted() : set;
}

/// The code point that an escape stands for; `letter` is its first.
uint32_t Parser::parseEscapedCodePoint(uint32_t letter) {
  switch (letter) {
  case 'n':
    return '\n';
  case 'r':
    return '\r';
  case 't':
    return '\t';
  case 'f':
    return '\f';
  case 'v':
    return '\v';
  case 'a':
    return '\a';
  case 'e':
    return 0x1b;
  case 'u':
    return parseHex(4, 4);
  case 'x': {
    if (!rest.consume_front("{"))
      return parseHex(1, 2);
    uint32_t value = parseHex(1, 8);
    if (!rest.consume_front("}"))
      fail("'\\x{' without '}'");
    return value;
  }
  }
  if (letter < 128 && isAlnum(char(letter)))
    fail("escape '\\" + Twine(char(letter)) + "' is not supported");
  return letter;
}

RegexNode Parser::parseEscape() {
  if (auto set = parseClassEscape())
    return RegexNode::makeSet(std::move(*set));
  if (rest.consume_front("z"))
    return RegexNode::makeLookAhead({}, /*atEnd=*/true);
  return makeLiteral(parseEscapedCodePoint(takeCodePoint(rest)));
}

/// What follows '[', with the closing bracket.
CharSet Parser::parseClass() {
  if (++depth > maxNesting) {
    fail("classes nested deeper than " + Twine(maxNesting));
    return {};
  }
  const bool inverted = rest.consume_front("^");
  CharSet all = parseClassPart();
  while (rest.consume_front("&&"))
    all = all.intersected(parseClassPart());
  if (!rest.consume_front("]"))
    fail("'[' without ']'");
  --depth;
  return inverted ? all.inverted() : all;
}

CharSet Parser::parseClassPart() {
  CharSet all;
  for (bool first = true; !rest.empty() && (first || rest.front() != ']') &&
                          !rest.starts_with("&&");
       first = false) {
    if (rest.starts_with("[:")) {
      fail("POSIX classes are not supported");
      break;
    }
    if (rest.consume_front("[")) {
      all.add(parseClass());
      continue;
    }
    uint32_t low;
    if (rest.consume_front("\\")) {
      if (auto set = parseClassEscape()) {
        all.add(*set);
        continue;
      }
      low = parseEscapedCodePoint(takeCodePoint(rest));
    } else {
      low = takeCodePoint(rest);
    }
    uint32_t high = low;
    if (rest.starts_with("-") && rest.size() > 1 && rest[1] != ']') {
      StringRef before = rest;
      rest = rest.drop_front();
      if (rest.starts_with("[")) {
        rest = before; // a literal '-'
      } else if (rest.consume_front("\\")) {
        if (auto set = parseClassEscape()) {
          all.add(*set);
          all.add('-');
        } else {
          high = parseEscapedCodePoint(takeCodePoint(rest));
        }
      } else {
        high = takeCodePoint(rest);
      }
    }
    if (high < low) {
      fail("an empty range in a class");
      break;
    }
    all.add({low, high});
  }
  return all;
}

} // namespace

RegexNode RegexNode::makeSet(CharSet set) {
  RegexNode node;
  node.kind = Set;
  node.set = std::move(set);
  return node;
}

RegexNode RegexNode::makeLookAhead(CharSet set, bool atEnd) {
  RegexNode node;
  node.kind = LookAhead;
  node.set = std::move(set);
  node.atEnd = atEnd;
  return node;
}

Expected<RegexNode> parseRegex(StringRef pattern) {
  return Parser(pattern).parse();
}

RegexNode literalRegex(StringRef text) {
  RegexNode node;
  while (!text.empty())
    node.children.push_back(RegexNode::makeSet(takeCodePoint(text)));
  return node;
}

} // namespace pare::tokenizer
