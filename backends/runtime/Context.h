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

  /// `fills`: guard mode fills it with NaN, which commits its pages.
  bool allocate(const PareContext &context, uint64_t size, bool fills = true);
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

/// Makes the caches of a language model's sequences. False with the context's
/// error set.
bool createCaches(PareContext &context, uint32_t sequences);
void destroyCaches(PareContext &context);

/// Checks the values of a language model's inputs, of which kernels make
/// addresses, and notes the positions that a run writes. False with the
/// context's error set.
bool checkDecoderInputs(PareContext &context, const PareTensor *inputs);

/// The line that a user sees on a CPU that cannot run `model`.
void putMissingFeature(Writer &text, const PareModel &model,
                       const char *feature);

/// What a sequence of a language model remembers.
struct Cache {
  Block block;          ///< PareDecoderInfo::cache_bytes
  uint32_t written = 0; ///< one more than the last position ever written
};

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
  pare::rt::HugeBuffer hugeWeights;

  uint32_t numSequences = 0; ///< of a language model
  pare::rt::Cache *caches = nullptr;
  void **cacheBases = nullptr; ///< PARE_SPACE_CACHES

  uint64_t *stepNanos = nullptr;
  PareProbe probe = nullptr;
  void *probeUser = nullptr;
  pare::rt::Message error;
};

#endif
