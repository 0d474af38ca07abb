//===- ChatValue.h - Values of chat templates -------------------*- C++ -*-===//
//
// Internal to Chat*.cpp: what Python's operators and built-in types do, as far
// as templates see it. A function that fails says so in State::failed; what it
// returns then means nothing, and is safe to go on with.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_CHATVALUE_H
#define PARE_BACKENDS_RUNTIME_CHATVALUE_H

#include "backends/runtime/Json.h"
#include "frontend/chat/Format.h"

namespace pare::rt::chat {

/// What one rendering owns.
class State {
public:
  explicit State(Message &error) : error(error) {}

  /// Starts the message of the first error.
  Writer &fail();
  /// Counts work, about a nanosecond each, so that no template takes forever.
  void charge(uint64_t units);

  /// Text that is emitted, captured, or on its way to become a string. Users
  /// remember the size at which they began (`mark`).
  void put(Str piece);
  void put(char c) { put(Str(&c, 1)); }
  uint64_t mark() const { return text.size; }
  Str since(uint64_t mark) const { return text.str().drop(mark); }
  /// The text since `mark` leaves as a string.
  Value cut(uint64_t mark);

  /// `count` values in the arena; null, having failed, without memory.
  Value *values(uint64_t count);
  Value string(Str text);

  Arena arena;
  Bytes text;
  Message &error;
  bool failed = false;
  uint32_t line = 0;  ///< of the template, for messages
  int64_t now = 0;    ///< for strftime_now
  unsigned depth = 0; ///< of values in values, in recursive functions
  bool enter();       ///< false, having failed: too deep
  void leave() { --depth; }

private:
  Message ignored; ///< errors behind the first
  uint64_t work = 0;
};

/// An undefined value that remembers what was not found.
Value undefined(Str name);

/// The attributes of a namespace, which templates can change.
struct Namespace {
  DictEntry *entries;
  uint32_t size, capacity;
};

/// A `for` and its variable `loop`.
struct Loop {
  Value *items;
  uint32_t size;
  uint32_t next; ///< index of the next item; the current one is before it
  uint32_t kept; ///< items that the filter kept
  Value changed; ///< what loop.changed() saw last
};

/// Positional and named arguments of a call.
struct Args {
  const Value *values;
  uint32_t count;
  const Value *named; ///< name, value, name, value
  uint32_t numNamed;

  /// Argument `index`, or the one called `name`; null: left out.
  const Value *get(uint32_t index, Str name) const;
  /// The same with a default.
  Value get(uint32_t index, Str name, Value otherwise) const;
  Args dropFirst(uint32_t n) const {
    n = min(n, count);
    return {values + n, count - n, named, numNamed};
  }
};

const char *typeName(const Value &value); ///< Python's
bool isNumber(const Value &value);        ///< bools are numbers
bool isList(const Value &value);          ///< a list or a tuple
bool truthy(const Value &value);
bool equal(State &state, const Value &x, const Value &y);
/// Negative, zero or positive; numbers, strings or lists.
int compare(State &state, const Value &x, const Value &y);
bool contains(State &state, const Value &container, const Value &item);
/// len(); -1 for what has none.
int64_t length(const Value &value);

/// Appends str(value), repr(value).
void putText(State &state, const Value &value);
void putRepr(State &state, const Value &value);
/// str(value) as a string; a string is not copied.
Str textOf(State &state, const Value &value);

/// How json.dumps() lays out.
struct JsonStyle {
  bool indents = false, ascii = false, sorts = false;
  Str indent, itemSeparator = ", ", keySeparator = ": ";
};
void putJson(State &state, const Value &value, const JsonStyle &style,
             unsigned level = 0);

/// x[key], then x.key; undefined where there is neither.
Value getItem(State &state, const Value &object, const Value &key);
/// x.name, then x["name"]. `method` is the number of `name` as a method.
Value getAttr(State &state, const Value &object, Str name, uint8_t method);
Value slice(State &state, const Value &object, const Value &begin,
            const Value &end, const Value &step);
/// What `for` goes over, as a list.
Value itemsOf(State &state, const Value &value);
/// The tuples (key, value) of a dict, as a list.
Value pairsOf(State &state, const Value &dict);
/// A namespace's or dict's entry, set or replaced.
void setEntry(State &state, Namespace &target, const Value &key,
              const Value &value);

/// x with y behind it.
Value concat(State &state, Str x, Str y);
/// +, -, *, /, //, %, **.
Value arithmetic(State &state, PareChatOp op, const Value &x, const Value &y);

/// Built-in names, and what they do.
Value callFilter(State &state, uint32_t filter, const Value &value,
                 const Args &args);
bool callTest(State &state, uint32_t test, const Value &value,
              const Args &args);
Value callMethod(State &state, uint32_t method, const Value &object,
                 const Args &args);
Value callFunction(State &state, uint32_t function, const Args &args);

/// UTF-8 text as Python sees it, by code points.
uint64_t countCodePoints(Str text);
/// The byte offset of code point `index`, at most the size.
uint64_t offsetOf(Str text, uint64_t index);
/// The code points [begin, end) of text.
Str codePoints(Str text, uint64_t begin, uint64_t end);
enum Side : unsigned { Left = 1, Right = 2, Both = 3 };
/// Without white space, or the characters in `chars`, at its sides.
Str strip(Str text, unsigned sides, const Str *chars = nullptr);
/// Length of the white space that `text` begins with: a character's, or 0.
unsigned spaceLength(Str text);
/// Takes a line off `rest` as str.splitlines() does, without its end; false:
/// there is none.
bool takeLine(Str &rest, Str &line);
/// Index of the first `needle` at or after `from`, or text.size.
uint64_t findText(State &state, Str text, Str needle, uint64_t from = 0);
/// Cases of ASCII letters; others stay.
char lowerCase(char c);
char upperCase(char c);
Value upper(State &state, Str text);
Value lower(State &state, Str text);
Value capitalize(State &state, Str text);
/// A letter is a title's first behind what is no letter; with `jinja`, behind
/// white space, a dash or an opening bracket.
Value title(State &state, Str text, bool jinja);
Value replace(State &state, Str text, Str from, Str to, int64_t limit);

} // namespace pare::rt::chat

#endif
