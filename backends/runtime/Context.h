//===- Context.h - The state of a running model -----------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_CONTEXT_H
#define PARE_BACKENDS_RUNTIME_CONTEXT_H

#include "backends/runtime/Threads.h"

namespace pare::rt {

constexpr uint32_t kMaxPointers = 64; ///< buffers, and extents, of one step
constexpr uint32_t kMaxThreads = 1024;

/// A block of memory from the context's allocator, aligned to PARE_ALIGN. In
/// guard mode its end is at an inaccessible page.
struct Block {
  char *data = nullptr;
  uint64_t bytes = 0;
  GuardedBuffer guarded;

  bool allocate(const PareContext &context, uint64_t size);
  void release(const PareContext &context);
};

/// Reads the symbolic dimensions off `inputs`, checks all shapes and dtypes and
/// fills the context's slots. False with the context's error set.
bool planShapes(PareContext &context, const PareTensor *inputs);

/// "[1, 3, height, width]": fixed extents as numbers, symbolic ones by name,
/// derived ones as `?`.
void putShape(Writer &text, const PareModel &model, const PareTensorInfo &info);

/// The symbolic dimension that a negative PareTensorInfo extent stands for;
/// null if it is derived from others.
const PareDimInfo *dimOfSlot(const PareModel &model, int64_t dim);

/// The line that a user sees on a CPU that cannot run `model`.
void putMissingFeature(Writer &text, const PareModel &model,
                       const char *feature);

} // namespace pare::rt

struct PareContext {
  const PareModel *model = nullptr;
  const uint8_t *weights = nullptr;
  pare::rt::ThreadPool *ownPool = nullptr;
  PareThreadPool pool = {};
  PareAllocator allocator = {};
  uint32_t threads = 1;
  bool guard = false;
  bool planned = false;

  int64_t *symbols = nullptr; ///< model->num_dims
  int64_t *slots = nullptr;   ///< model->num_slots
  pare::rt::Block arena;
  pare::rt::Block *scratch = nullptr; ///< one per thread
  void **states = nullptr;            ///< of model->steps (PareStepState)
  pare::rt::GuardedBuffer weightsCopy;

  uint64_t *stepNanos = nullptr;
  PareProbe probe = nullptr;
  void *probeUser = nullptr;
  pare::rt::Message error;
};

#endif
