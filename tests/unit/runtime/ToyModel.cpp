#include "ToyModel.h"

#include <string.h>

using namespace toy;

// The program that is linked against an unsupported feature sets this.
#ifndef TOY_FEATURES
#define TOY_FEATURES 0
#endif

namespace {

enum Slot {
  Batch,
  Arena,
  Scratch,
  One,
  Flops,
  Bytes,
  HiddenOffset,
  ReluOffset,
  NumSlots
};

void planFor(int64_t batch, int64_t *slots) {
  int64_t row = kOut * int64_t(sizeof(float));
  int64_t padded = (batch * row + PARE_ALIGN - 1) / PARE_ALIGN * PARE_ALIGN;
  slots[Batch] = batch;
  slots[Arena] = 2 * padded;
  slots[Scratch] = row;
  slots[One] = 1;
  slots[Flops] = 2 * batch * kIn * kOut;
  slots[Bytes] = batch * (kIn + kOut) * 4;
  slots[HiddenOffset] = 0;
  slots[ReluOffset] = padded;
}

void plan(const int64_t *symbols, int64_t *slots) {
  planFor(symbols[0], slots);
}
void planStatic(const int64_t *, int64_t *slots) { planFor(3, slots); }

/// One row a task; the sums live in the scratch until they are whole.
void matmul(void *const *ptrs, const int64_t *dims, int64_t row,
            void *scratch) {
  auto *x = static_cast<const float *>(ptrs[0]) + row * dims[0];
  auto *w = static_cast<const float *>(ptrs[1]);
  auto *sums = static_cast<float *>(scratch);
  for (int64_t j = 0; j < dims[1]; ++j)
    sums[j] = 0;
  for (int64_t k = 0; k < dims[0]; ++k)
    for (int64_t j = 0; j < dims[1]; ++j)
      sums[j] += x[k] * w[k * dims[1] + j];
  memcpy(static_cast<float *>(ptrs[2]) + row * dims[1], sums,
         size_t(dims[1]) * sizeof(float));
}

void relu(void *const *ptrs, const int64_t *, int64_t row, void *) {
  auto *in = static_cast<const float *>(ptrs[0]) + row * kOut;
  auto *out = static_cast<float *>(ptrs[1]) + row * kOut;
  for (int64_t j = 0; j < kOut; ++j)
    out[j] = in[j] > 0 ? in[j] : 0;
}

void twice(void *const *ptrs, const int64_t *dims, int64_t, void *) {
  auto *in = static_cast<const float *>(ptrs[0]);
  auto *out = static_cast<float *>(ptrs[1]);
  for (int64_t i = 0; i < dims[0] * kOut; ++i)
    out[i] = 2 * in[i];
}

void argmax(void *const *ptrs, const int64_t *, int64_t row, void *) {
  auto *in = static_cast<const float *>(ptrs[0]) + row * kOut;
  int64_t best = 0;
  for (int64_t j = 1; j < kOut; ++j)
    if (in[j] > in[best])
      best = j;
  static_cast<int64_t *>(ptrs[1])[row] = best;
}

struct Weights {
  alignas(PARE_ALIGN) float data[kIn * kOut];
  constexpr Weights() : data() {
    for (int64_t k = 0; k < kIn; ++k)
      for (int64_t j = 0; j < kOut; ++j)
        data[k * kOut + j] = weight(k, j);
  }
};
constexpr Weights kWeights;

// Extents of matmul are slots too; the compiler folds fixed ones.
const PareRef kMatmulRefs[] = {{PARE_SPACE_INPUT, 0, 0},
                               {PARE_SPACE_WEIGHTS, 0, 0},
                               {PARE_SPACE_ARENA, 0, HiddenOffset}};
// The same place, as an offset into the buffer before it.
const PareRef kReluRefs[] = {{PARE_SPACE_ARENA, 0, HiddenOffset},
                             {PARE_SPACE_ARENA, ReluOffset + 1, HiddenOffset}};
const PareRef kTwiceRefs[] = {{PARE_SPACE_ARENA, 0, ReluOffset},
                              {PARE_SPACE_OUTPUT, 0, 0}};
const PareRef kArgmaxRefs[] = {{PARE_SPACE_OUTPUT, 0, 0},
                               {PARE_SPACE_OUTPUT, 0, 1}};
const uint32_t kBatchDim[] = {Batch};

void matmulFixed(void *const *ptrs, const int64_t *, int64_t row,
                 void *scratch) {
  const int64_t dims[] = {kIn, kOut};
  matmul(ptrs, dims, row, scratch);
}

const PareStep kSteps[] = {
    {matmulFixed, "hidden", "matmul", "generated", kMatmulRefs, 3, 2, nullptr,
     0, Batch, Flops, Bytes, nullptr},
    {relu, "relu", "relu", "generated", kReluRefs, 2, 1, nullptr, 0, Batch,
     Bytes, Bytes, nullptr},
    {twice, "y", "mul", "generated", kTwiceRefs, 2, 1, kBatchDim, 1, One, Bytes,
     Bytes, nullptr},
    {argmax, "best", "argmax", "generated", kArgmaxRefs, 2, 1, nullptr, 0,
     Batch, Bytes, Bytes, nullptr},
};

const PareTensorInfo kInputs[] = {{"x", PARE_F32, 2, {-1 - Batch, kIn}}};
const PareTensorInfo kOutputs[] = {{"y", PARE_F32, 2, {-1 - Batch, kOut}},
                                   {"best", PARE_I64, 1, {-1 - Batch}}};
const PareTensorInfo kStaticInputs[] = {{"x", PARE_F32, 2, {3, kIn}}};
const PareTensorInfo kStaticOutputs[] = {{"y", PARE_F32, 2, {3, kOut}},
                                         {"best", PARE_I64, 1, {3}}};
const PareDimInfo kDims[] = {{"batch", 1, kMaxBatch, 0, 0}};
const PareValueInfo kValues[] = {
    {"hidden",
     0,
     {PARE_SPACE_ARENA, 0, HiddenOffset},
     {"hidden", PARE_F32, 2, {-1 - Batch, kOut}}},
    {"relu",
     1,
     {PARE_SPACE_ARENA, 0, ReluOffset},
     {"relu", PARE_F32, 2, {-1 - Batch, kOut}}},
};

constexpr PareModel makeModel(bool isStatic) {
  PareModel model = {};
  model.abi_version = PARE_ABI_VERSION;
  model.features = TOY_FEATURES;
  model.name = "toy";
  model.target = "x86-64";
  model.metadata = "{\"source\":\"by hand\"}";
  model.num_inputs = 1;
  model.num_outputs = 2;
  model.num_dims = isStatic ? 0 : 1;
  model.num_steps = 4;
  model.num_values = 2;
  model.inputs = isStatic ? kStaticInputs : kInputs;
  model.outputs = isStatic ? kStaticOutputs : kOutputs;
  model.dims = kDims;
  model.steps = kSteps;
  model.values = kValues;
  model.weights_bytes = sizeof(kWeights);
  const uint8_t digest[32] = {0xd3, 0x50, 0x1c, 0xa2, 0x07, 0x14, 0x4c, 0xa9,
                              0x28, 0x8c, 0x03, 0x7c, 0x14, 0x59, 0x4b, 0xdd,
                              0xcb, 0xd6, 0x2a, 0xd7, 0xec, 0xc7, 0x15, 0x94,
                              0xaa, 0x83, 0xb9, 0x22, 0xed, 0x51, 0x1c, 0x96};
  for (int i = 0; i < 32; ++i)
    model.weights_sha256[i] = digest[i];
  model.plan = isStatic ? planStatic : plan;
  model.num_slots = NumSlots;
  model.arena_slot = Arena;
  model.scratch_slot = Scratch;
  return model;
}

PareModel withWeights(PareModel model) {
  model.weights = reinterpret_cast<const uint8_t *>(kWeights.data);
  return model;
}

} // namespace

const PareModel toy::staticModel = withWeights(makeModel(true));
const PareModel pare_model = withWeights(makeModel(false));
