#include "backends/runtime/Session.h"

#include "backends/runtime/Context.h"

#include <stdlib.h>

using namespace pare::rt;

bool Session::open(const Args &args, PareOptions options) {
  int64_t threads = 0;
  if (!args.number("--threads", 1, threads, error))
    return false;
  options.threads = uint32_t(threads);
  options.guard = args.has("--guard");
  return open(options);
}

bool Session::open(const PareOptions &given) {
  PareOptions options = given;
  guard = options.guard;
  inputs = static_cast<PareTensor *>(
      calloc(model.num_inputs + 1, sizeof(PareTensor)));
  outputs = static_cast<PareTensor *>(
      calloc(model.num_outputs + 1, sizeof(PareTensor)));
  buffers = static_cast<Buffer *>(
      calloc(model.num_inputs + model.num_outputs + 1, sizeof(Buffer)));
  if (!inputs || !outputs || !buffers) {
    error.start().put("out of memory");
    return false;
  }
  if (!options.log) {
    options.log = [](void *user, const char *line) {
      static_cast<Program *>(user)->say(line);
    };
    options.log_user = &program;
  }
  char text[512];
  context = pare_create(&model, &options, text, sizeof(text));
  if (!context)
    error.start().put(text);
  return context != nullptr;
}

Session::~Session() {
  pare_destroy(context);
  for (uint32_t i = 0; buffers && i < model.num_inputs + model.num_outputs; ++i)
    release(buffers[i]);
  free(buffers);
  free(inputs);
  free(outputs);
}

void Session::release(Buffer &buffer) {
  if (guard)
    buffer.guarded.release();
  else
    unmapPages(buffer.data, buffer.capacity);
  held -= buffer.capacity;
  buffer.data = nullptr;
  buffer.capacity = 0;
}

bool Session::allocate(Buffer &buffer, PareTensor &tensor) {
  if (guard || !buffer.data || buffer.capacity < tensor.bytes) {
    release(buffer);
    uint64_t capacity = max<uint64_t>(tensor.bytes, 1), needed;
    if (__builtin_add_overflow(held, capacity, &needed) ||
        !fitsMemory(needed)) {
      error.start()
          .put("out of memory: inputs and outputs need ")
          .unsignedNum(needed)
          .put(" bytes or more for these shapes");
      return false;
    }
    buffer.capacity = capacity;
    held = needed;
    if (guard) {
      // Only the element's alignment, so that the last byte is at the page.
      if (buffer.guarded.allocate(tensor.bytes, pare_dtype_bytes(tensor.dtype)))
        buffer.data = buffer.guarded.data;
    } else {
      buffer.data = mapPages(buffer.capacity);
    }
    if (!buffer.data) {
      error.start().put("out of memory");
      return false;
    }
  }
  tensor.data = buffer.data;
  return true;
}

bool Session::allocateInput(uint32_t index, const int64_t *dims) {
  const PareTensorInfo &info = model.inputs[index];
  PareTensor &tensor = inputs[index];
  tensor.dtype = info.dtype;
  tensor.rank = info.rank;
  for (uint32_t i = 0; i < info.rank; ++i)
    tensor.dims[i] = dims[i];
  if (!tensorBytes(tensor.dtype, tensor.dims, tensor.rank, tensor.bytes)) {
    error.start().put("input '").put(info.name).put("' is too large");
    return false;
  }
  return allocate(buffers[index], tensor);
}

bool Session::allocateOutputs() {
  bool good = pare_output_shapes(context, inputs, outputs) == 0;
  if (!good)
    error.start().put(pare_error(context));
  for (uint32_t i = 0; good && i < model.num_outputs; ++i)
    good = allocate(buffers[model.num_inputs + i], outputs[i]);
  return good;
}

bool Session::run() {
  if (pare_run(context, inputs, outputs) == 0)
    return true;
  error.start().put(pare_error(context));
  return false;
}

void Session::putInputs(Writer &text) const {
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const PareTensorInfo &info = model.inputs[i];
    text.put(i ? ", " : "").put(info.name).put(" (");
    text.put(pare_dtype_name(info.dtype)).put(' ');
    putShape(text, model, info);
    text.put(')');
  }
}

int32_t Session::findInput(Str name) const {
  for (uint32_t i = 0; i < model.num_inputs; ++i)
    if (name == model.inputs[i].name)
      return int32_t(i);
  return -1;
}
