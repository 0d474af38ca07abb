//===- Session.h - A context and the tensors of a command -------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_SESSION_H
#define PARE_BACKENDS_RUNTIME_SESSION_H

#include "backends/runtime/Cli.h"

namespace pare::rt {

/// A model with the buffers of its inputs and outputs.
class Session {
public:
  explicit Session(Program &program) : program(program), model(program.model) {}
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;
  ~Session();

  /// Makes the context with the command's --threads and --guard. False with
  /// `error` set.
  bool open(const Args &args, PareOptions options = {});
  /// The same with `options` as they are; messages go to the program unless
  /// they have a log.
  bool open(const PareOptions &options);

  /// Gives input `index` the shape `dims` and room for its data; keeps memory
  /// that is large enough.
  bool allocateInput(uint32_t index, const int64_t *dims);
  /// Checks the inputs' shapes and makes room for all outputs.
  bool allocateOutputs();
  bool run();

  /// "a (int64 [batch, seq]), b (float32 [3])".
  void putInputs(Writer &text) const;
  /// Index of the input called `name`, or -1.
  int32_t findInput(Str name) const;

  Program &program;
  const PareModel &model;
  PareContext *context = nullptr;
  PareTensor *inputs = nullptr, *outputs = nullptr;
  Message error;

private:
  struct Buffer {
    GuardedBuffer guarded;
    uint64_t capacity;
    void *data;
  };
  bool allocate(Buffer &buffer, PareTensor &tensor);
  void release(Buffer &buffer);

  Buffer *buffers = nullptr; // inputs, then outputs
  uint64_t held = 0;         // bytes of all buffers
  bool guard = false;
};

#define PARE_SESSION_OPTIONS                                                   \
  {"--threads", "N",                                                           \
   "threads to run on (default: the CPUs this process may use)"},              \
  {                                                                            \
    "--guard", nullptr, nullptr                                                \
  }

} // namespace pare::rt

#endif
