//===- Library.cpp - What the entry points of a library call --------------===//
#include "backends/runtime/Library.h"

#include "backends/runtime/Context.h"

using namespace pare::rt;

// Interfaces are small: their tensors and slots fit the stack, so that running
// allocates nothing.
#define PARE_ON_STACK(type, count)                                             \
  static_cast<type *>(__builtin_alloca_with_align(                             \
      sizeof(type) * (uint64_t(count) + 1), 8 * alignof(type)))

/// Describes the inputs at `symbols`. Derived extents are computed in `slots`.
static void describeInputs(const PareModel &model, const int64_t *symbols,
                           int64_t *slots, PareTensor *inputs) {
  model.plan(symbols, slots);
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const PareTensorInfo &info = model.inputs[i];
    PareTensor &tensor = inputs[i];
    tensor.data = nullptr;
    tensor.dtype = info.dtype;
    tensor.rank = info.rank;
    for (uint32_t axis = 0; axis < info.rank; ++axis)
      tensor.dims[axis] =
          info.dims[axis] >= 0 ? info.dims[axis] : slots[-1 - info.dims[axis]];
    // An overflow is a dimension beyond its bounds, which running refuses.
    if (!tensorBytes(tensor.dtype, tensor.dims, tensor.rank, tensor.bytes))
      tensor.bytes = 0;
  }
}

extern "C" int pare_run_at(PareContext *context, const int64_t *symbols,
                           void *const *inputs, void *const *outputs) {
  const PareModel &model = *context->model;
  auto *slots = PARE_ON_STACK(int64_t, model.num_slots);
  auto *in = PARE_ON_STACK(PareTensor, model.num_inputs);
  auto *out = PARE_ON_STACK(PareTensor, model.num_outputs);
  describeInputs(model, symbols, slots, in);
  for (uint32_t i = 0; i < model.num_inputs; ++i)
    in[i].data = inputs[i];
  for (uint32_t i = 0; i < model.num_outputs; ++i) {
    out[i].data = outputs[i];
    out[i].bytes = INT64_MAX;
  }
  return pare_run(context, in, out);
}

extern "C" int pare_shapes_at(PareContext *context, const int64_t *symbols,
                              int64_t *const *shapes) {
  const PareModel &model = *context->model;
  auto *slots = PARE_ON_STACK(int64_t, model.num_slots);
  auto *in = PARE_ON_STACK(PareTensor, model.num_inputs);
  auto *out = PARE_ON_STACK(PareTensor, model.num_outputs);
  describeInputs(model, symbols, slots, in);
  if (pare_output_shapes(context, in, out) != 0)
    return 1;
  for (uint32_t i = 0; i < model.num_outputs; ++i)
    for (uint32_t axis = 0; shapes[i] && axis < out[i].rank; ++axis)
      shapes[i][axis] = out[i].dims[axis];
  return 0;
}
