//===- Step.h - What steps of oneDNN have in common -------------*- C++ -*-===//
//
// Primitives, their memory objects and scratchpads are made when the shapes are
// known; a run only sets addresses. A step is cut into tasks of few geometries,
// with one primitive each: they run on one thread, and the pool that calls them
// brings the threads.
//
// Weights are reordered once, into a layout that depends on the CPU and cannot
// be stored by the compiler. Later shapes take the layout over.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_ONEDNN_STEP_H
#define PARE_BACKENDS_RUNTIME_ONEDNN_STEP_H

#include "backends/runtime/Support.h"
#include "backends/runtime/onednn/Shim.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

namespace pare::onednn {

/// A memory descriptor that is destroyed at the end of the scope; null where
/// there is none.
class Desc {
public:
  Desc() = default;
  Desc(int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag,
       dnnl_data_type_t type = dnnl_f32) {
    dnnl_memory_desc_create_with_tag(&desc, rank, dims, type, tag);
  }
  ~Desc() { dnnl_memory_desc_destroy(desc); }
  Desc(const Desc &) = delete;
  operator dnnl_memory_desc_t() const { return desc; }

private:
  dnnl_memory_desc_t desc = nullptr;
};

/// What a primitive is made for; zero where a kind of step has less to say.
struct Geometry {
  int64_t size;       ///< rows, or output lines
  int64_t begin, end; ///< lines of padding before and after the input
  bool operator==(const Geometry &other) const {
    return size == other.size && begin == other.begin && end == other.end;
  }
};

struct Kernel {
  Geometry geometry;
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  dnnl_memory_t weights;

  const_dnnl_memory_desc_t query(dnnl_query_t what, int index = 0) const {
    return dnnl_primitive_desc_query_md(desc, what, index);
  }
  const char *implementation() const;
};

/// Weights in a layout of oneDNN's.
struct PackedWeights {
  dnnl_memory_desc_t layout;
  void *data;
};

constexpr int kMaxKernels = 8;
constexpr int kMaxArgs = 8 + PARE_ONEDNN_MAX_POSTS;

/// The objects of one task: no two tasks share any that a run changes.
struct Task {
  int kernel;
  int64_t x, y; ///< of its first elements in the step's buffers
  dnnl_stream_t stream;
  dnnl_memory_t src, dst, scratch, operands[PARE_ONEDNN_MAX_POSTS];
  dnnl_exec_arg_t args[kMaxArgs];
  int numArgs;
};

/// The state of a step. Kinds of steps derive from it; they own nothing.
class Step {
public:
  /// `weights` as PareStepState::prepare has them; `numDims` without posts.
  Step(const int64_t *dims, int numDims, const void *const *weights);
  ~Step();
  Step(const Step &) = delete;

  bool isFor(const int64_t *dims) const;
  /// Takes the weights of an earlier state of the same step over.
  void takeWeights(Step &old);
  /// Makes everything that runs need; false with `failure` set.
  bool prepare();
  void run(void *const *ptrs, int64_t task);

  const char *implementation(uint32_t index) const;
  uint64_t packedBytes() const;

  const char *failure = nullptr;

protected:
  /// Describes the kernel's primitive with weights in `layout` (null: any) and
  /// says whether there is one. `attempt`: 0, then 1 where that fails.
  virtual bool describe(Kernel &, const_dnnl_memory_desc_t, int) {
    return false;
  }
  /// The weights as the compiler stored them, as the primitive sees them.
  virtual Desc describeStored() const { return Desc(); }
  /// The results of a task, and one number per column.
  virtual Desc describeResult(const Kernel &) const { return Desc(); }
  virtual Desc describeColumns() const { return Desc(); }
  /// Calls addTask for each.
  virtual bool plan() { return false; }

  bool addTask(int64_t index, const Geometry &geometry, int64_t x, int64_t y);
  bool allocateTasks(int64_t count);
  bool fail(const char *what) {
    failure = what;
    return false;
  }
  bool has(int64_t flag) const { return dims[PARE_ONEDNN_FLAGS] & flag; }
  /// Null: none.
  const void *bias() const;
  dnnl_data_type_t weightType() const {
    return has(PARE_ONEDNN_INT8) ? dnnl_s8 : dnnl_f32;
  }
  dnnl_data_type_t inputType() const {
    return has(PARE_ONEDNN_INT8) ? dnnl_u8 : dnnl_f32;
  }
  dnnl_primitive_attr_t makeAttributes(const Kernel &kernel) const;

  int64_t dims[64];
  int scaleMask = 1; ///< of the weights' axes
  dnnl_engine_t engine = nullptr;
  dnnl_primitive_attr_t attributes = nullptr; ///< of the kernel being made

private:
  struct Post {
    int64_t kind;
    float alpha, beta;
    bool hasOperand() const { return kind >= PARE_ONEDNN_ADD; }
    /// Of a post's operand; else it has the result's shape.
    bool isPerColumn() const { return alpha != 0; }
  };
  Post post(int64_t index) const;
  int64_t numPosts() const { return dims[PARE_ONEDNN_POSTS]; }
  Desc describeOperand(const Kernel &kernel, const Post &post) const {
    return post.isPerColumn() ? describeColumns() : describeResult(kernel);
  }
  /// Index of the first post's operand among the pointers of the step.
  int firstOperand() const {
    return 2 + has(PARE_ONEDNN_INT8) + has(PARE_ONEDNN_BIAS);
  }

  bool tryDescribe(Kernel &kernel, const_dnnl_memory_desc_t layout, int attempt,
                   bool takesReference);
  int findKernel(const Geometry &geometry);
  bool makeKernel(Kernel &kernel);
  bool bindWeights(Kernel &kernel, const PackedWeights *packed);
  bool packWeights(const Kernel &kernel, PackedWeights &packed);
  bool makeConstants(const Kernel &kernel);
  bool makeTask(Task &task);

  int numDims;                  ///< where the posts begin
  const void *const *constants; ///< while it is prepared
  const void *weights;
  Kernel kernels[kMaxKernels] = {};
  int numKernels = 0;
  PackedWeights packed[kMaxKernels] = {};
  int numPacked = 0;
  dnnl_memory_t biasMemory = nullptr, scales = nullptr, zero = nullptr;
  int32_t zeroCode = 0;
  Task *tasks = nullptr;
  int64_t numTasks = 0;
  char *scratch = nullptr;
};

/// PareStepState::prepare: `made` is the new state, constructed in `memory`, or
/// null where there was none; it takes what it can of `old`.
void *prepareStep(void *memory, Step *made, Step *old, char *error,
                  uint64_t errorBytes);
void destroyStep(void *state);

/// A kernel's call: the state is behind the step's pointers.
void runStep(void *const *ptrs, const int64_t *dims, int numDims, int64_t task);

template <typename Kind>
void *prepare(void *state, const void *const *weights, const int64_t *dims,
              char *error, uint64_t errorBytes) {
  auto *old = static_cast<Kind *>(state);
  if (old && old->isFor(dims))
    return old;
  void *memory = calloc(1, sizeof(Kind));
  Kind *made =
      memory ? new (memory, PareInPlace()) Kind(dims, weights) : nullptr;
  return prepareStep(memory, made, old, error, errorBytes);
}

} // namespace pare::onednn

#endif
