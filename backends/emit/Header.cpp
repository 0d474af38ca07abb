//===- Header.cpp - The C interface of one model: its header --------------===//
#include "backends/emit/EntryPoints.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
namespace nn = pare::nn;

namespace pare::emit {

/// A dimension as a C expression of the dimension parameters.
std::string EntryPoints::formatDim(nn::Dim dim) const {
  if (std::optional<int64_t> value = nn::getConstant(dim))
    return std::to_string(*value);
  if (auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim))
    return dims[symbol.getPosition()].name;
  auto binary = mlir::cast<mlir::AffineBinaryOpExpr>(dim);
  std::string lhs = formatDim(binary.getLHS()),
              rhs = formatDim(binary.getRHS());
  switch (dim.getKind()) {
  case mlir::AffineExprKind::Add:
    return StringRef(rhs).starts_with("-")
               ? "(" + lhs + " - " + rhs.substr(1) + ")"
               : "(" + lhs + " + " + rhs + ")";
  case mlir::AffineExprKind::Mul:
    return lhs + " * " + rhs;
  case mlir::AffineExprKind::Mod:
    return "(" + lhs + " % " + rhs + ")";
  case mlir::AffineExprKind::CeilDiv:
    return "((" + lhs + " + " + rhs + " - 1) / " + rhs + ")";
  default:
    return "(" + lhs + " / " + rhs + ")";
  }
}

/// The C type of an element, and its name in comments.
static std::pair<StringRef, std::string> getElement(mlir::Type type) {
  if (type.isF32())
    return {"float", "float32"};
  if (type.isF64())
    return {"double", "float64"};
  if (type.isF16())
    return {"uint16_t", "float16 bits"};
  if (type.isBF16())
    return {"uint16_t", "bfloat16 bits"};
  auto integer = mlir::cast<mlir::IntegerType>(type);
  if (integer.getWidth() == 1)
    return {"uint8_t", "bool, 0 or 1"};
  static const char *const names[2][4] = {
      {"int8_t", "int16_t", "int32_t", "int64_t"},
      {"uint8_t", "uint16_t", "uint32_t", "uint64_t"}};
  StringRef name = names[integer.isUnsigned()][Log2_32(integer.getWidth()) - 3];
  return {name, name.drop_back(2).str()};
}

/// "float32 [batch, 3, height, width]".
std::string EntryPoints::formatType(const Parameter &parameter) const {
  std::string text = getElement(parameter.type.getElementType()).second + " [";
  ListSeparator comma;
  for (nn::Dim dim : nn::getShape(parameter.type))
    text += std::string(StringRef(comma)) + formatDim(dim);
  return text + "]";
}

/// A prototype, its parameters on lines of at most 80 columns.
static std::string formatPrototype(StringRef result, StringRef name,
                                   ArrayRef<std::string> parameters) {
  std::string text = (result + " " + name + "(").str();
  size_t indent = text.size(), column = indent;
  for (size_t i = 0; i < parameters.size(); ++i) {
    std::string part = parameters[i] + (i + 1 < parameters.size() ? "," : ");");
    if (i && column + 1 + part.size() > 80) {
      text += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (i) {
      text += " ";
      ++column;
    }
    text += part;
    column += part.size();
  }
  return text + "\n";
}

/// What the numbers of an input stand for, where the compiler knows.
static std::string describeUnits(StringRef input, const ModelInfo &info) {
  for (const ImageInput &image : info.images) {
    if (image.input != input)
      continue;
    std::string text;
    raw_string_ostream os(text);
    auto list = [&](const std::vector<float> &values, float otherwise) {
      ListSeparator comma;
      for (unsigned i = 0; i < image.channels; ++i)
        os << comma << (i < values.size() ? values[i] : otherwise);
    };
    os << ": pixels in "
       << (image.channels == 1 ? "gray"
           : image.bgr         ? "bgr"
                               : "rgb")
       << ", (pixel / 255 - mean) / std with mean ";
    list(image.mean, 0);
    os << " and std ";
    list(image.std, 1);
    return text;
  }
  return "";
}

/// A comment must not end early, whatever a model calls its tensors.
static std::string inComment(StringRef text) {
  std::string result;
  for (char c : text)
    result += isPrint(c) && c != '*' ? c : '_';
  return result;
}

/// The types that mirror those of backends/runtime/Runtime.h.
static constexpr char kTypes[] = R"(
/* One model in use: its memory and threads. Make as many as you like; each may
   be used by one thread at a time. */
typedef struct @_context @_context;

/* Your own thread pool, in place of the context's threads. */
typedef void (*@_task)(void *state, int64_t task, uint32_t worker);
typedef struct {
  void *user;
  uint32_t threads; /* workers are numbered [0, threads) */
  /* Calls task(state, i, worker) for each i in [0, count) and returns when all
     are done; no two calls at one time have the same worker. */
  void (*parallel_for)(void *user, int64_t count, @_task task, void *state);
} @_thread_pool;

typedef struct {
  void *user;
  void *(*allocate)(void *user, uint64_t bytes, uint64_t alignment);
  void (*release)(void *user, void *memory, uint64_t bytes);
} @_allocator;

/* Zero-initialised options are the defaults. */
typedef struct {
  uint32_t threads; /* with the caller's; 0: what CPU mask and cgroup allow */
  uint32_t guard;   /* 1: buffers end at inaccessible pages, for tests */
  const @_thread_pool *pool;    /* null: own threads */
  const @_allocator *allocator; /* null: mmap, committed as it is touched */
  void (*log)(void *user, const char *line); /* null: silent */
  void *log_user;
  uint32_t sequences;      /* of a language model: caches to make; 0: 1 */
  uint32_t weights_memory; /* 0: mapped from the file; 1: a copy in huge pages,
                              made when the context is */
} @_options;

/* Makes a context. Null, and one line in `error` (cut to `error_bytes`), where
   the CPU cannot run the model or memory is short. `options` may be null. */
@_context *@_create(const @_options *options, char *error,
                    uint64_t error_bytes);
void @_destroy(@_context *context);

/* Why the last call on the context failed: one line, valid until the next. */
const char *@_error(const @_context *context);

/* Threads that a run uses, the caller's included. */
uint32_t @_threads(const @_context *context);
)";

/// Those of a language model's caches.
static constexpr char kCacheTypes[] = R"(
/* A sequence, numbered from 0 to the options' sequences - 1, remembers what
   runs wrote at its positions. Forgets it and gives the memory back. This and
   what follows returns 0, or 1 where @_error says why not. */
int @_cache_reset(@_context *context, uint32_t sequence);

/* How many of its first positions, `positions` at most, a sequence can go on
   from: all of them, or 0 where layers with a window have written over some
   that the next one would read. */
uint32_t @_cache_reusable(const @_context *context, uint32_t sequence,
                          uint32_t positions);

/* Copies the first `positions` of sequence `from` to `to`. */
int @_cache_copy(@_context *context, uint32_t to, uint32_t from,
                 uint32_t positions);

/* Bytes of a block that holds the first `positions` of a sequence; 0: there
   are not so many. Save writes one, load puts it in place of what a sequence
   holds, in any process that runs this model. */
uint64_t @_cache_bytes(const @_context *context, uint32_t positions);
int @_cache_save(@_context *context, uint32_t sequence, uint32_t positions,
                 void *block, uint64_t bytes);
int @_cache_load(@_context *context, uint32_t sequence, const void *block,
                 uint64_t bytes, uint32_t *positions);
)";

/// Those of a language model's generator (backends/runtime/TextGenerator.h).
static constexpr char kGeneratorTypes[] = R"(
/* Text: a generator has a context of its own, and may be used by one thread at
   a time. */
typedef struct @_generator @_generator;

/* How tokens are chosen, and where an answer ends. */
typedef struct {
  float temperature; /* 0: the likeliest token */
  float top_p, min_p, typical;
  float repetition_penalty, presence_penalty, frequency_penalty;
  uint32_t top_k;         /* 0: all */
  int32_t penalty_window; /* last tokens that count; -1: all */
  uint32_t ignore_stop_tokens;
  uint64_t max_tokens;
  uint64_t seed;            /* the same seed gives the same text */
  const char *const *stops; /* texts that end an answer before them, a null
                               pointer behind the last; or null */
} @_sampling;

/* As @_create and @_destroy. */
@_generator *@_generator_open(const @_options *options, char *error,
                              uint64_t error_bytes);
void @_generator_close(@_generator *generator);

/* What the model's authors advise, an answer of at most 1024 tokens, and no
   stop texts. The seed is 0. */
void @_generator_advice(const @_generator *generator, @_sampling *sampling);

/* Begins an answer to a text, or to a conversation by the model's chat
   template: `messages` is a JSON list of objects with role and content, `tools`
   one of tools or null, `variables` an object or null. What the last prompts
   had at their beginning is not computed again. `sampling` null: the advice.
   An answer that runs ends. Returns 0, or 1 where @_generator_error says why
   not. */
int @_generator_prompt(@_generator *generator, const char *text,
                       const @_sampling *sampling);
int @_generator_chat(@_generator *generator, const char *messages,
                     const char *tools, const char *variables,
                     const @_sampling *sampling);

/* The next piece of the answer: whole characters of UTF-8, at least one, with a
   final zero behind them; valid until the next call. Null at the end, and where
   the model fails, which @_generator_error tells apart. `bytes`, where not
   null, receives its size. */
const char *@_generator_next(@_generator *generator, uint64_t *bytes);

/* Why the answer ended: "stop", "length" (max_tokens), "context" (it is full);
   "running" before that. */
const char *@_generator_finish(const @_generator *generator);

/* Why the last call failed: one line; "" if it did not. */
const char *@_generator_error(const @_generator *generator);
)";

std::string EntryPoints::header(const ModelInfo &info, StringRef target) const {
  std::string text;
  raw_string_ostream os(text);
  std::string guard = "PARE_MODEL_" + prefix_ + "_H";
  os << "/* The model '" << inComment(info.name) << "', compiled by pare for "
     << target << ".\n\n   Link with -lpthread -lm. Nothing is allocated while "
     << "a model runs, and there is\n   no global state. */\n#ifndef " << guard
     << "\n#define " << guard << "\n\n#include <stdint.h>\n\n#ifdef __cplusplus"
     << "\nextern \"C\" {\n#endif\n";
  if (!dims.empty()) {
    os << "\n/* Bounds of the dimensions that each run chooses. */\nenum {\n";
    for (const Dimension &dim : dims)
      os << "  " << prefix_ << "_" << dim.name << "_min = " << dim.min
         << ",\n  " << prefix_ << "_" << dim.name << "_max = " << dim.max
         << ",\n";
    os << "};\n";
  }
  auto putTypes = [&](StringRef types) {
    for (char c : types)
      if (c == '@')
        os << prefix_;
      else
        os << c;
  };
  putTypes(kTypes);
  if (hasCaches)
    putTypes(kCacheTypes);
  if (hasGenerator)
    putTypes(kGeneratorTypes);

  auto describe = [&](const Parameter &parameter, StringRef direction) {
    os << "     " << parameter.name << ": " << direction << ", "
       << formatType(parameter)
       << inComment(describeUnits(parameter.source, info));
    if (parameter.name != parameter.source)
      os << "; '" << inComment(parameter.source) << "' in the model";
    os << "\n";
  };
  os << "\n/* Runs the model. Arrays are contiguous, the last axis the "
        "fastest, "
        "aligned to\n   their element.\n";
  for (const Parameter &input : inputs)
    describe(input, "read");
  for (const Parameter &output : outputs)
    describe(output, "written");
  std::vector<std::string> first = {prefix_ + "_context *context"};
  for (const Dimension &dim : dims)
    first.push_back("int64_t " + dim.name);
  auto pointer = [&](const Parameter &parameter, StringRef qualifier) {
    StringRef type = getElement(parameter.type.getElementType()).first;
    return (qualifier + type + " *" + parameter.name).str();
  };
  std::vector<std::string> run = first, shapes = first;
  for (const Parameter &input : inputs)
    run.push_back(pointer(input, "const "));
  for (const Parameter &output : outputs) {
    run.push_back(pointer(output, ""));
    shapes.push_back(
        "int64_t " + output.name + "[" + // [0] is no array in C
        std::to_string(std::max<int64_t>(output.type.getRank(), 1)) + "]");
  }
  os << "   Returns 0; or 1, where a dimension is out of bounds or memory is "
        "short: "
     << prefix_ << "_error\n   says which. */\n"
     << formatPrototype("int", prefix_ + "_run", run)
     << "\n/* The extents of each output; a null pointer is skipped. Returns "
        "as "
     << prefix_ << "_run\n   does. */\n"
     << formatPrototype("int", prefix_ + "_shapes", shapes)
     << "\n#ifdef __cplusplus\n}\n#endif\n#endif\n";
  return text;
}

} // namespace pare::emit
