//===- Compiler.cpp - A syntax tree to instructions -----------------------===//
//
// Names are resolved here, as Jinja's own compiler does it: a block of `for`,
// `macro`, `set`, `filter`, `call` or `generation` is a scope; a name that is
// set anywhere in a scope is a variable of it, which starts out, whenever the
// scope is entered, as what the name means outside.
//
//===----------------------------------------------------------------------===//
#include "frontend/chat/Ast.h"
#include "frontend/chat/Template.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/ErrorHandling.h"

#include <cstring>
#include <map>

using namespace llvm;

namespace pare::chat {
namespace {

using Names = SetVector<StringRef>;

void collectTargets(const Node &target, Names &names) {
  if (target.kind == NodeKind::Name)
    names.insert(target.text);
  if (target.kind == NodeKind::Tuple)
    for (const Node *child : target.children)
      collectTargets(*child, names);
}

/// The names that `statement` sets in the scope that it is in.
void collectStores(const Node &statement, Names &names) {
  switch (statement.kind) {
  case NodeKind::Set:
  case NodeKind::SetBlock:
    return collectTargets(*statement.children[0], names);
  case NodeKind::Macro:
    names.insert(statement.text);
    return;
  case NodeKind::If:
  case NodeKind::Block:
    for (const Node *child : statement.children)
      collectStores(*child, names);
    return;
  default:
    return;
  }
}

/// Does anything in `node` read the variable `name`?
bool mentions(const Node &node, StringRef name) {
  if (node.kind == NodeKind::Name && node.text == name)
    return true;
  return any_of(node.children, [&](const Node *child) {
    return child && mentions(*child, name);
  });
}

uint8_t methodNamed(StringRef name) {
#define CASE(name) .Case(#name, PARE_METHOD_##name)
  return StringSwitch<uint8_t>(name) PARE_CHAT_METHODS(CASE).Default(
      PARE_METHOD_NONE);
#undef CASE
}

class Compiler {
public:
  explicit Compiler(const Variables &variables) : variables(variables) {}

  Error run(const Node &root) {
    functions.push_back({});
    functions[0].name = stringConstant("the template");
    Function function = {0, 0, {}, nullptr, {}};
    current = &function;
    enterScope(root, {}, root.line);
    compile(root);
    emit(PARE_CHAT_RETURN, root.line);
    functions[0].num_slots = function.numSlots;
    if (code.size() > UINT32_MAX / 16)
      return createStringError("the template is too long");
    return error.empty() ? Error::success() : createStringError(error);
  }

  std::vector<uint8_t> serialize() const;

private:
  struct LoopLabels {
    uint32_t next;                ///< where `continue` goes
    std::vector<uint32_t> breaks; ///< jumps to the end
    unsigned captures;
  };
  struct Function {
    uint32_t index;
    uint32_t numSlots;
    std::vector<StringMap<uint32_t>> scopes; ///< names to slots
    Function *outer;
    std::vector<LoopLabels> loops;
    unsigned captures = 0; ///< that are open
  };

  void fail(const Node &node, const Twine &message) {
    if (error.empty())
      error = ("line " + Twine(node.line) + ": " + message).str();
  }

  // What instructions refer to.
  uint32_t constant(PareChatConstant value, StringRef string = "");
  uint32_t stringConstant(StringRef value) {
    return constant({PARE_CHAT_STRING, uint32_t(value.size()), {}}, value);
  }
  uint32_t addText(StringRef value);

  uint32_t emit(PareChatOp op, unsigned line, uint32_t b = 0, unsigned a = 0) {
    code.push_back(
        {uint8_t(op), uint8_t(a), uint16_t(std::min(line, 65535u)), b});
    return uint32_t(code.size() - 1);
  }
  uint32_t here() const { return uint32_t(code.size()); }
  void patch(uint32_t jump) { code[jump].b = here(); }

  // Names.
  void load(StringRef name, unsigned line);
  void store(StringRef name, unsigned line);
  uint32_t declare(StringRef name) {
    return current->scopes.back()[name] = current->numSlots++;
  }
  /// A scope in which `given` names, and those that `body` sets, are variables.
  void enterScope(const Node &body, const Names &given, unsigned line);
  void leaveScope() { current->scopes.pop_back(); }
  void compileScope(const Node &body);

  // Statements.
  void compile(const Node &node);
  void compileFor(const Node &node);
  void compileIf(const Node &node);
  void compileSetBlock(const Node &node);
  void compileJump(const Node &node);
  void compileCaptured(const Node &body);
  /// Emits a macro's code and pushes the macro.
  void compileMacro(const Node &node);
  void assign(const Node &target);

  // Expressions, which push their value.
  void push(const Node &node);
  void pushOrNone(const Node *node, unsigned line);
  void pushBinary(const Node &node);
  void pushCompare(const Node &node);
  void pushConditional(const Node &node);
  /// A call, filter or test; `caller`: what caller() in the macro does.
  void pushCall(const Node &node, const Node *caller = nullptr);

  const Variables &variables;
  std::vector<PareChatConstant> constants;
  std::map<std::pair<uint32_t, std::string>, uint32_t> constantIds;
  std::vector<PareChatFunction> functions;
  std::vector<PareChatInstruction> code;
  std::string text;
  StringMap<uint32_t> textOffsets;
  Function *current = nullptr;
  std::string error;
};

uint32_t Compiler::addText(StringRef value) {
  auto [entry, added] = textOffsets.try_emplace(value, text.size());
  if (added)
    text += value;
  return entry->second;
}

uint32_t Compiler::constant(PareChatConstant value, StringRef string) {
  if (value.kind == PARE_CHAT_STRING) {
    value.bytes = uint32_t(string.size());
    value.value.offset = addText(string);
  }
  std::string key(sizeof(value.value), 0);
  std::memcpy(key.data(), &value.value, sizeof(value.value));
  key += string;
  auto [entry, added] =
      constantIds.try_emplace({value.kind, key}, uint32_t(constants.size()));
  if (added)
    constants.push_back(value);
  return entry->second;
}

void Compiler::load(StringRef name, unsigned line) {
  unsigned depth = 0;
  for (Function *f = current; f; f = f->outer, ++depth)
    for (const auto &scope : reverse(f->scopes))
      if (auto slot = scope.find(name); slot != scope.end()) {
        emit(PARE_CHAT_LOAD, line, slot->second, depth);
        return;
      }
  for (const auto &[variable, value] : variables)
    if (variable == name) {
      emit(PARE_CHAT_CONST, line, stringConstant(value));
      return;
    }
  emit(PARE_CHAT_GLOBAL, line, stringConstant(name));
}

void Compiler::store(StringRef name, unsigned line) {
  emit(PARE_CHAT_STORE, line, current->scopes.back().lookup(name));
}

void Compiler::enterScope(const Node &body, const Names &given, unsigned line) {
  Names stores;
  collectStores(body, stores);
  // What the names mean outside, before they are variables of this scope.
  const uint32_t first = current->numSlots;
  uint32_t slot = first + uint32_t(given.size());
  for (StringRef name : stores)
    if (!given.contains(name)) {
      load(name, line);
      emit(PARE_CHAT_STORE, line, slot++);
    }
  current->scopes.emplace_back();
  for (StringRef name : given)
    declare(name);
  for (StringRef name : stores)
    if (!given.contains(name))
      declare(name);
}

void Compiler::compileScope(const Node &body) {
  enterScope(body, {}, body.line);
  compile(body);
  leaveScope();
}

void Compiler::compile(const Node &node) {
  const auto &children = node.children;
  switch (node.kind) {
  case NodeKind::Block:
    for (const Node *child : children)
      compile(*child);
    return;
  case NodeKind::Text:
    emit(PARE_CHAT_TEXT, node.line, stringConstant(node.text));
    return;
  case NodeKind::Print:
    if (children[0]->kind == NodeKind::Constant &&
        children[0]->constant.kind == PARE_CHAT_STRING) {
      emit(PARE_CHAT_TEXT, node.line, stringConstant(children[0]->text));
      return;
    }
    push(*children[0]);
    emit(PARE_CHAT_PRINT, node.line);
    return;
  case NodeKind::For:
    return compileFor(node);
  case NodeKind::If:
    return compileIf(node);
  case NodeKind::Set:
    push(*children[1]);
    return assign(*children[0]);
  case NodeKind::SetBlock:
    return compileSetBlock(node);
  case NodeKind::Macro:
    compileMacro(node);
    return store(node.text, node.line);
  case NodeKind::CallBlock:
    pushCall(*children[0], children[1]);
    emit(PARE_CHAT_PRINT, node.line);
    return;
  case NodeKind::FilterBlock:
    compileCaptured(*children[1]);
    push(*children[0]);
    emit(PARE_CHAT_PRINT, node.line);
    return;
  case NodeKind::Generation:
    return compileScope(*children[0]);
  case NodeKind::Break:
  case NodeKind::Continue:
    return compileJump(node);
  default:
    llvm_unreachable("an expression is no statement");
  }
}

void Compiler::compileFor(const Node &node) {
  const Node &target = *node.children[0];
  const Node *test = node.children[2], *otherwise = node.children[4];
  const Node &body = *node.children[3];
  Names targets;
  collectTargets(target, targets);

  push(*node.children[1]);
  emit(PARE_CHAT_FOR, node.line, 0, test != nullptr);
  if (test) {
    const uint32_t next = emit(PARE_CHAT_NEXT, node.line);
    enterScope(target, targets, node.line);
    assign(target);
    push(*test);
    leaveScope();
    emit(PARE_CHAT_JUMP_IF_NOT, node.line, next);
    emit(PARE_CHAT_KEEP, node.line);
    emit(PARE_CHAT_JUMP, node.line, next);
    patch(next);
    emit(PARE_CHAT_KEPT, node.line);
  }

  const uint32_t next = emit(PARE_CHAT_NEXT, node.line);
  current->loops.push_back({next, {}, current->captures});
  // The item stays on the stack while the scope's variables start out.
  targets.insert("loop");
  enterScope(body, targets, node.line);
  assign(target);
  emit(PARE_CHAT_LOOP, node.line);
  store("loop", node.line);
  compile(body);
  leaveScope();
  emit(PARE_CHAT_JUMP, node.line, next);
  patch(next);
  for (uint32_t jump : current->loops.back().breaks)
    patch(jump);
  current->loops.pop_back();
  const uint32_t end = emit(PARE_CHAT_END_FOR, node.line);
  if (otherwise)
    compileScope(*otherwise);
  patch(end);
}

void Compiler::compileIf(const Node &node) {
  std::vector<uint32_t> ends;
  size_t i = 0;
  for (; i + 1 < node.children.size(); i += 2) {
    push(*node.children[i]);
    const uint32_t skip = emit(PARE_CHAT_JUMP_IF_NOT, node.children[i]->line);
    compile(*node.children[i + 1]);
    if (i + 2 < node.children.size())
      ends.push_back(emit(PARE_CHAT_JUMP, node.line));
    patch(skip);
  }
  if (i < node.children.size())
    compile(*node.children[i]);
  for (uint32_t jump : ends)
    patch(jump);
}

void Compiler::compileCaptured(const Node &body) {
  emit(PARE_CHAT_CAPTURE, body.line);
  ++current->captures;
  compileScope(body);
  --current->captures;
  emit(PARE_CHAT_CAPTURED, body.line);
}

void Compiler::compileSetBlock(const Node &node) {
  compileCaptured(*node.children[1]);
  if (node.children[2])
    push(*node.children[2]);
  assign(*node.children[0]);
}

void Compiler::compileJump(const Node &node) {
  if (current->loops.empty() ||
      current->loops.back().captures != current->captures)
    return fail(node, "break and continue need a loop around them");
  LoopLabels &loop = current->loops.back();
  if (node.kind == NodeKind::Continue)
    emit(PARE_CHAT_JUMP, node.line, loop.next);
  else
    loop.breaks.push_back(emit(PARE_CHAT_JUMP, node.line));
}

void Compiler::compileMacro(const Node &node) {
  const Node &body = *node.children.back();
  const auto parameters = ArrayRef(node.children).drop_back();
  for (StringRef name : {"varargs", "kwargs"})
    if (mentions(body, name))
      fail(node, "'" + name + "' of macros is not supported");

  const uint32_t around = emit(PARE_CHAT_JUMP, node.line);
  const uint32_t index = uint32_t(functions.size());
  functions.push_back({});
  functions[index].entry = here();
  Function function = {index, 0, {}, current, {}};
  current = &function;

  Names names;
  for (const Node *parameter : parameters)
    names.insert(parameter->text);
  if (names.size() != parameters.size())
    fail(node, "two parameters have the same name");
  functions[index].num_positional = uint32_t(names.size());
  if (mentions(body, "caller"))
    names.insert("caller");
  // Names of parameters are constants in a row, which others are not.
  functions[index].parameters = uint32_t(constants.size());
  functions[index].num_parameters = uint32_t(names.size());
  for (StringRef name : names)
    constants.push_back(
        {PARE_CHAT_STRING, uint32_t(name.size()), {.offset = addText(name)}});
  functions[index].name = stringConstant(node.text);

  enterScope(body, names, node.line);
  for (auto [i, parameter] : enumerate(parameters)) {
    if (parameter->children.empty())
      continue;
    const uint32_t given =
        emit(PARE_CHAT_PARAMETER, parameter->line, 0, unsigned(i));
    push(*parameter->children[0]);
    store(parameter->text, parameter->line);
    patch(given);
  }
  compile(body);
  emit(PARE_CHAT_RETURN, node.line);
  functions[index].num_slots = function.numSlots;
  current = function.outer;
  patch(around);
  emit(PARE_CHAT_MACRO, node.line, index);
}

/// Pops the value on top.
void Compiler::assign(const Node &target) {
  switch (target.kind) {
  case NodeKind::Name:
    return store(target.text, target.line);
  case NodeKind::Attribute:
    push(*target.children[0]);
    emit(PARE_CHAT_SET_ATTR, target.line, stringConstant(target.text));
    return;
  default:
    emit(PARE_CHAT_UNPACK, target.line, uint32_t(target.children.size()));
    for (const Node *child : target.children)
      assign(*child);
  }
}

void Compiler::pushOrNone(const Node *node, unsigned line) {
  if (node)
    push(*node);
  else
    emit(PARE_CHAT_CONST, line, constant({PARE_CHAT_NONE, 0, {}}));
}

void Compiler::push(const Node &node) {
  const auto &children = node.children;
  const uint32_t count = uint32_t(children.size());
  switch (node.kind) {
  case NodeKind::Constant:
    emit(PARE_CHAT_CONST, node.line, constant(node.constant, node.text));
    return;
  case NodeKind::Name:
    return load(node.text, node.line);
  case NodeKind::Attribute:
    push(*children[0]);
    emit(PARE_CHAT_ATTR, node.line, stringConstant(node.text),
         methodNamed(node.text));
    return;
  case NodeKind::Call:
  case NodeKind::Filter:
  case NodeKind::Test:
    return pushCall(node);
  case NodeKind::Binary:
    return pushBinary(node);
  case NodeKind::Compare:
    return pushCompare(node);
  case NodeKind::Conditional:
    return pushConditional(node);
  default:
    break;
  }
  for (const Node *child : children)
    pushOrNone(child, node.line);
  switch (node.kind) {
  case NodeKind::List:
    emit(PARE_CHAT_LIST, node.line, count);
    return;
  case NodeKind::Tuple:
    emit(PARE_CHAT_TUPLE, node.line, count);
    return;
  case NodeKind::Dict:
    emit(PARE_CHAT_DICT, node.line, count / 2);
    return;
  case NodeKind::Concat:
    emit(PARE_CHAT_CONCAT, node.line, count);
    return;
  case NodeKind::Item:
    emit(PARE_CHAT_ITEM, node.line);
    return;
  case NodeKind::Slice:
    emit(PARE_CHAT_SLICE, node.line);
    return;
  case NodeKind::Unary:
    emit(PareChatOp(node.op), node.line);
    return;
  default:
    llvm_unreachable("a statement is no expression");
  }
}

void Compiler::pushBinary(const Node &node) {
  push(*node.children[0]);
  if (node.op != PARE_CHAT_AND && node.op != PARE_CHAT_OR) {
    push(*node.children[1]);
    emit(PareChatOp(node.op), node.line);
    return;
  }
  const uint32_t jump = emit(PareChatOp(node.op), node.line);
  push(*node.children[1]);
  patch(jump);
}

/// a < b < c is a < b and b < c, with b computed once.
void Compiler::pushCompare(const Node &node) {
  push(*node.children[0]);
  std::vector<uint32_t> jumps;
  for (const Node *operand : drop_begin(node.children)) {
    const bool last = operand == node.children.back();
    push(*operand->children[0]);
    emit(PARE_CHAT_COMPARE, operand->line, operand->op, !last);
    if (!last)
      jumps.push_back(emit(PARE_CHAT_AND, operand->line));
  }
  if (jumps.empty())
    return;
  const uint32_t end = emit(PARE_CHAT_JUMP, node.line);
  for (uint32_t jump : jumps)
    patch(jump);
  emit(PARE_CHAT_NIP, node.line);
  patch(end);
}

void Compiler::pushConditional(const Node &node) {
  push(*node.children[0]);
  const uint32_t skip = emit(PARE_CHAT_JUMP_IF_NOT, node.line);
  push(*node.children[1]);
  const uint32_t end = emit(PARE_CHAT_JUMP, node.line);
  patch(skip);
  if (node.children[2])
    push(*node.children[2]);
  else // undefined: no variable has such a name
    emit(PARE_CHAT_GLOBAL, node.line, stringConstant("if without else"));
  patch(end);
}

void Compiler::pushCall(const Node &node, const Node *caller) {
  uint32_t positional = 0, named = 0, detail = node.op;
  for (auto [i, child] : enumerate(node.children)) {
    if (!child) // a captured block, which is on the stack
      continue;
    if (child->kind == NodeKind::Keyword) {
      emit(PARE_CHAT_CONST, child->line, stringConstant(child->text));
      push(*child->children[0]);
      ++named;
      continue;
    }
    if (child->kind == NodeKind::Spread)
      detail = PARE_CHAT_CALL_SPREADS;
    push(child->kind == NodeKind::Spread ? *child->children[0] : *child);
    positional += i > 0;
  }
  if (caller) {
    emit(PARE_CHAT_CONST, node.line, stringConstant("caller"));
    compileMacro(*caller);
    ++named;
  }
  const PareChatOp op = node.kind == NodeKind::Call     ? PARE_CHAT_CALL
                        : node.kind == NodeKind::Filter ? PARE_CHAT_FILTER
                                                        : PARE_CHAT_TEST;
  emit(op, node.line, named << 16 | detail, positional);
}

std::vector<uint8_t> Compiler::serialize() const {
  std::vector<uint8_t> bytes;
  auto append = [&](const void *data, size_t size) {
    const auto *begin = static_cast<const uint8_t *>(data);
    bytes.insert(bytes.end(), begin, begin + size);
    bytes.resize((bytes.size() + 7) & ~size_t(7));
  };
  PareChatHeader header = {PARE_CHAT_MAGIC,
                           PARE_CHAT_VERSION,
                           0,
                           uint32_t(constants.size()),
                           uint32_t(functions.size()),
                           uint32_t(code.size()),
                           uint32_t(text.size())};
  append(&header, sizeof(header));
  append(constants.data(), constants.size() * sizeof(PareChatConstant));
  append(functions.data(), functions.size() * sizeof(PareChatFunction));
  append(code.data(), code.size() * sizeof(PareChatInstruction));
  append(text.data(), text.size());
  header.bytes = bytes.size();
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

} // namespace

Expected<std::vector<uint8_t>> compileTemplate(StringRef source, StringRef path,
                                               const Variables &variables) {
  auto failure = [&](Error error) {
    std::string message = toString(std::move(error));
    for (char &c : message)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        c = ' ';
    return createStringError(path + ": chat template: " + message);
  };
  if (source.size() > (1 << 20))
    return failure(createStringError("larger than 1 MiB"));
  Expected<Ast> ast = parse(source);
  if (!ast)
    return failure(ast.takeError());
  Compiler compiler(variables);
  if (Error error = compiler.run(*ast->root))
    return failure(std::move(error));
  return compiler.serialize();
}

} // namespace pare::chat
