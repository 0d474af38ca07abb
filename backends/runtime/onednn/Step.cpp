//===- Step.cpp - What steps of oneDNN have in common ---------------------===//
#include "backends/runtime/onednn/Step.h"

#include "backends/runtime/Support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" int omp_get_max_threads(void);
extern "C" void omp_set_num_threads(int);

namespace pare::onednn {

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

struct Algorithm {
  dnnl_alg_kind_t kind;
  float alpha; ///< where the function has a fixed one
};
} // namespace

static Algorithm getAlgorithm(int64_t post, float alpha) {
  switch (post) {
  case PARE_ONEDNN_RELU:
    return {dnnl_eltwise_relu, alpha};
  case PARE_ONEDNN_ELU:
    return {dnnl_eltwise_elu, alpha};
  case PARE_ONEDNN_GELU:
    return {dnnl_eltwise_gelu_erf, 0};
  case PARE_ONEDNN_GELU_TANH:
    return {dnnl_eltwise_gelu_tanh, 0};
  case PARE_ONEDNN_TANH:
    return {dnnl_eltwise_tanh, 0};
  case PARE_ONEDNN_SIGMOID:
    return {dnnl_eltwise_logistic, 0};
  case PARE_ONEDNN_SILU:
    return {dnnl_eltwise_swish, 1};
  case PARE_ONEDNN_HARD_SIGMOID:
    return {dnnl_eltwise_hardsigmoid, alpha};
  case PARE_ONEDNN_HARD_SWISH:
    return {dnnl_eltwise_hardswish, alpha};
  case PARE_ONEDNN_CLIP:
    return {dnnl_eltwise_clip, alpha};
  case PARE_ONEDNN_LINEAR:
    return {dnnl_eltwise_linear, alpha};
  case PARE_ONEDNN_ADD:
    return {dnnl_binary_add, 0};
  case PARE_ONEDNN_SUB:
    return {dnnl_binary_sub, 0};
  case PARE_ONEDNN_MUL:
    return {dnnl_binary_mul, 0};
  default:
    return {dnnl_alg_kind_undef, 0};
  }
}

const char *Kernel::implementation() const {
  const char *name = "";
  dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
  return name;
}

//===----------------------------------------------------------------------===//
// What a step is
//===----------------------------------------------------------------------===//

Step::Step(const int64_t *given, int numDims, const void *const *weights)
    : numDims(numDims), constants(weights), weights(weights[1]) {
  int64_t count = numDims + given[PARE_ONEDNN_POSTS] * PARE_ONEDNN_POST_DIMS;
  memcpy(dims, given, uint64_t(count) * sizeof(int64_t));
  zeroCode = int32_t(dims[PARE_ONEDNN_ZERO]);
}

bool Step::isFor(const int64_t *other) const {
  return memcmp(dims, other, uint64_t(numDims) * sizeof(int64_t)) == 0;
}

Step::Post Step::post(int64_t index) const {
  const int64_t *at = dims + numDims + index * PARE_ONEDNN_POST_DIMS;
  Post post = {at[0], 0, 0};
  int32_t bits[] = {int32_t(at[1]), int32_t(at[2])};
  memcpy(&post.alpha, &bits[0], sizeof(float));
  memcpy(&post.beta, &bits[1], sizeof(float));
  return post;
}

const void *Step::bias() const {
  return has(PARE_ONEDNN_BIAS) ? constants[2 + has(PARE_ONEDNN_INT8)] : nullptr;
}

void Step::takeWeights(Step &old) {
  numPacked = old.numPacked;
  memcpy(packed, old.packed, sizeof(packed));
  old.numPacked = 0;
}

//===----------------------------------------------------------------------===//
// Primitives
//===----------------------------------------------------------------------===//

dnnl_primitive_attr_t Step::makeAttributes(const Kernel &kernel) const {
  dnnl_primitive_attr_t attributes = nullptr;
  if (dnnl_primitive_attr_create(&attributes))
    return nullptr;
  dnnl_primitive_attr_set_scratchpad_mode(attributes,
                                          dnnl_scratchpad_mode_user);
  if (has(PARE_ONEDNN_INT8)) {
    dnnl_primitive_attr_set_scales_mask(attributes, DNNL_ARG_WEIGHTS,
                                        scaleMask);
    dnnl_primitive_attr_set_zero_points_mask(attributes, DNNL_ARG_SRC, 0);
  }
  dnnl_post_ops_t after = nullptr;
  if (dnnl_post_ops_create(&after)) {
    dnnl_primitive_attr_destroy(attributes);
    return nullptr;
  }
  for (int64_t i = 0; i < numPosts(); ++i) {
    Post each = post(i);
    Algorithm algorithm = getAlgorithm(each.kind, each.alpha);
    if (!each.hasOperand()) {
      dnnl_post_ops_append_eltwise(after, algorithm.kind, algorithm.alpha,
                                   each.beta);
      continue;
    }
    if (Desc operand = describeOperand(kernel, each))
      dnnl_post_ops_append_binary(after, algorithm.kind, operand);
  }
  dnnl_primitive_attr_set_post_ops(attributes, after);
  dnnl_post_ops_destroy(after);
  return attributes;
}

bool Step::tryDescribe(Kernel &kernel, const_dnnl_memory_desc_t layout,
                       int attempt, bool takesReference) {
  if (!describe(kernel, layout, attempt)) {
    kernel.desc = nullptr;
    return false;
  }
  if (takesReference || strncmp(kernel.implementation(), "ref", 3) != 0)
    return true;
  dnnl_primitive_desc_destroy(kernel.desc);
  kernel.desc = nullptr;
  return false;
}

/// Makes a primitive: with weights in a layout that is there, else in the one
/// that oneDNN wants. Its reference implementation only where it has no other.
bool Step::makeKernel(Kernel &kernel) {
  dnnl_primitive_attr_destroy(attributes);
  attributes = makeAttributes(kernel);
  if (!attributes)
    return fail("out of memory");
  const PackedWeights *shared = nullptr;
  for (int i = 0; i < numPacked && !shared; ++i)
    if (tryDescribe(kernel, packed[i].layout, 0, false))
      shared = &packed[i];
  if (!shared && !tryDescribe(kernel, nullptr, 0, false) &&
      !tryDescribe(kernel, nullptr, 1, false) &&
      !tryDescribe(kernel, nullptr, 0, true))
    return fail("has no kernel for it on this CPU");
  if (dnnl_primitive_create(&kernel.primitive, kernel.desc))
    return fail("cannot make its kernel");
  return bindWeights(kernel, shared);
}

bool Step::bindWeights(Kernel &kernel, const PackedWeights *shared) {
  const_dnnl_memory_desc_t layout = kernel.query(dnnl_query_weights_md);
  void *data = shared ? shared->data : nullptr;
  if (!shared && dnnl_memory_desc_equal(describeStored(), layout))
    data = const_cast<void *>(weights);
  for (int i = 0; i < numPacked && !data; ++i)
    if (dnnl_memory_desc_equal(packed[i].layout, layout))
      data = packed[i].data;
  if (!data) {
    if (numPacked == kMaxKernels)
      return fail("wants too many layouts of its weights");
    if (!packWeights(kernel, packed[numPacked]))
      return false;
    data = packed[numPacked++].data;
  }
  return !dnnl_memory_create(&kernel.weights, layout, engine, data) ||
         fail("out of memory");
}

/// Reorders the stored weights into the layout of `kernel`.
bool Step::packWeights(const Kernel &kernel, PackedWeights &into) {
  const_dnnl_memory_desc_t layout = kernel.query(dnnl_query_weights_md);
  uint64_t bytes = rt::alignUp(dnnl_memory_desc_get_size(layout), PARE_ALIGN);
  into.data = aligned_alloc(PARE_ALIGN, bytes);
  if (!into.data || dnnl_memory_desc_clone(&into.layout, layout)) {
    free(into.data);
    return fail("out of memory for its weights");
  }
  Desc stored = describeStored();
  dnnl_memory_t from = nullptr, to = nullptr;
  dnnl_primitive_desc_t desc = nullptr;
  dnnl_primitive_t reorder = nullptr;
  dnnl_stream_t stream = nullptr;
  bool done =
      stored && !dnnl_memory_create(&to, layout, engine, into.data) &&
      !dnnl_memory_create(&from, stored, engine, const_cast<void *>(weights)) &&
      !dnnl_reorder_primitive_desc_create(&desc, stored, engine, layout, engine,
                                          nullptr) &&
      !dnnl_primitive_create(&reorder, desc) &&
      !dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
  if (done) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    done = !dnnl_primitive_execute(reorder, stream, 2, args) &&
           !dnnl_stream_wait(stream);
  }
  dnnl_stream_destroy(stream);
  dnnl_primitive_destroy(reorder);
  dnnl_primitive_desc_destroy(desc);
  dnnl_memory_destroy(from);
  dnnl_memory_destroy(to);
  if (done)
    return true;
  dnnl_memory_desc_destroy(into.layout);
  free(into.data);
  return fail("cannot reorder its weights");
}

/// Index of the kernel of a geometry, made where there is none; negative where
/// it cannot be.
int Step::findKernel(const Geometry &geometry) {
  for (int i = 0; i < numKernels; ++i)
    if (kernels[i].geometry == geometry)
      return i;
  if (numKernels == kMaxKernels) {
    fail("is cut into too many shapes");
    return -1;
  }
  Kernel &kernel = kernels[numKernels];
  kernel.geometry = geometry;
  if (!makeKernel(kernel)) {
    dnnl_primitive_destroy(kernel.primitive);
    dnnl_primitive_desc_destroy(kernel.desc);
    kernel = Kernel();
    return -1;
  }
  return numKernels++;
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

bool Step::allocateTasks(int64_t count) {
  tasks = static_cast<Task *>(
      calloc(uint64_t(rt::max<int64_t>(count, 1)), sizeof(Task)));
  for (int64_t i = 0; tasks && i < count; ++i)
    tasks[i].kernel = -1;
  numTasks = tasks ? count : 0;
  return tasks || fail("out of memory");
}

bool Step::addTask(int64_t index, const Geometry &geometry, int64_t x,
                   int64_t y) {
  Task &task = tasks[index];
  int kernel = findKernel(geometry);
  task.x = x;
  task.y = y;
  task.kernel = kernel;
  return kernel >= 0 && makeTask(task);
}

/// Bias and scales: the same for all kernels and runs.
bool Step::makeConstants(const Kernel &kernel) {
  auto make = [&](dnnl_memory_t &memory, const_dnnl_memory_desc_t desc,
                  const void *data) {
    return memory ||
           !dnnl_memory_create(&memory, desc, engine, const_cast<void *>(data));
  };
  const_dnnl_memory_desc_t row = kernel.query(dnnl_query_weights_md, 1);
  if (bias() && !make(biasMemory, row, bias()))
    return false;
  if (!has(PARE_ONEDNN_INT8))
    return true;
  dnnl_dims_t *sizes = nullptr;
  dnnl_memory_desc_query(kernel.query(dnnl_query_dst_md), dnnl_query_dims,
                         &sizes);
  dnnl_dims_t columns = {(*sizes)[1]}, one = {1};
  return make(scales, Desc(1, columns, dnnl_a), constants[2]) &&
         make(zero, Desc(1, one, dnnl_a, dnnl_s32), &zeroCode);
}

bool Step::makeTask(Task &task) {
  const Kernel &kernel = kernels[task.kernel];
  auto add = [&](int arg, dnnl_memory_t memory) {
    task.args[task.numArgs++] = {arg, memory};
  };
  auto make = [&](dnnl_memory_t &memory, const_dnnl_memory_desc_t desc) {
    return !dnnl_memory_create(&memory, desc, engine, DNNL_MEMORY_NONE);
  };
  if (!makeConstants(kernel) ||
      dnnl_stream_create(&task.stream, engine, dnnl_stream_default_flags) ||
      !make(task.src, kernel.query(dnnl_query_src_md)) ||
      !make(task.dst, kernel.query(dnnl_query_dst_md)) ||
      !make(task.scratch, kernel.query(dnnl_query_scratchpad_md)))
    return fail("out of memory");
  add(DNNL_ARG_SRC, task.src);
  add(DNNL_ARG_WEIGHTS, kernel.weights);
  add(DNNL_ARG_DST, task.dst);
  add(DNNL_ARG_SCRATCHPAD, task.scratch);
  if (biasMemory)
    add(DNNL_ARG_BIAS, biasMemory);
  if (scales)
    add(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, scales);
  if (zero)
    add(DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, zero);
  for (int64_t i = 0; i < numPosts(); ++i) {
    Post each = post(i);
    if (!each.hasOperand())
      continue;
    Desc desc = describeOperand(kernel, each);
    if (!desc || !make(task.operands[i], desc))
      return fail("out of memory");
    add(DNNL_ARG_ATTR_MULTIPLE_POST_OP(int(i)) | DNNL_ARG_SRC_1,
        task.operands[i]);
  }
  return true;
}

bool Step::prepare() {
  OneThread thread;
  if (dnnl_engine_create(&engine, dnnl_cpu, 0))
    return fail("cannot start");
  if (!plan())
    return false;
  uint64_t scratchBytes = PARE_ALIGN;
  for (int i = 0; i < numKernels; ++i)
    scratchBytes = rt::max<uint64_t>(
        scratchBytes,
        dnnl_memory_desc_get_size(kernels[i].query(dnnl_query_scratchpad_md)));
  scratchBytes = rt::alignUp(scratchBytes, PARE_ALIGN);
  scratch = static_cast<char *>(
      aligned_alloc(PARE_ALIGN, scratchBytes * uint64_t(numTasks + 1)));
  if (!scratch)
    return fail("out of memory");
  for (int64_t i = 0; i < numTasks; ++i)
    if (tasks[i].kernel >= 0)
      dnnl_memory_set_data_handle(tasks[i].scratch,
                                  scratch + uint64_t(i) * scratchBytes);
  constants = nullptr;
  return true;
}

Step::~Step() {
  for (int64_t i = 0; i < numTasks; ++i) {
    Task &task = tasks[i];
    dnnl_memory_destroy(task.src);
    dnnl_memory_destroy(task.dst);
    dnnl_memory_destroy(task.scratch);
    for (dnnl_memory_t operand : task.operands)
      dnnl_memory_destroy(operand);
    dnnl_stream_destroy(task.stream);
  }
  free(tasks);
  free(scratch);
  dnnl_memory_destroy(biasMemory);
  dnnl_memory_destroy(scales);
  dnnl_memory_destroy(zero);
  for (int i = 0; i < numKernels; ++i) {
    dnnl_memory_destroy(kernels[i].weights);
    dnnl_primitive_destroy(kernels[i].primitive);
    dnnl_primitive_desc_destroy(kernels[i].desc);
  }
  for (int i = 0; i < numPacked; ++i) {
    dnnl_memory_desc_destroy(packed[i].layout);
    free(packed[i].data);
  }
  dnnl_primitive_attr_destroy(attributes);
  dnnl_engine_destroy(engine);
}

void Step::run(void *const *ptrs, int64_t index) {
  const Task &task = tasks[index];
  if (task.kernel < 0)
    return; // Fewer parts than the compiler allowed for.
  OneThread thread;
  auto at = [](void *base, int64_t elements, uint64_t bytes) {
    return static_cast<char *>(base) + elements * int64_t(bytes);
  };
  dnnl_memory_set_data_handle(
      task.src, at(ptrs[0], task.x, has(PARE_ONEDNN_INT8) ? 1 : 4));
  int next = firstOperand();
  for (int64_t i = 0; i < numPosts(); ++i)
    if (Post each = post(i); each.hasOperand())
      dnnl_memory_set_data_handle(
          task.operands[i],
          at(ptrs[next++], each.isPerColumn() ? 0 : task.y, 4));
  dnnl_memory_set_data_handle(task.dst, at(ptrs[next], task.y, 4));
  dnnl_primitive_execute(kernels[task.kernel].primitive, task.stream,
                         task.numArgs, task.args);
  dnnl_stream_wait(task.stream);
}

const char *Step::implementation(uint32_t index) const {
  return int64_t(index) < numKernels ? kernels[index].implementation()
                                     : nullptr;
}

uint64_t Step::packedBytes() const {
  uint64_t bytes = 0;
  for (int i = 0; i < numPacked; ++i)
    bytes += dnnl_memory_desc_get_size(packed[i].layout);
  return bytes;
}

} // namespace pare::onednn

using pare::onednn::Step;

static int countPointers(const int64_t *dims, int numDims) {
  int64_t flags = dims[PARE_ONEDNN_FLAGS];
  int count = 3 + !!(flags & PARE_ONEDNN_INT8) + !!(flags & PARE_ONEDNN_BIAS);
  for (int64_t i = 0; i < dims[PARE_ONEDNN_POSTS]; ++i)
    count += dims[numDims + i * PARE_ONEDNN_POST_DIMS] >= PARE_ONEDNN_ADD;
  return count;
}

void pare::onednn::runStep(void *const *ptrs, const int64_t *dims, int numDims,
                           int64_t task) {
  static_cast<Step *>(ptrs[countPointers(dims, numDims)])->run(ptrs, task);
}

void *pare::onednn::prepareStep(void *memory, Step *made, Step *old,
                                char *error, uint64_t errorBytes) {
  const char *cause = "out of memory";
  if (made) {
    if (old)
      made->takeWeights(*old);
    destroyStep(old);
    if (made->prepare())
      return made;
    cause = made->failure;
    made->Step::~Step();
  } else {
    destroyStep(old);
  }
  free(memory);
  if (error && errorBytes)
    snprintf(error, errorBytes,
             "oneDNN %s; compile the model with --kernels generated", cause);
  return nullptr;
}

void pare::onednn::destroyStep(void *state) {
  if (!state)
    return;
  static_cast<Step *>(state)->Step::~Step();
  free(state);
}

extern "C" {

const char *pare_onednn_implementation(const void *state, uint32_t index) {
  return static_cast<const Step *>(state)->implementation(index);
}

uint64_t pare_onednn_packed_bytes(const void *state) {
  return static_cast<const Step *>(state)->packedBytes();
}
}
