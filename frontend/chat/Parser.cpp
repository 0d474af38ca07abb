//===- Parser.cpp - Tokens to a syntax tree -------------------------------===//
//
// By recursive descent, with the grammar and the precedences of Jinja's own
// parser. After an error only End tokens follow, so that every loop stops, and
// what the functions return means nothing.
//
//===----------------------------------------------------------------------===//
#include "frontend/chat/Ast.h"
#include "frontend/chat/Lexer.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::chat {
namespace {

constexpr unsigned kMaxDepth = 150;

#define CASE(name) .Case(#name, PARE_FILTER_##name)
unsigned filterNamed(StringRef name) {
  return StringSwitch<unsigned>(name) PARE_CHAT_FILTERS(CASE).Default(0);
}
#undef CASE
#define CASE(name) .Case(#name, PARE_TEST_##name)
unsigned testNamed(StringRef name) {
  return StringSwitch<unsigned>(name) PARE_CHAT_TESTS(CASE)
      .Cases({"==", "!=", "<", "<=", ">", ">="}, PARE_TEST_eq) // in select()
      .Default(0);
}
#undef CASE
#define CASE(name) .Case(#name, PARE_METHOD_##name)
unsigned methodNamed(StringRef name) {
  return StringSwitch<unsigned>(name) PARE_CHAT_METHODS(CASE).Default(0);
}
#undef CASE

class Parser {
public:
  Parser(std::vector<Token> tokens, Ast &ast)
      : tokens(std::move(tokens)), ast(ast) {}

  Error run() {
    ast.root = parseStatements({});
    if (!error.empty())
      return createStringError(error);
    if (unknown.empty())
      return Error::success();
    return createStringError("not supported: " + join(unknown, ", "));
  }

private:
  const Token &current() const { return tokens[at]; }
  const Token &next() const {
    return tokens[std::min(at + 1, tokens.size() - 1)];
  }
  void advance() {
    if (at + 1 < tokens.size())
      ++at;
  }
  void fail(const Twine &message) {
    if (error.empty())
      error = ("line " + Twine(current().line) + ": " + message).str();
    at = tokens.size() - 1;
  }
  void unexpected() {
    const Token &t = current();
    fail(t.kind == Token::End
             ? "the template ends too early"
             : "unexpected " + (t.text.empty() ? "tag" : "'" + t.text + "'"));
  }
  void noteUnknown(const Twine &what, unsigned line) {
    const std::string item = (what + " (line " + Twine(line) + ")").str();
    if (!is_contained(unknown, item))
      unknown.push_back(item);
  }

  static bool is(const Token &token, StringRef text) {
    return (token.kind == Token::Operator || token.kind == Token::Name) &&
           token.text == text;
  }
  bool is(StringRef text) const { return is(current(), text); }
  bool take(StringRef text) {
    if (!is(text))
      return false;
    advance();
    return true;
  }
  void expect(StringRef text) {
    if (!take(text))
      unexpected();
  }
  void expect(Token::Kind kind) {
    if (current().kind != kind)
      return unexpected();
    advance();
  }
  std::string takeName() {
    std::string name = current().text;
    expect(Token::Name);
    return name;
  }

  Node *make(NodeKind kind, unsigned line, std::vector<Node *> children = {},
             StringRef text = "", unsigned op = 0) {
    unsigned depth = 1;
    for (const Node *child : children)
      depth = std::max(depth, child ? child->depth + 1 : 1);
    if (depth > kMaxDepth)
      fail("nested too deeply");
    ast.nodes.push_back(
        {kind, line, text.str(), std::move(children), op, {}, depth});
    return &ast.nodes.back();
  }
  Node *makeConstant(PareChatConstantKind kind, StringRef text = "") {
    Node *node = make(NodeKind::Constant, current().line, {}, text);
    node->constant.kind = kind;
    return node;
  }

  // Statements.
  Node *parseStatements(ArrayRef<StringRef> ends);
  Node *parseBlock(StringRef end);
  Node *parseTag();
  Node *parseFor(unsigned line);
  Node *parseIf(unsigned line);
  Node *parseSet(unsigned line);
  std::vector<Node *> parseParameters();
  Node *parseMacro(unsigned line);
  Node *parseCallBlock(unsigned line);
  Node *parseTarget();

  // Expressions, from the loosest to the tightest.
  Node *parseTuple(bool conditionals = true);
  Node *parseExpression();
  Node *parseOr();
  Node *parseAnd();
  Node *parseNot();
  Node *parseCompare();
  Node *parseSum();
  Node *parseConcat();
  Node *parseProduct();
  Node *parsePower();
  Node *parseUnary(bool filters = true);
  Node *parsePrimary();
  Node *parseNumber();
  Node *parseParentheses();
  Node *parseBrackets();
  Node *parseBraces();
  Node *parsePostfix(Node *node);
  Node *parseSubscript(Node *node);
  Node *parseFilters(Node *node);
  Node *parseFilter(Node *value);
  Node *parseTest(Node *value);
  Node *parseCall(Node *callee);
  void parseArguments(std::vector<Node *> &children);
  /// Names of filters and tests that map, select and their kin are given.
  void checkArguments(const Node &filter);

  std::vector<Token> tokens;
  Ast &ast;
  size_t at = 0;
  unsigned nesting = 0;
  std::string error;
  std::vector<std::string> unknown, unknownTags;
};

/// Statements up to a tag that is one of `ends`; its name is what comes next.
Node *Parser::parseStatements(ArrayRef<StringRef> ends) {
  const unsigned line = current().line;
  std::vector<Node *> statements;
  if (++nesting > kMaxDepth)
    fail("nested too deeply");
  for (;;) {
    const Token &token = current();
    if (token.kind == Token::Text) {
      statements.push_back(make(NodeKind::Text, token.line, {}, token.text));
      advance();
    } else if (token.kind == Token::PrintBegin) {
      advance();
      Node *value = parseTuple();
      expect(Token::PrintEnd);
      statements.push_back(make(NodeKind::Print, token.line, {value}));
    } else if (token.kind == Token::TagBegin) {
      advance();
      if (is_contained(ends, current().text))
        break;
      if (Node *node = parseTag())
        statements.push_back(node);
    } else {
      if (!ends.empty())
        fail("'" + ends.back() + "' is missing");
      break;
    }
  }
  --nesting;
  return make(NodeKind::Block, line, std::move(statements));
}

/// The rest of a tag, statements, and the tag `end`.
Node *Parser::parseBlock(StringRef end) {
  expect(Token::TagEnd);
  Node *body = parseStatements({end});
  expect(end);
  expect(Token::TagEnd);
  return body;
}

/// A statement behind its `{%`; null: an unknown tag.
Node *Parser::parseTag() {
  const unsigned line = current().line;
  const std::string name = takeName();
  if (name == "for")
    return parseFor(line);
  if (name == "if")
    return parseIf(line);
  if (name == "set")
    return parseSet(line);
  if (name == "macro")
    return parseMacro(line);
  if (name == "call")
    return parseCallBlock(line);
  if (name == "filter") {
    Node *filter = parseFilter(nullptr);
    return make(NodeKind::FilterBlock, line,
                {parseFilters(filter), parseBlock("endfilter")});
  }
  if (name == "generation")
    return make(NodeKind::Generation, line, {parseBlock("endgeneration")});
  if (name == "break" || name == "continue") {
    expect(Token::TagEnd);
    return make(name == "break" ? NodeKind::Break : NodeKind::Continue, line);
  }
  const StringRef begun = StringRef(name).starts_with("end")
                              ? StringRef(name).drop_front(3)
                              : StringRef();
  const bool stray =
      is_contained({"else", "elif"}, StringRef(name)) ||
      is_contained(
          {"for", "if", "set", "macro", "call", "filter", "generation"}, begun);
  if (stray)
    fail("unexpected '" + name + "'");
  else if (!is_contained(unknownTags, begun)) {
    noteUnknown("tag '" + name + "'", line);
    unknownTags.push_back(name);
  }
  while (current().kind != Token::TagEnd && current().kind != Token::End)
    advance();
  advance();
  return nullptr;
}

Node *Parser::parseFor(unsigned line) {
  Node *target = parseTarget();
  expect("in");
  Node *list = parseTuple(/*conditionals=*/false);
  Node *test = take("if") ? parseExpression() : nullptr;
  if (is("recursive")) {
    noteUnknown("recursive loop", line);
    advance();
  }
  expect(Token::TagEnd);
  Node *body = parseStatements({"else", "endfor"}), *otherwise = nullptr;
  if (take("else"))
    otherwise = parseBlock("endfor");
  else {
    expect("endfor");
    expect(Token::TagEnd);
  }
  return make(NodeKind::For, line, {target, list, test, body, otherwise});
}

Node *Parser::parseIf(unsigned line) {
  std::vector<Node *> children;
  do {
    children.push_back(parseTuple(/*conditionals=*/false));
    expect(Token::TagEnd);
    children.push_back(parseStatements({"elif", "else", "endif"}));
  } while (take("elif"));
  if (take("else")) {
    children.push_back(parseBlock("endif"));
  } else {
    expect("endif");
    expect(Token::TagEnd);
  }
  return make(NodeKind::If, line, std::move(children));
}

Node *Parser::parseSet(unsigned line) {
  Node *target = parseTarget();
  if (take("=")) {
    Node *value = parseTuple();
    expect(Token::TagEnd);
    return make(NodeKind::Set, line, {target, value});
  }
  Node *filters = nullptr;
  if (is("|"))
    filters = parseFilters(nullptr);
  Node *body = parseBlock("endset");
  return make(NodeKind::SetBlock, line, {target, body, filters});
}

/// Parameters behind their `(`, with the `)`.
std::vector<Node *> Parser::parseParameters() {
  std::vector<Node *> parameters;
  while (!is(")") && error.empty()) {
    if (!parameters.empty())
      expect(",");
    const unsigned line = current().line;
    const std::string name = takeName();
    std::vector<Node *> otherwise;
    if (take("="))
      otherwise.push_back(parseExpression());
    else if (!parameters.empty() && !parameters.back()->children.empty())
      fail("a parameter without a default follows one with it");
    parameters.push_back(make(NodeKind::Parameter, line, otherwise, name));
  }
  expect(")");
  if (parameters.size() > 60)
    fail("too many parameters");
  return parameters;
}

Node *Parser::parseMacro(unsigned line) {
  const std::string name = takeName();
  expect("(");
  std::vector<Node *> children = parseParameters();
  children.push_back(parseBlock("endmacro"));
  return make(NodeKind::Macro, line, std::move(children), name);
}

Node *Parser::parseCallBlock(unsigned line) {
  std::vector<Node *> children;
  if (take("("))
    children = parseParameters();
  Node *call = parseExpression();
  if (call->kind != NodeKind::Call)
    fail("expected a call");
  children.push_back(parseBlock("endcall"));
  Node *caller = make(NodeKind::Macro, line, std::move(children), "caller");
  return make(NodeKind::CallBlock, line, {call, caller});
}

/// What `for` and `set` assign to: names, or an attribute.
Node *Parser::parseTarget() {
  const unsigned line = current().line;
  std::vector<Node *> targets;
  bool tuple = false;
  do {
    if (!targets.empty() && current().kind != Token::Name && !is("("))
      break; // a comma at the end
    if (take("(")) {
      if (++nesting > kMaxDepth)
        fail("nested too deeply");
      targets.push_back(parseTarget());
      --nesting;
      expect(")");
      continue;
    }
    Node *name = make(NodeKind::Name, current().line, {}, takeName());
    if (take("."))
      name = make(NodeKind::Attribute, name->line, {name}, takeName());
    targets.push_back(name);
  } while (take(",") && (tuple = true));
  if (!tuple)
    return targets.front();
  return make(NodeKind::Tuple, line, std::move(targets));
}

/// Expressions, separated by commas if there are several.
Node *Parser::parseTuple(bool conditionals) {
  const unsigned line = current().line;
  auto item = [&] { return conditionals ? parseExpression() : parseOr(); };
  Node *first = item();
  if (!is(","))
    return first;
  std::vector<Node *> items = {first};
  while (take(",")) {
    const Token &token = current();
    if (token.kind == Token::TagEnd || token.kind == Token::PrintEnd || is(")"))
      break;
    items.push_back(item());
  }
  return make(NodeKind::Tuple, line, std::move(items));
}

Node *Parser::parseExpression() {
  if (++nesting > kMaxDepth)
    fail("nested too deeply");
  Node *node = parseOr();
  while (is("if")) {
    const unsigned line = current().line;
    advance();
    Node *test = parseOr();
    Node *otherwise = take("else") ? parseExpression() : nullptr;
    node = make(NodeKind::Conditional, line, {test, node, otherwise});
  }
  --nesting;
  return node;
}

Node *Parser::parseOr() {
  Node *left = parseAnd();
  while (is("or")) {
    const unsigned line = current().line;
    advance();
    left = make(NodeKind::Binary, line, {left, parseAnd()}, "", PARE_CHAT_OR);
  }
  return left;
}

Node *Parser::parseAnd() {
  Node *left = parseNot();
  while (is("and")) {
    const unsigned line = current().line;
    advance();
    left = make(NodeKind::Binary, line, {left, parseNot()}, "", PARE_CHAT_AND);
  }
  return left;
}

Node *Parser::parseNot() {
  if (!is("not") || is(next(), "in"))
    return parseCompare();
  const unsigned line = current().line;
  advance();
  if (++nesting > kMaxDepth)
    fail("nested too deeply");
  Node *value = parseNot();
  --nesting;
  return make(NodeKind::Unary, line, {value}, "", PARE_CHAT_NOT);
}

Node *Parser::parseCompare() {
  const unsigned line = current().line;
  std::vector<Node *> children = {parseSum()};
  for (;;) {
    const unsigned at = current().line;
    unsigned op = StringSwitch<unsigned>(current().text)
                      .Case("==", PARE_CHAT_EQ)
                      .Case("!=", PARE_CHAT_NE)
                      .Case("<", PARE_CHAT_LT)
                      .Case("<=", PARE_CHAT_LE)
                      .Case(">", PARE_CHAT_GT)
                      .Case(">=", PARE_CHAT_GE)
                      .Case("in", PARE_CHAT_IN)
                      .Case("not", PARE_CHAT_NOT_IN)
                      .Default(~0u);
    if (op == ~0u || !is(current().text) ||
        (op == PARE_CHAT_NOT_IN && !is(next(), "in")))
      break;
    if (op == PARE_CHAT_NOT_IN)
      advance();
    advance();
    children.push_back(make(NodeKind::Operand, at, {parseSum()}, "", op));
  }
  if (children.size() == 1)
    return children.front();
  return make(NodeKind::Compare, line, std::move(children));
}

Node *Parser::parseSum() {
  Node *left = parseConcat();
  while (is("+") || is("-")) {
    const unsigned line = current().line;
    const unsigned op = is("+") ? PARE_CHAT_ADD : PARE_CHAT_SUBTRACT;
    advance();
    left = make(NodeKind::Binary, line, {left, parseConcat()}, "", op);
  }
  return left;
}

Node *Parser::parseConcat() {
  const unsigned line = current().line;
  std::vector<Node *> parts = {parseProduct()};
  while (take("~"))
    parts.push_back(parseProduct());
  if (parts.size() == 1)
    return parts.front();
  return make(NodeKind::Concat, line, std::move(parts));
}

Node *Parser::parseProduct() {
  Node *left = parsePower();
  for (;;) {
    const unsigned line = current().line;
    const unsigned op = StringSwitch<unsigned>(current().text)
                            .Case("*", PARE_CHAT_MULTIPLY)
                            .Case("/", PARE_CHAT_DIVIDE)
                            .Case("//", PARE_CHAT_FLOOR_DIVIDE)
                            .Case("%", PARE_CHAT_MODULO)
                            .Default(0);
    if (!op || current().kind != Token::Operator)
      return left;
    advance();
    left = make(NodeKind::Binary, line, {left, parsePower()}, "", op);
  }
}

Node *Parser::parsePower() {
  Node *left = parseUnary();
  while (is("**")) {
    const unsigned line = current().line;
    advance();
    left =
        make(NodeKind::Binary, line, {left, parseUnary()}, "", PARE_CHAT_POWER);
  }
  return left;
}

Node *Parser::parseUnary(bool filters) {
  const unsigned line = current().line;
  Node *node;
  if (++nesting > kMaxDepth)
    fail("nested too deeply");
  if (is("-") || is("+")) {
    const unsigned op = is("-") ? PARE_CHAT_NEGATE : PARE_CHAT_PLUS;
    advance();
    node = make(NodeKind::Unary, line, {parseUnary(/*filters=*/false)}, "", op);
  } else {
    node = parsePrimary();
  }
  node = parsePostfix(node);
  --nesting;
  return filters ? parseFilters(node) : node;
}

Node *Parser::parsePrimary() {
  const Token token = current();
  switch (token.kind) {
  case Token::Name: {
    const StringRef name = token.text;
    Node *node;
    if (is_contained({"true", "True", "false", "False"}, name)) {
      node = makeConstant(PARE_CHAT_BOOL);
      node->constant.value.integer = name.lower() == "true";
    } else if (name == "none" || name == "None") {
      node = makeConstant(PARE_CHAT_NONE);
    } else {
      node = make(NodeKind::Name, token.line, {}, name);
    }
    advance();
    return node;
  }
  case Token::String: {
    std::string text;
    for (; current().kind == Token::String; advance())
      text += current().text;
    return makeConstant(PARE_CHAT_STRING, text);
  }
  case Token::Integer:
  case Token::Float:
    return parseNumber();
  default:
    if (take("("))
      return parseParentheses();
    if (take("["))
      return parseBrackets();
    if (take("{"))
      return parseBraces();
    unexpected();
    return makeConstant(PARE_CHAT_NONE);
  }
}

Node *Parser::parseNumber() {
  const StringRef text = current().text;
  Node *node = makeConstant(current().kind == Token::Integer ? PARE_CHAT_INT
                                                             : PARE_CHAT_FLOAT);
  if (current().kind == Token::Integer
          ? text.getAsInteger(10, node->constant.value.integer)
          : text.getAsDouble(node->constant.value.real)) {
    fail("the number '" + text + "' is too large");
    return node;
  }
  advance();
  return node;
}

Node *Parser::parseParentheses() {
  const unsigned line = current().line;
  if (take(")"))
    return make(NodeKind::Tuple, line);
  Node *node = parseTuple();
  expect(")");
  return node;
}

Node *Parser::parseBrackets() {
  const unsigned line = current().line;
  std::vector<Node *> items;
  while (!is("]") && error.empty()) {
    if (!items.empty())
      expect(",");
    if (is("]"))
      break;
    items.push_back(parseExpression());
  }
  expect("]");
  return make(NodeKind::List, line, std::move(items));
}

Node *Parser::parseBraces() {
  const unsigned line = current().line;
  std::vector<Node *> items;
  while (!is("}") && error.empty()) {
    if (!items.empty())
      expect(",");
    if (is("}"))
      break;
    items.push_back(parseExpression());
    expect(":");
    items.push_back(parseExpression());
  }
  expect("}");
  return make(NodeKind::Dict, line, std::move(items));
}

Node *Parser::parsePostfix(Node *node) {
  for (;;) {
    const unsigned line = current().line;
    if (take(".")) {
      if (current().kind == Token::Integer)
        node = make(NodeKind::Item, line, {node, parseNumber()});
      else
        node = make(NodeKind::Attribute, line, {node}, takeName());
    } else if (take("[")) {
      node = parseSubscript(node);
    } else if (is("(")) {
      node = parseCall(node);
    } else {
      return node;
    }
  }
}

/// A key or a slice behind its `[`.
Node *Parser::parseSubscript(Node *node) {
  const unsigned line = current().line;
  Node *bounds[3] = {};
  if (!is(":"))
    bounds[0] = parseExpression();
  if (!is(":")) {
    expect("]");
    return make(NodeKind::Item, line, {node, bounds[0]});
  }
  for (unsigned i = 1; i < 3 && take(":"); ++i)
    if (!is(":") && !is("]"))
      bounds[i] = parseExpression();
  expect("]");
  return make(NodeKind::Slice, line, {node, bounds[0], bounds[1], bounds[2]});
}

/// Filters, tests and calls behind a value; null: a captured block.
Node *Parser::parseFilters(Node *node) {
  for (;;) {
    if (take("|"))
      node = parseFilter(node);
    else if (node && is("is"))
      node = parseTest(node);
    else if (node && is("("))
      node = parseCall(node);
    else
      return node;
  }
}

Node *Parser::parseFilter(Node *value) {
  const unsigned line = current().line;
  const std::string name = takeName();
  const unsigned filter = filterNamed(name);
  if (!filter && error.empty())
    noteUnknown("filter '" + name + "'", line);
  std::vector<Node *> children = {value};
  if (take("("))
    parseArguments(children);
  if (any_of(children, [](const Node *child) {
        return child && child->kind == NodeKind::Spread;
      }))
    fail("a filter takes no list of arguments");
  Node *node = make(NodeKind::Filter, line, std::move(children), name, filter);
  checkArguments(*node);
  return node;
}

void Parser::checkArguments(const Node &filter) {
  const bool maps = filter.op == PARE_FILTER_map;
  size_t index = 1; // where the name is
  if (filter.op == PARE_FILTER_selectattr ||
      filter.op == PARE_FILTER_rejectattr)
    index = 2;
  else if (filter.op != PARE_FILTER_select && filter.op != PARE_FILTER_reject &&
           !maps)
    return;
  if (filter.children.size() <= index)
    return;
  const Node &name = *filter.children[index];
  if (name.kind != NodeKind::Constant || name.constant.kind != PARE_CHAT_STRING)
    return;
  if (!(maps ? filterNamed(name.text) : testNamed(name.text)))
    noteUnknown((maps ? "filter '" : "test '") + Twine(name.text) + "'",
                name.line);
}

Node *Parser::parseTest(Node *value) {
  const unsigned line = current().line;
  advance();
  const bool negated = take("not");
  const std::string name = takeName();
  const unsigned test = testNamed(name);
  if (!test && error.empty())
    noteUnknown("test '" + name + "'", line);
  std::vector<Node *> children = {value};
  const Token &token = current();
  const bool literal = token.kind == Token::Name ||
                       token.kind == Token::String ||
                       token.kind == Token::Integer ||
                       token.kind == Token::Float || is("[") || is("{");
  if (take("("))
    parseArguments(children);
  else if (literal && !is("else") && !is("or") && !is("and")) {
    if (is("is"))
      unexpected();
    children.push_back(parsePostfix(parsePrimary()));
  }
  if (children.back()->kind == NodeKind::Spread)
    fail("a test takes no list of arguments");
  Node *node = make(NodeKind::Test, line, std::move(children), name, test);
  return negated ? make(NodeKind::Unary, line, {node}, "", PARE_CHAT_NOT)
                 : node;
}

Node *Parser::parseCall(Node *callee) {
  const unsigned line = current().line;
  advance();
  if (callee->kind == NodeKind::Attribute && !methodNamed(callee->text))
    noteUnknown("method '" + callee->text + "'", callee->line);
  std::vector<Node *> children = {callee};
  parseArguments(children);
  return make(NodeKind::Call, line, std::move(children));
}

/// Arguments behind their `(`, with the `)`.
void Parser::parseArguments(std::vector<Node *> &children) {
  bool first = true, named = false;
  while (!is(")") && error.empty()) {
    if (!first)
      expect(",");
    first = false;
    if (is(")"))
      break;
    const unsigned line = current().line;
    if (current().kind == Token::Name && is(next(), "=")) {
      const std::string name = takeName();
      advance();
      children.push_back(
          make(NodeKind::Keyword, line, {parseExpression()}, name));
      named = true;
    } else {
      if (named || (!children.empty() && children.back() &&
                    children.back()->kind == NodeKind::Spread))
        fail("a positional argument is too late");
      const bool spread = take("*");
      Node *value = parseExpression();
      children.push_back(spread ? make(NodeKind::Spread, line, {value})
                                : value);
    }
  }
  expect(")");
  if (children.size() > 200)
    fail("too many arguments");
}

} // namespace

Expected<Ast> parse(StringRef source) {
  Expected<std::vector<Token>> tokens = tokenize(source);
  if (!tokens)
    return tokens.takeError();
  Ast ast;
  if (Error error = Parser(std::move(*tokens), ast).run())
    return std::move(error);
  return std::move(ast);
}

} // namespace pare::chat
