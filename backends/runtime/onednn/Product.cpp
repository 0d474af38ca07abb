//===- Product.cpp - Matrix products by oneDNN ----------------------------===//
//
// Primitives, their memory objects and scratchpads are made when the shapes are
// known; a run only sets addresses. Weights are reordered into the layout that
// oneDNN asks for, which depends on the CPU: it cannot be stored by the
// compiler. The inner product has the fast kernels; where it has none for a
// shape, the matmul primitive reads the weights as they are in the file.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/Support.h"
#include "backends/runtime/onednn/Shim.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" int omp_get_max_threads(void);
extern "C" void omp_set_num_threads(int);

namespace {

/// oneDNN's own threads: none, the pool that calls it has them. Undone at the
/// end of the scope.
class OneThread {
public:
  OneThread() : before(omp_get_max_threads()) {
    if (before != 1)
      omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before != 1)
      omp_set_num_threads(before);
  }

private:
  int before;
};

struct Shape {
  int64_t m, n, k, rows, flags, activation;
  explicit Shape(const int64_t *dims)
      : m(dims[PARE_ONEDNN_M]), n(dims[PARE_ONEDNN_N]), k(dims[PARE_ONEDNN_K]),
        rows(dims[PARE_ONEDNN_ROWS]), flags(dims[PARE_ONEDNN_FLAGS]),
        activation(dims[PARE_ONEDNN_ACTIVATION]) {}
  bool has(int64_t flag) const { return flags & flag; }
  int64_t tasks() const { return (m + rows - 1) / rows; }
};

constexpr int kMaxArgs = 6;

/// The objects of one task: no two tasks share any that a run changes.
struct Task {
  dnnl_stream_t stream;
  dnnl_memory_t x, y, addend, scratch;
  dnnl_exec_arg_t args[kMaxArgs];
  int numArgs;
};

/// A primitive for a number of rows.
struct Kernel {
  int64_t rows = 0;
  dnnl_primitive_desc_t desc = nullptr;
  dnnl_primitive_t primitive = nullptr;
  dnnl_memory_t weights = nullptr;
  void *packed = nullptr; ///< weights in oneDNN's layout; null: read in place

  const_dnnl_memory_desc_t query(dnnl_query_t what, int index = 0) const {
    return dnnl_primitive_desc_query_md(desc, what, index);
  }
  const char *implementation() const {
    const char *name = "";
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    return name;
  }
  void destroy() {
    if (weights)
      dnnl_memory_destroy(weights);
    if (primitive)
      dnnl_primitive_destroy(primitive);
    if (desc)
      dnnl_primitive_desc_destroy(desc);
    free(packed);
    *this = Kernel();
  }
};

/// A memory descriptor that is destroyed at the end of the scope.
class Desc {
public:
  Desc(int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
    dnnl_memory_desc_create_with_tag(&desc, rank, dims, dnnl_f32, tag);
  }
  ~Desc() { dnnl_memory_desc_destroy(desc); }
  operator dnnl_memory_desc_t() const { return desc; }

private:
  dnnl_memory_desc_t desc = nullptr;
};

class State {
public:
  State(const Shape &shape, const void *const *weights)
      : shape(shape), weights(weights[1]),
        bias(shape.has(PARE_ONEDNN_BIAS) ? weights[2] : nullptr) {}
  ~State();
  bool prepare();
  bool isFor(const Shape &other) const { return other.m == shape.m; }
  void run(void *const *ptrs, int64_t task);

  Kernel whole, last;
  const char *failure = nullptr;

private:
  bool makeKernel(Kernel &kernel, int64_t rows, const Kernel *like);
  bool describeProduct(Kernel &kernel, const_dnnl_memory_desc_t layout,
                       bool asInner);
  bool packWeights(Kernel &kernel);
  bool makeTask(Task &task, const Kernel &kernel);
  bool fail(const char *what) {
    failure = what;
    return false;
  }

  Shape shape;
  const void *weights, *bias;
  dnnl_engine_t engine = nullptr;
  dnnl_primitive_attr_t attributes = nullptr;
  dnnl_memory_t biasMemory = nullptr;
  Task *tasks = nullptr;
  int64_t numTasks = 0;
  char *scratch = nullptr;
};

dnnl_alg_kind_t getAlgorithm(int64_t activation) {
  switch (activation) {
  case PARE_ONEDNN_RELU:
    return dnnl_eltwise_relu;
  case PARE_ONEDNN_GELU:
    return dnnl_eltwise_gelu_erf;
  case PARE_ONEDNN_GELU_TANH:
    return dnnl_eltwise_gelu_tanh;
  case PARE_ONEDNN_TANH:
    return dnnl_eltwise_tanh;
  case PARE_ONEDNN_SIGMOID:
    return dnnl_eltwise_logistic;
  case PARE_ONEDNN_SILU:
    return dnnl_eltwise_swish;
  default:
    return dnnl_alg_kind_undef;
  }
}

/// A scratchpad of the caller's, and what follows the product.
dnnl_primitive_attr_t makeAttributes(const Shape &shape, int64_t rows) {
  dnnl_primitive_attr_t attributes = nullptr;
  if (dnnl_primitive_attr_create(&attributes))
    return nullptr;
  dnnl_primitive_attr_set_scratchpad_mode(attributes,
                                          dnnl_scratchpad_mode_user);
  dnnl_post_ops_t after = nullptr;
  if (dnnl_post_ops_create(&after))
    return attributes;
  if (shape.activation != PARE_ONEDNN_NONE) {
    float alpha = shape.activation == PARE_ONEDNN_SILU ? 1 : 0;
    dnnl_post_ops_append_eltwise(after, getAlgorithm(shape.activation), alpha,
                                 0);
  }
  if (shape.has(PARE_ONEDNN_ADDEND)) {
    dnnl_dims_t dims = {rows, shape.n};
    dnnl_post_ops_append_binary(after, dnnl_binary_add, Desc(2, dims, dnnl_ab));
  }
  dnnl_primitive_attr_set_post_ops(attributes, after);
  dnnl_post_ops_destroy(after);
  return attributes;
}

} // namespace

/// Describes the product as an inner product with weights in `layout` (null:
/// oneDNN's choice), or as a matmul with weights as they are. False where
/// oneDNN has only its reference implementation.
bool State::describeProduct(Kernel &kernel, const_dnnl_memory_desc_t layout,
                            bool asInner) {
  dnnl_dims_t x = {kernel.rows, shape.k}, y = {kernel.rows, shape.n};
  dnnl_dims_t inner = {shape.n, shape.k}, plain = {shape.k, shape.n};
  dnnl_dims_t innerBias = {shape.n}, plainBias = {1, shape.n};
  Desc xDesc(2, x, dnnl_ab), yDesc(2, y, dnnl_ab),
      any(2, inner, dnnl_format_tag_any),
      asStored(2, plain, shape.has(PARE_ONEDNN_TRANSPOSED) ? dnnl_ba : dnnl_ab),
      vector(1, innerBias, dnnl_a), row(2, plainBias, dnnl_ab);
  dnnl_status_t status;
  if (asInner)
    status = dnnl_inner_product_forward_primitive_desc_create(
        &kernel.desc, engine, dnnl_forward_inference, xDesc,
        layout ? layout : any, bias ? vector : dnnl_memory_desc_t(), yDesc,
        attributes);
  else
    status = dnnl_matmul_primitive_desc_create(
        &kernel.desc, engine, xDesc, asStored,
        bias ? row : dnnl_memory_desc_t(), yDesc, attributes);
  if (status) {
    kernel.desc = nullptr;
    return false;
  }
  if (strncmp(kernel.implementation(), "ref", 3) != 0)
    return true;
  dnnl_primitive_desc_destroy(kernel.desc);
  kernel.desc = nullptr;
  return false;
}

/// Reorders the stored weights into the layout of `kernel`.
bool State::packWeights(Kernel &kernel) {
  const_dnnl_memory_desc_t layout = kernel.query(dnnl_query_weights_md);
  uint64_t bytes = (dnnl_memory_desc_get_size(layout) + 63) / 64 * 64;
  kernel.packed = aligned_alloc(64, bytes);
  if (!kernel.packed)
    return fail("out of memory for the weights of a product");
  dnnl_dims_t dims = {shape.n, shape.k};
  Desc stored(2, dims, shape.has(PARE_ONEDNN_TRANSPOSED) ? dnnl_ab : dnnl_ba);
  dnnl_memory_t from = nullptr;
  dnnl_primitive_desc_t desc = nullptr;
  dnnl_primitive_t reorder = nullptr;
  dnnl_stream_t stream = nullptr;
  bool done =
      !dnnl_memory_create(&kernel.weights, layout, engine, kernel.packed) &&
      !dnnl_memory_create(&from, stored, engine, const_cast<void *>(weights)) &&
      !dnnl_reorder_primitive_desc_create(&desc, stored, engine, layout, engine,
                                          nullptr) &&
      !dnnl_primitive_create(&reorder, desc) &&
      !dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
  if (done) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from},
                              {DNNL_ARG_TO, kernel.weights}};
    done = !dnnl_primitive_execute(reorder, stream, 2, args) &&
           !dnnl_stream_wait(stream);
  }
  if (stream)
    dnnl_stream_destroy(stream);
  if (reorder)
    dnnl_primitive_destroy(reorder);
  if (desc)
    dnnl_primitive_desc_destroy(desc);
  if (from)
    dnnl_memory_destroy(from);
  return done || fail("cannot reorder the weights of a product");
}

/// A kernel of `rows` rows; with the weights of `like` where it takes them.
bool State::makeKernel(Kernel &kernel, int64_t rows, const Kernel *like) {
  kernel.rows = rows;
  dnnl_primitive_attr_destroy(attributes);
  attributes = makeAttributes(shape, rows);
  if (!attributes)
    return fail("out of memory");
  bool isPacked = like && like->packed &&
                  describeProduct(kernel, like->query(dnnl_query_weights_md),
                                  /*asInner=*/true);
  bool isShared = isPacked;
  isPacked = isPacked || describeProduct(kernel, nullptr, /*asInner=*/true);
  if (!isPacked && !describeProduct(kernel, nullptr, /*asInner=*/false))
    return fail("has no optimized kernel for a product on this CPU");
  if (dnnl_primitive_create(&kernel.primitive, kernel.desc))
    return fail("cannot make the kernel of a product");
  if (isPacked && !isShared)
    return packWeights(kernel);
  void *data = isPacked ? like->packed : const_cast<void *>(weights);
  return !dnnl_memory_create(&kernel.weights,
                             kernel.query(dnnl_query_weights_md), engine,
                             data) ||
         fail("out of memory");
}

bool State::makeTask(Task &task, const Kernel &kernel) {
  auto add = [&](int arg, dnnl_memory_t memory) {
    task.args[task.numArgs++] = {arg, memory};
  };
  auto make = [&](dnnl_memory_t &memory, const_dnnl_memory_desc_t desc) {
    return !dnnl_memory_create(&memory, desc, engine, DNNL_MEMORY_NONE);
  };
  const_dnnl_memory_desc_t y = kernel.query(dnnl_query_dst_md);
  if (dnnl_stream_create(&task.stream, engine, dnnl_stream_default_flags) ||
      !make(task.x, kernel.query(dnnl_query_src_md)) || !make(task.y, y) ||
      !make(task.addend, y) ||
      !make(task.scratch, kernel.query(dnnl_query_scratchpad_md)))
    return fail("out of memory");
  add(DNNL_ARG_SRC, task.x);
  add(DNNL_ARG_WEIGHTS, kernel.weights);
  add(DNNL_ARG_DST, task.y);
  add(DNNL_ARG_SCRATCHPAD, task.scratch);
  if (bias)
    add(DNNL_ARG_BIAS, biasMemory);
  int position = shape.activation != PARE_ONEDNN_NONE;
  if (shape.has(PARE_ONEDNN_ADDEND))
    add(DNNL_ARG_ATTR_MULTIPLE_POST_OP(position) | DNNL_ARG_SRC_1, task.addend);
  return true;
}

bool State::prepare() {
  OneThread thread;
  if (dnnl_engine_create(&engine, dnnl_cpu, 0))
    return fail("cannot start");
  int64_t rest = shape.m % shape.rows;
  if (shape.m >= shape.rows && !makeKernel(whole, shape.rows, nullptr))
    return false;
  if (rest && !makeKernel(last, rest, whole.desc ? &whole : nullptr))
    return false;
  const Kernel &any = whole.desc ? whole : last;
  if (bias && any.desc &&
      dnnl_memory_create(&biasMemory, any.query(dnnl_query_weights_md, 1),
                         engine, const_cast<void *>(bias)))
    return fail("out of memory");
  uint64_t scratchBytes = 64;
  const Kernel *const kernels[] = {&whole, &last};
  for (const Kernel *kernel : kernels)
    if (kernel->desc) {
      uint64_t bytes =
          dnnl_memory_desc_get_size(kernel->query(dnnl_query_scratchpad_md));
      scratchBytes = bytes > scratchBytes ? bytes : scratchBytes;
    }
  scratchBytes = (scratchBytes + 63) / 64 * 64;
  numTasks = shape.tasks();
  tasks = static_cast<Task *>(calloc(numTasks + 1, sizeof(Task)));
  scratch = static_cast<char *>(
      aligned_alloc(64, scratchBytes * uint64_t(numTasks + 1)));
  if (!tasks || !scratch)
    return fail("out of memory");
  for (int64_t i = 0; i < numTasks; ++i) {
    bool isLast = rest && i + 1 == numTasks;
    if (!makeTask(tasks[i], isLast ? last : whole))
      return false;
    dnnl_memory_set_data_handle(tasks[i].scratch, scratch + i * scratchBytes);
  }
  return true;
}

State::~State() {
  for (int64_t i = 0; tasks && i < numTasks; ++i) {
    dnnl_memory_t memories[] = {tasks[i].x, tasks[i].y, tasks[i].addend,
                                tasks[i].scratch};
    for (dnnl_memory_t memory : memories)
      if (memory)
        dnnl_memory_destroy(memory);
    if (tasks[i].stream)
      dnnl_stream_destroy(tasks[i].stream);
  }
  free(tasks);
  free(scratch);
  if (biasMemory)
    dnnl_memory_destroy(biasMemory);
  last.destroy();
  whole.destroy();
  if (attributes)
    dnnl_primitive_attr_destroy(attributes);
  if (engine)
    dnnl_engine_destroy(engine);
}

void State::run(void *const *ptrs, int64_t index) {
  OneThread thread;
  Task &task = tasks[index];
  const Kernel &kernel = last.desc && index + 1 == numTasks ? last : whole;
  int64_t row = index * shape.rows;
  auto at = [&](void *base, int64_t columns) {
    return static_cast<float *>(base) + row * columns;
  };
  unsigned next = bias ? 3 : 2;
  dnnl_memory_set_data_handle(task.x, at(ptrs[0], shape.k));
  if (shape.has(PARE_ONEDNN_ADDEND))
    dnnl_memory_set_data_handle(task.addend, at(ptrs[next++], shape.n));
  dnnl_memory_set_data_handle(task.y, at(ptrs[next], shape.n));
  dnnl_primitive_execute(kernel.primitive, task.stream, task.numArgs,
                         task.args);
  dnnl_stream_wait(task.stream);
}

/// Pointers of a step that has `flags`, its state not counted.
static unsigned countPointers(int64_t flags) {
  return 3 + !!(flags & PARE_ONEDNN_BIAS) + !!(flags & PARE_ONEDNN_ADDEND);
}

static void destroyState(void *state) {
  if (!state)
    return;
  static_cast<State *>(state)->~State();
  free(state);
}

static void *prepareState(void *old, const void *const *weights,
                          const int64_t *dims, char *error,
                          uint64_t errorBytes) {
  Shape shape(dims);
  if (old && static_cast<State *>(old)->isFor(shape))
    return old;
  destroyState(old);
  void *memory = calloc(1, sizeof(State));
  const char *cause = "out of memory";
  if (memory) {
    auto *state = new (memory, PareInPlace()) State(shape, weights);
    if (state->prepare())
      return state;
    cause = state->failure;
    destroyState(state);
  }
  if (error && errorBytes)
    snprintf(error, errorBytes, "oneDNN: %s (%lld x %lld x %lld)", cause,
             static_cast<long long>(shape.m), static_cast<long long>(shape.k),
             static_cast<long long>(shape.n));
  return nullptr;
}

extern "C" {

void pare_onednn_product(void *const *ptrs, const int64_t *dims, int64_t task,
                         void *) {
  unsigned state = countPointers(dims[PARE_ONEDNN_FLAGS]);
  static_cast<State *>(ptrs[state])->run(ptrs, task);
}

const PareStepState pare_onednn_product_state = {prepareState, destroyState};

const char *pare_onednn_implementation(const void *state, int last) {
  const State *product = static_cast<const State *>(state);
  const Kernel &kernel = last ? product->last : product->whole;
  return kernel.desc ? kernel.implementation() : nullptr;
}
}
