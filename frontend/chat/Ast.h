//===- Ast.h - The syntax tree of a template --------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_CHAT_AST_H
#define PARE_FRONTEND_CHAT_AST_H

#include "frontend/chat/Format.h"

#include "llvm/Support/Error.h"

#include <deque>
#include <string>
#include <vector>

namespace pare::chat {

enum class NodeKind {
  // Expressions. [..] are the children.
  Constant,    ///< `constant`, a string in `text`
  Name,        ///< `text`
  List,        ///< items
  Tuple,       ///< items
  Dict,        ///< key, value, key, value
  Attribute,   ///< [object].text
  Item,        ///< [object, key]
  Slice,       ///< [object, begin, end, step]; null where left out
  Call,        ///< [callee, arguments]
  Filter,      ///< [value, arguments] through `text`, number `op`; a null value
               ///< is a captured block
  Test,        ///< the same
  Keyword,     ///< an argument: text=[value]
  Spread,      ///< an argument: *[list]
  Unary,       ///< `op` [value]
  Binary,      ///< [left] `op` [right]; PARE_CHAT_AND and _OR, too
  Concat,      ///< [values]
  Compare,     ///< [first, Operands]
  Operand,     ///< `op` (PareChatComparison) [value]
  Conditional, ///< [test, then, else]; no else: null
  // Statements.
  Block,       ///< [statements]
  Text,        ///< `text`
  Print,       ///< [value]
  For,         ///< [target, values, test, body, else]; null where left out
  If,          ///< [test, body, test, body, ..., else]
  Set,         ///< [target, value]
  SetBlock,    ///< [target, body, filters]; no filters: null
  Macro,       ///< [Parameters, body] called `text`
  Parameter,   ///< `text`, [default]
  CallBlock,   ///< [call, Macro: what caller() does]
  FilterBlock, ///< [filters, body]
  Generation,  ///< [body]: what the model itself says
  Break,
  Continue,
};

struct Node {
  NodeKind kind;
  unsigned line;
  std::string text;
  std::vector<Node *> children;
  unsigned op = 0;
  PareChatConstant constant = {};
  unsigned depth = 1; ///< nodes down to the deepest leaf
};

/// A template that uses nothing but what the runtime knows.
struct Ast {
  std::deque<Node> nodes;
  Node *root = nullptr; ///< Block
};

/// Parses a template; errors are "line N: ...", or list the filters, tests,
/// methods and tags that are unknown.
llvm::Expected<Ast> parse(llvm::StringRef source);

} // namespace pare::chat

#endif
