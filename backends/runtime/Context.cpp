//===- Context.cpp - Memory and execution of one model --------------------===//
#include "backends/runtime/Context.h"

#include "backends/runtime/Cpu.h"

#include <stdlib.h>

using namespace pare::rt;

namespace {

/// The control register of the calling thread, set to the default while a
/// model runs, so that the caller's thread computes what the others do.
#if defined(__x86_64__)
using FloatMode = uint32_t;
constexpr FloatMode kDefaultMode = 0x1f80;
FloatMode readMode() { return __builtin_ia32_stmxcsr(); }
void writeMode(FloatMode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
using FloatMode = uint64_t;
constexpr FloatMode kDefaultMode = 0;
FloatMode readMode() {
  FloatMode mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void writeMode(FloatMode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#endif

const PareDimInfo *dimOfAxis(const PareModel &model, uint32_t input,
                             uint32_t axis) {
  for (uint32_t i = 0; i < model.num_dims; ++i)
    if (model.dims[i].input == input && model.dims[i].axis == axis)
      return &model.dims[i];
  return nullptr;
}

int64_t extent(const PareTensorInfo &info, uint32_t axis,
               const int64_t *slots) {
  int64_t dim = info.dims[axis];
  return dim >= 0 ? dim : slots[-1 - dim];
}

void setShape(const PareTensorInfo &info, const int64_t *slots,
              PareTensor &tensor) {
  tensor.dtype = info.dtype;
  tensor.rank = info.rank;
  for (uint32_t i = 0; i < info.rank; ++i)
    tensor.dims[i] = extent(info, i, slots);
}

} // namespace

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

bool Block::allocate(const PareContext &context, uint64_t size, bool fills) {
  size = alignUp(max<uint64_t>(size, 1), PARE_ALIGN);
  bytes = size;
  if (context.guard) {
    if (!guarded.allocate(size, PARE_ALIGN, fills))
      return false;
    data = static_cast<char *>(guarded.data);
  } else if (context.allocator.allocate) {
    data = static_cast<char *>(
        context.allocator.allocate(context.allocator.user, size, PARE_ALIGN));
  } else {
    data = static_cast<char *>(mapPages(size));
  }
  return data != nullptr;
}

void Block::release(const PareContext &context) {
  if (data) {
    if (context.guard)
      guarded.release();
    else if (context.allocator.allocate)
      context.allocator.release(context.allocator.user, data, bytes);
    else
      unmapPages(data, bytes);
  }
  *this = Block();
}

static bool failMemory(PareContext &context) {
  const PareModel &model = *context.model;
  context.error.start()
      .put("out of memory: the model needs ")
      .unsignedNum(uint64_t(context.slots[model.arena_slot]))
      .put(" bytes of arena and ")
      .unsignedNum(uint64_t(context.slots[model.scratch_slot]))
      .put(" bytes per thread for these shapes");
  return false;
}

/// Makes sure that what the actual shapes will touch can be there. What the
/// caller's allocator gives is the caller's affair.
static bool checkMemory(PareContext &context) {
  if (context.allocator.allocate)
    return true;
  uint64_t arena = uint64_t(context.slots[context.model->arena_slot]);
  uint64_t scratch = uint64_t(context.slots[context.model->scratch_slot]);
  uint64_t bytes;
  return (!__builtin_mul_overflow(scratch, context.threads, &bytes) &&
          !__builtin_add_overflow(bytes, arena, &bytes) && fitsMemory(bytes)) ||
         failMemory(context);
}

/// Makes room for the shapes that `slots` hold. Outside of guard mode this
/// does something only if the plan at the upper bounds was not the largest.
static bool ensureMemory(PareContext &context) {
  const PareModel &model = *context.model;
  uint64_t arena = uint64_t(context.slots[model.arena_slot]);
  uint64_t scratch = uint64_t(context.slots[model.scratch_slot]);
  auto ensure = [&](Block &block, uint64_t bytes) {
    if (block.data && !context.guard && block.bytes >= bytes)
      return true;
    block.release(context);
    return block.allocate(context, bytes);
  };
  bool good = arena <= INT64_MAX && scratch <= INT64_MAX &&
              ensure(context.arena, arena);
  for (uint32_t i = 0; good && i < context.threads; ++i)
    good = ensure(context.scratch[i], scratch);
  return good || failMemory(context);
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

/// What the model's shapes take for granted, such as that two branches of a
/// network end in images of one size.
static bool checkConstraints(PareContext &context) {
  const PareModel &model = *context.model;
  for (uint32_t c = 0; c < model.num_constraints; ++c) {
    const PareConstraint &constraint = model.constraints[c];
    int64_t a = context.slots[constraint.a], b = context.slots[constraint.b];
    if (a == b)
      continue;
    context.error.start()
        .put("the inputs' shapes do not fit the model: '")
        .put(constraint.what)
        .put("' needs equal sizes, got ")
        .num(a)
        .put(" and ")
        .num(b);
    return false;
  }
  return true;
}

static bool failShape(PareContext &context, uint32_t input,
                      const PareTensor &given) {
  const PareModel &model = *context.model;
  const PareTensorInfo &info = model.inputs[input];
  Writer &text = context.error.start();
  text.put("input '").put(info.name).put("' has shape ");
  PareTensorInfo shape = {};
  shape.rank = min<uint32_t>(given.rank, PARE_MAX_RANK);
  for (uint32_t axis = 0; axis < shape.rank; ++axis)
    shape.dims[axis] = max<int64_t>(given.dims[axis], 0);
  putShape(text, model, shape);
  text.put(", expected ");
  putShape(text, model, info);
  return false;
}

static void *resolve(const PareContext &context, const PareRef &ref,
                     const PareTensor *inputs, const PareTensor *outputs) {
  int64_t offset = ref.offset_slot ? context.slots[ref.offset_slot - 1] : 0;
  switch (ref.space) {
  case PARE_SPACE_ARENA:
    return context.arena.data + context.slots[ref.index] + offset;
  case PARE_SPACE_WEIGHTS:
    return const_cast<uint8_t *>(context.weights) + ref.index + offset;
  case PARE_SPACE_INPUT:
    return static_cast<uint8_t *>(inputs[ref.index].data) + offset;
  case PARE_SPACE_CACHES:
    return context.cacheBases;
  default:
    return static_cast<uint8_t *>(outputs[ref.index].data) + offset;
  }
}

/// Lets the libraries of steps that have any know the shapes.
static bool prepareStates(PareContext &context) {
  const PareModel &model = *context.model;
  for (uint32_t s = 0; s < model.num_steps; ++s) {
    const PareStep &step = model.steps[s];
    if (!step.state)
      continue;
    const void *weights[kMaxPointers] = {};
    int64_t dims[kMaxPointers];
    for (uint32_t i = 0; i < step.num_ptrs; ++i)
      if (step.ptrs[i].space == PARE_SPACE_WEIGHTS)
        weights[i] = resolve(context, step.ptrs[i], nullptr, nullptr);
    for (uint32_t i = 0; i < step.num_dims; ++i)
      dims[i] = context.slots[step.dim_slots[i]];
    char cause[160] = "";
    context.states[s] = step.state->prepare(context.states[s], weights, dims,
                                            cause, sizeof(cause));
    if (context.states[s])
      continue;
    context.error.start().put("'").put(step.name).put("': ").put(cause);
    return false;
  }
  return true;
}

/// Makes states before the first run, so that libraries have their weights in
/// place: for the only shapes, or for likely ones, where a failure says nothing
/// of others.
static bool prepareAhead(PareContext &context) {
  constexpr int64_t kLikely = 64;
  const PareModel &model = *context.model;
  for (uint32_t d = 0; d < model.num_dims; ++d)
    context.symbols[d] =
        max(model.dims[d].min, min(model.dims[d].max, kLikely));
  model.plan(context.symbols, context.slots);
  if (prepareStates(context))
    return true;
  if (model.num_dims == 0)
    return false;
  context.error.start();
  return true;
}

bool pare::rt::planShapes(PareContext &context, const PareTensor *inputs) {
  const PareModel &model = *context.model;
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const PareTensorInfo &info = model.inputs[i];
    if (inputs[i].dtype != info.dtype) {
      context.error.start()
          .put("input '")
          .put(info.name)
          .put("' is ")
          .put(pare_dtype_name(inputs[i].dtype))
          .put(", expected ")
          .put(pare_dtype_name(info.dtype));
      return false;
    }
    if (inputs[i].rank != info.rank)
      return failShape(context, i, inputs[i]);
  }
  bool changed = !context.planned;
  for (uint32_t d = 0; d < model.num_dims; ++d) {
    const PareDimInfo &dim = model.dims[d];
    int64_t value = inputs[dim.input].dims[dim.axis];
    if (value < dim.min || value > dim.max) {
      context.error.start()
          .put("input '")
          .put(model.inputs[dim.input].name)
          .put("': axis ")
          .num(dim.axis)
          .put(" ('")
          .put(dim.name)
          .put("') is ")
          .num(value)
          .put(", the model was compiled for ")
          .num(dim.min)
          .put(" to ")
          .num(dim.max);
      return false;
    }
    changed |= context.symbols[d] != value;
    context.symbols[d] = value;
  }
  if (changed) {
    context.planned = false;
    model.plan(context.symbols, context.slots);
    if (!checkConstraints(context) || !checkMemory(context) ||
        !ensureMemory(context) || !prepareStates(context))
      return false;
    context.planned = true;
  }
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const PareTensorInfo &info = model.inputs[i];
    for (uint32_t axis = 0; axis < info.rank; ++axis) {
      int64_t expected = extent(info, axis, context.slots);
      int64_t given = inputs[i].dims[axis];
      if (given == expected)
        continue;
      if (info.dims[axis] >= 0)
        return failShape(context, i, inputs[i]);
      context.error.start()
          .put("input '")
          .put(info.name)
          .put("': axis ")
          .num(axis)
          .put(" is ")
          .num(given)
          .put(", expected ")
          .num(expected)
          .put(" to fit the other inputs");
      return false;
    }
  }
  return true;
}

void pare::rt::putShape(Writer &text, const PareModel &model,
                        const PareTensorInfo &info) {
  text.put('[');
  for (uint32_t axis = 0; axis < info.rank; ++axis) {
    text.put(axis ? ", " : "");
    int64_t dim = info.dims[axis];
    if (dim >= 0)
      text.num(dim);
    else if (const PareDimInfo *symbol = dimOfSlot(model, dim))
      text.put(symbol->name);
    else
      text.put('?');
  }
  text.put(']');
}

const PareDimInfo *pare::rt::dimOfSlot(const PareModel &model, int64_t dim) {
  for (uint32_t i = 0; i < model.num_inputs; ++i)
    for (uint32_t axis = 0; axis < model.inputs[i].rank; ++axis)
      if (model.inputs[i].dims[axis] == dim)
        if (const PareDimInfo *symbol = dimOfAxis(model, i, axis))
          return symbol;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

namespace {
/// What a task of the current step needs.
struct StepCall {
  PareKernel kernel;
  void *const *ptrs;
  const int64_t *dims;
  const Block *scratch;
};
} // namespace

static void runTask(void *state, int64_t task, uint32_t worker) {
  auto *call = static_cast<const StepCall *>(state);
  call->kernel(call->ptrs, call->dims, task, call->scratch[worker].data);
}

static void probeStep(PareContext &context, uint32_t step,
                      const PareTensor *inputs, const PareTensor *outputs) {
  const PareModel &model = *context.model;
  for (uint32_t v = 0; v < model.num_values; ++v) {
    const PareValueInfo &value = model.values[v];
    if (value.step != step)
      continue;
    PareTensor tensor;
    setShape(value.info, context.slots, tensor);
    tensor.data = resolve(context, value.ref, inputs, outputs);
    if (tensorBytes(tensor.dtype, tensor.dims, tensor.rank, tensor.bytes))
      context.probe(context.probeUser, v, &tensor);
  }
}

static void runSteps(PareContext &context, const PareTensor *inputs,
                     const PareTensor *outputs) {
  const PareModel &model = *context.model;
  void *ptrs[kMaxPointers + 1];
  int64_t dims[kMaxPointers];
  StepCall call;
  call.scratch = context.scratch;
  call.ptrs = ptrs;
  call.dims = dims;
  for (uint32_t s = 0; s < model.num_steps; ++s) {
    const PareStep &step = model.steps[s];
    uint64_t begin = context.stepNanos ? nowNanos() : 0;
    for (uint32_t i = 0; i < step.num_ptrs; ++i)
      ptrs[i] = resolve(context, step.ptrs[i], inputs, outputs);
    ptrs[step.num_ptrs] = context.states[s];
    for (uint32_t i = 0; i < step.num_dims; ++i)
      dims[i] = context.slots[step.dim_slots[i]];
    call.kernel = step.kernel;
    int64_t grid = context.slots[step.grid_slot];
    if (grid == 1)
      runTask(&call, 0, 0);
    else if (context.ownPool)
      context.ownPool->parallelFor(grid, runTask, &call);
    else
      context.pool.parallel_for(context.pool.user, grid, runTask, &call);
    if (context.stepNanos)
      context.stepNanos[s] += nowNanos() - begin;
    if (context.probe)
      probeStep(context, s, inputs, outputs);
  }
}

//===----------------------------------------------------------------------===//
// The interface
//===----------------------------------------------------------------------===//

static bool setUp(PareContext &context, const PareOptions &options) {
  const PareModel &model = *context.model;
  Message &error = context.error;
  if (model.abi_version != PARE_ABI_VERSION) {
    error.start()
        .put("the model was compiled for runtime interface ")
        .num(model.abi_version)
        .put(", this runtime has ")
        .num(PARE_ABI_VERSION);
    return false;
  }
  if (const char *feature = missingFeature(model.features, cpuFeatures())) {
    putMissingFeature(error.start(), model, feature);
    return false;
  }
  for (uint32_t s = 0; s < model.num_steps; ++s)
    if (model.steps[s].num_ptrs > kMaxPointers ||
        model.steps[s].num_dims > kMaxPointers) {
      error.start()
          .put("step '")
          .put(model.steps[s].name)
          .put("' has more than ")
          .num(kMaxPointers)
          .put(" buffers or extents");
      return false;
    }

  context.threads = options.threads         ? options.threads
                    : model.default_threads ? model.default_threads
                                            : usableCpus();
  context.threads = min(context.threads, kMaxThreads);
  if (options.pool) {
    context.pool = *options.pool;
    context.threads = max(1u, options.pool->threads);
  } else {
    context.ownPool = ThreadPool::create(context.threads);
    if (context.ownPool && context.ownPool->threads() < context.threads) {
      context.threads = context.ownPool->threads();
      if (options.log) {
        Message line;
        line.start()
            .put("the system refused more threads: running on ")
            .num(context.threads);
        options.log(options.log_user, line.c_str());
      }
    }
  }
  auto count = [](uint64_t n, uint64_t bytes) {
    return calloc(max<uint64_t>(n, 1), bytes);
  };
  context.symbols = static_cast<int64_t *>(count(model.num_dims, 8));
  context.slots = static_cast<int64_t *>(count(model.num_slots, 8));
  context.scratch = static_cast<Block *>(count(context.threads, sizeof(Block)));
  context.states = static_cast<void **>(count(model.num_steps, sizeof(void *)));
  if ((!options.pool && !context.ownPool) || !context.symbols ||
      !context.slots || !context.scratch || !context.states) {
    error.start().put("out of memory");
    return false;
  }

  context.weights = model.weights;
  if (context.guard) {
    if (!context.weightsCopy.allocate(model.weights_bytes, PARE_ALIGN)) {
      error.start().put("out of memory for a guarded copy of the weights");
      return false;
    }
    memcpy(context.weightsCopy.data, model.weights, model.weights_bytes);
    context.weights = static_cast<const uint8_t *>(context.weightsCopy.data);
  } else if (options.weights_memory == PARE_WEIGHTS_HUGE) {
    if (!fitsMemory(model.weights_bytes) ||
        !context.hugeWeights.allocate(model.weights_bytes)) {
      error.start().put("out of memory for a copy of the weights");
      return false;
    }
    memcpy(context.hugeWeights.data, model.weights, model.weights_bytes);
    context.weights = static_cast<const uint8_t *>(context.hugeWeights.data);
  }
  if (model.decoder && !createCaches(context, options.sequences))
    return false;
  if (!prepareAhead(context))
    return false;
  // Reserved for the largest shapes; pages are committed as they are touched.
  // Guard mode fills what it maps, so it maps for the actual shapes only.
  if (context.guard)
    return true;
  for (uint32_t d = 0; d < model.num_dims; ++d)
    context.symbols[d] = model.dims[d].max;
  model.plan(context.symbols, context.slots);
  if (ensureMemory(context))
    return true;
  // Where address space is short the actual shapes may still fit.
  if (context.allocator.allocate)
    return false;
  error.start();
  return true;
}

PareContext *pare_create(const PareModel *model, const PareOptions *options,
                         char *error, uint64_t errorBytes) {
  PareOptions defaults = {};
  if (!options)
    options = &defaults;
  void *memory = calloc(1, sizeof(PareContext));
  Message outOfMemory;
  outOfMemory.start().put("out of memory");
  const char *text = outOfMemory.c_str();
  if (memory) {
    auto *context = new (memory, PareInPlace()) PareContext;
    context->model = model;
    context->guard = options->guard != 0;
    if (options->allocator)
      context->allocator = *options->allocator;
    if (setUp(*context, *options))
      return context;
    text = context->error.c_str();
  }
  if (error && errorBytes)
    Writer(-1, error, errorBytes).put(text);
  if (memory)
    pare_destroy(static_cast<PareContext *>(memory));
  return nullptr;
}

void pare_destroy(PareContext *context) {
  if (!context)
    return;
  if (context->ownPool)
    context->ownPool->destroy();
  for (uint32_t s = 0; context->states && s < context->model->num_steps; ++s)
    if (context->states[s])
      context->model->steps[s].state->destroy(context->states[s]);
  free(context->states);
  context->arena.release(*context);
  for (uint32_t i = 0; context->scratch && i < context->threads; ++i)
    context->scratch[i].release(*context);
  context->weightsCopy.release();
  context->hugeWeights.release();
  destroyCaches(*context);
  free(context->scratch);
  free(context->symbols);
  free(context->slots);
  free(context);
}

int pare_output_shapes(PareContext *context, const PareTensor *inputs,
                       PareTensor *outputs) {
  if (!planShapes(*context, inputs))
    return 1;
  for (uint32_t i = 0; i < context->model->num_outputs; ++i) {
    setShape(context->model->outputs[i], context->slots, outputs[i]);
    if (!tensorBytes(outputs[i].dtype, outputs[i].dims, outputs[i].rank,
                     outputs[i].bytes)) {
      context->error.start()
          .put("output '")
          .put(context->model->outputs[i].name)
          .put("' is too large");
      return 1;
    }
  }
  return 0;
}

int pare_run(PareContext *context, const PareTensor *inputs,
             PareTensor *outputs) {
  const PareModel &model = *context->model;
  if (!planShapes(*context, inputs))
    return 1;
  auto failSize = [&](const char *kind, const char *name, uint64_t has,
                      uint64_t needs) {
    context->error.start()
        .put(kind)
        .put(" '")
        .put(name)
        .put("' has ")
        .unsignedNum(has)
        .put(" bytes, its shape needs ")
        .unsignedNum(needs);
    return 1;
  };
  uint64_t needs = 0;
  for (uint32_t i = 0; i < model.num_inputs; ++i)
    if (!tensorBytes(inputs[i].dtype, inputs[i].dims, inputs[i].rank, needs) ||
        inputs[i].bytes < needs || (needs && !inputs[i].data))
      return failSize("input", model.inputs[i].name,
                      inputs[i].data ? inputs[i].bytes : 0, needs);
  for (uint32_t i = 0; i < model.num_outputs; ++i) {
    setShape(model.outputs[i], context->slots, outputs[i]);
    if (!tensorBytes(outputs[i].dtype, outputs[i].dims, outputs[i].rank,
                     needs) ||
        outputs[i].bytes < needs || (needs && !outputs[i].data))
      return failSize("output", model.outputs[i].name,
                      outputs[i].data ? outputs[i].bytes : 0, needs);
  }
  if (model.decoder && !checkDecoderInputs(*context, inputs))
    return 1;
  FloatMode mode = readMode();
  writeMode(kDefaultMode);
  if (context->ownPool)
    context->ownPool->begin();
  runSteps(*context, inputs, outputs);
  if (context->ownPool)
    context->ownPool->end();
  writeMode(mode);
  return 0;
}

const char *pare_error(const PareContext *context) {
  return context->error.c_str();
}
uint32_t pare_threads(const PareContext *context) { return context->threads; }
uint64_t pare_arena_bytes(const PareContext *context) {
  return uint64_t(context->slots[context->model->arena_slot]);
}
int64_t pare_slot(const PareContext *context, uint32_t slot) {
  return context->slots[slot];
}
void pare_set_profile(PareContext *context, uint64_t *stepNanos) {
  context->stepNanos = stepNanos;
}
void pare_set_probe(PareContext *context, PareProbe probe, void *user) {
  context->probe = probe;
  context->probeUser = user;
}

void pare::rt::putMissingFeature(Writer &text, const PareModel &model,
                                 const char *feature) {
  text.put("this CPU lacks ")
      .put(feature)
      .put(", which '")
      .put(model.name)
      .put("' was compiled for (target ")
      .put(model.target)
      .put("); compile it again with --target for this CPU");
}
