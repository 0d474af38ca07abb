//===- Format.h - The serialized chat template ------------------*- C -*-===//
//
// frontend/chat compiles a Jinja template to this table, the runtime executes
// it in place: position independent, little-endian, 8-byte aligned. Behind the
// header lie, in this order and each 8-byte aligned:
//
//   PareChatConstant[num_constants]
//   PareChatFunction[num_functions]        0 is the template, others are macros
//   PareChatInstruction[num_instructions]
//   char[text_bytes]                       UTF-8 of string constants
//
// The instructions are those of a stack machine. Variables that the template
// sets live in slots of the function that sets them; functions see the slots
// of the functions around them. All other names are looked up among what the
// caller passes, and then among PARE_CHAT_FUNCTIONS.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_CHAT_FORMAT_H
#define PARE_FRONTEND_CHAT_FORMAT_H

#include <stdint.h>

#define PARE_CHAT_MAGIC 0x54484350u /* "PCHT" */
#define PARE_CHAT_VERSION 1

typedef struct {
  uint32_t magic, version;
  uint64_t bytes; /* of the whole table */
  uint32_t num_constants, num_functions, num_instructions, text_bytes;
} PareChatHeader;

typedef enum {
  PARE_CHAT_NONE = 0,
  PARE_CHAT_BOOL = 1,
  PARE_CHAT_INT = 2,
  PARE_CHAT_FLOAT = 3,
  PARE_CHAT_STRING = 4,
} PareChatConstantKind;

typedef struct {
  uint32_t kind;  /* PareChatConstantKind */
  uint32_t bytes; /* of a string */
  union {
    int64_t integer; /* of bool, too */
    double real;
    uint64_t offset; /* of a string, in the text */
  } value;
} PareChatConstant;

typedef struct {
  uint32_t entry;                      /* its first instruction */
  uint32_t num_slots;                  /* parameters come first */
  uint32_t parameters, num_parameters; /* constants: their names, in order */
  uint32_t num_positional; /* `caller`, the last, is passed by name only */
  uint32_t name;           /* constant */
} PareChatFunction;

typedef struct {
  uint8_t op;    /* PareChatOp */
  uint8_t a;     /* as the operation says */
  uint16_t line; /* in the template, from 1; 65535 stands for all beyond */
  uint32_t b;    /* as the operation says */
} PareChatInstruction;

/* Stack effects are written (before -- after), the top at the right. */
typedef enum {
  PARE_CHAT_TEXT = 1, /* emit constant b */
  PARE_CHAT_PRINT,    /* (x --) emit x */
  PARE_CHAT_CONST,    /* (-- x) constant b */
  PARE_CHAT_GLOBAL,   /* (-- x) the caller's variable named by constant b */
  PARE_CHAT_LOAD,     /* (-- x) slot b, a functions outwards */
  PARE_CHAT_STORE,    /* (x --) slot b of this function */
  PARE_CHAT_ATTR,     /* (x -- y) x.name; constant b; a: its PareChatMethod */
  PARE_CHAT_SET_ATTR, /* (value x --) x.name = value; constant b */
  PARE_CHAT_ITEM,     /* (x key -- y) */
  PARE_CHAT_SLICE,    /* (x begin end step -- y) none where left out */
  PARE_CHAT_LIST,     /* (b values -- list) */
  PARE_CHAT_TUPLE,    /* (b values -- tuple) */
  PARE_CHAT_DICT,     /* (b keys with values -- dict) */
  PARE_CHAT_UNPACK,   /* (x -- b values) the first on top */
  PARE_CHAT_JUMP,     /* to instruction b */
  PARE_CHAT_JUMP_IF_NOT, /* (x --) */
  PARE_CHAT_AND,         /* (x -- x) and jump if x is false, else (x --) */
  PARE_CHAT_OR,          /* (x -- x) and jump if x is true, else (x --) */
  PARE_CHAT_NOT,
  PARE_CHAT_NEGATE,
  PARE_CHAT_PLUS,
  PARE_CHAT_ADD,
  PARE_CHAT_SUBTRACT,
  PARE_CHAT_MULTIPLY,
  PARE_CHAT_DIVIDE,
  PARE_CHAT_FLOOR_DIVIDE,
  PARE_CHAT_MODULO,
  PARE_CHAT_POWER,
  PARE_CHAT_CONCAT,    /* (b values -- string) */
  PARE_CHAT_COMPARE,   /* (x y -- bool) PareChatComparison b; with a = 1,
                          (x y -- y bool): a chain goes on */
  PARE_CHAT_NIP,       /* (x y -- y) */
  PARE_CHAT_FOR,       /* (x -- loop) over x; a = 1: items will be filtered */
  PARE_CHAT_NEXT,      /* (loop -- loop item), or jump to b at the end */
  PARE_CHAT_KEEP,      /* (loop -- loop) the filter keeps the current item */
  PARE_CHAT_KEPT,      /* (loop -- loop) over what was kept */
  PARE_CHAT_LOOP,      /* (loop -- loop loop) the variable `loop` */
  PARE_CHAT_END_FOR,   /* (loop --) jump to b if there was an item */
  PARE_CHAT_CAPTURE,   /* text goes into a string from here on ... */
  PARE_CHAT_CAPTURED,  /* (-- string) ... to here */
  PARE_CHAT_MACRO,     /* (-- macro) function b */
  PARE_CHAT_PARAMETER, /* jump to b if the caller gave parameter a */
  PARE_CHAT_RETURN,
  /* The next three take `a` arguments, then (b >> 16) pairs of a name and a
     value. */
  PARE_CHAT_CALL,   /* (f arguments -- x) b & 65535: 0, or
                       PARE_CHAT_CALL_SPREADS */
  PARE_CHAT_FILTER, /* (x arguments -- y) PareChatFilter b & 65535 */
  PARE_CHAT_TEST,   /* (x arguments -- bool) PareChatTest b & 65535 */
  PARE_CHAT_NUM_OPS,
} PareChatOp;

/* The last positional argument is a list of arguments. */
#define PARE_CHAT_CALL_SPREADS 1u

typedef enum {
  PARE_CHAT_EQ = 0,
  PARE_CHAT_NE,
  PARE_CHAT_LT,
  PARE_CHAT_LE,
  PARE_CHAT_GT,
  PARE_CHAT_GE,
  PARE_CHAT_IN,
  PARE_CHAT_NOT_IN,
} PareChatComparison;

/* Names that templates may use. What they do is Jinja's, or Python's. */
#define PARE_CHAT_FILTERS(X)                                                   \
  X(abs)                                                                       \
  X(capitalize)                                                                \
  X(count)                                                                     \
  X(d)                                                                         \
  X(default)                                                                   \
  X(dictsort)                                                                  \
  X(first)                                                                     \
  X(float)                                                                     \
  X(indent)                                                                    \
  X(int)                                                                       \
  X(items)                                                                     \
  X(join)                                                                      \
  X(last)                                                                      \
  X(length)                                                                    \
  X(list)                                                                      \
  X(lower)                                                                     \
  X(map)                                                                       \
  X(max)                                                                       \
  X(min)                                                                       \
  X(reject)                                                                    \
  X(rejectattr)                                                                \
  X(replace)                                                                   \
  X(reverse)                                                                   \
  X(safe)                                                                      \
  X(select)                                                                    \
  X(selectattr)                                                                \
  X(sort)                                                                      \
  X(string)                                                                    \
  X(sum)                                                                       \
  X(title)                                                                     \
  X(tojson)                                                                    \
  X(trim)                                                                      \
  X(unique)                                                                    \
  X(upper)

#define PARE_CHAT_TESTS(X)                                                     \
  X(boolean)                                                                   \
  X(callable)                                                                  \
  X(defined)                                                                   \
  X(divisibleby)                                                               \
  X(eq)                                                                        \
  X(equalto)                                                                   \
  X(even)                                                                      \
  X(false)                                                                     \
  X(float)                                                                     \
  X(ge)                                                                        \
  X(greaterthan)                                                               \
  X(gt)                                                                        \
  X(in)                                                                        \
  X(integer)                                                                   \
  X(iterable)                                                                  \
  X(le)                                                                        \
  X(lessthan)                                                                  \
  X(lower)                                                                     \
  X(lt)                                                                        \
  X(mapping)                                                                   \
  X(ne)                                                                        \
  X(none)                                                                      \
  X(number)                                                                    \
  X(odd)                                                                       \
  X(sameas)                                                                    \
  X(sequence)                                                                  \
  X(string)                                                                    \
  X(true)                                                                      \
  X(undefined)                                                                 \
  X(upper)

/* Methods of strings, dicts, lists and `loop`. */
#define PARE_CHAT_METHODS(X)                                                   \
  X(capitalize)                                                                \
  X(changed)                                                                   \
  X(copy)                                                                      \
  X(count)                                                                     \
  X(cycle)                                                                     \
  X(endswith)                                                                  \
  X(find)                                                                      \
  X(get)                                                                       \
  X(index)                                                                     \
  X(isalnum)                                                                   \
  X(isalpha)                                                                   \
  X(isdigit)                                                                   \
  X(islower)                                                                   \
  X(isspace)                                                                   \
  X(isupper)                                                                   \
  X(items)                                                                     \
  X(join)                                                                      \
  X(keys)                                                                      \
  X(lower)                                                                     \
  X(lstrip)                                                                    \
  X(partition)                                                                 \
  X(removeprefix)                                                              \
  X(removesuffix)                                                              \
  X(replace)                                                                   \
  X(rfind)                                                                     \
  X(rpartition)                                                                \
  X(rsplit)                                                                    \
  X(rstrip)                                                                    \
  X(split)                                                                     \
  X(splitlines)                                                                \
  X(startswith)                                                                \
  X(strip)                                                                     \
  X(title)                                                                     \
  X(upper)                                                                     \
  X(values)

#define PARE_CHAT_FUNCTIONS(X)                                                 \
  X(dict)                                                                      \
  X(namespace)                                                                 \
  X(raise_exception)                                                           \
  X(range)                                                                     \
  X(strftime_now)

/* 0 is none. */
#define PARE_CHAT_ENUMERATOR(name) PARE_FILTER_##name,
typedef enum {
  PARE_FILTER_NONE,
  PARE_CHAT_FILTERS(PARE_CHAT_ENUMERATOR) PARE_NUM_FILTERS
} PareChatFilter;
#undef PARE_CHAT_ENUMERATOR
#define PARE_CHAT_ENUMERATOR(name) PARE_TEST_##name,
typedef enum {
  PARE_TEST_NONE,
  PARE_CHAT_TESTS(PARE_CHAT_ENUMERATOR) PARE_NUM_TESTS
} PareChatTest;
#undef PARE_CHAT_ENUMERATOR
#define PARE_CHAT_ENUMERATOR(name) PARE_METHOD_##name,
typedef enum {
  PARE_METHOD_NONE,
  PARE_CHAT_METHODS(PARE_CHAT_ENUMERATOR) PARE_NUM_METHODS
} PareChatMethod;
#undef PARE_CHAT_ENUMERATOR
#define PARE_CHAT_ENUMERATOR(name) PARE_FUNCTION_##name,
typedef enum {
  PARE_FUNCTION_NONE,
  PARE_CHAT_FUNCTIONS(PARE_CHAT_ENUMERATOR) PARE_NUM_FUNCTIONS
} PareChatGlobalFunction;
#undef PARE_CHAT_ENUMERATOR

#endif
