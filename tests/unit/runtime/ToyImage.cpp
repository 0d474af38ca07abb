// A model that gives back its picture input: picture[1, 3, 4, 6], BGR planes.
#include "backends/runtime/Abi.h"

#include <string.h>

static void plan(const int64_t *, int64_t *slots) {
  slots[0] = 64; // arena and scratch
  slots[1] = 1;
}

static void copy(void *const *ptrs, const int64_t *, int64_t, void *) {
  memcpy(ptrs[1], ptrs[0], 3 * 4 * 6 * sizeof(float));
}

static const PareTensorInfo kInput = {"picture", PARE_F32, 4, {1, 3, 4, 6}};
static const PareTensorInfo kOutput = {"planes", PARE_F32, 4, {1, 3, 4, 6}};
static const PareRef kRefs[] = {{PARE_SPACE_INPUT, 0, 0},
                                {PARE_SPACE_OUTPUT, 0, 0}};
static const PareStep kStep = {copy, "planes", "copy", "generated", kRefs, 2,
                               1,    nullptr,  0,      1,           1,     1};
static const PareImageInfo kImage = {
    0, 6, 4, 3, 1, 1, {0.5f, 0.25f, 0, 0}, {0.5f, 1, 2, 1}};

const PareModel pare_model = {
    .abi_version = PARE_ABI_VERSION,
    .name = "toy-image",
    .target = "x86-64",
    .metadata = "{}",
    .num_inputs = 1,
    .num_outputs = 1,
    .num_steps = 1,
    .num_images = 1,
    .inputs = &kInput,
    .outputs = &kOutput,
    .steps = &kStep,
    .images = &kImage,
    .plan = plan,
    .num_slots = 2,
    .arena_slot = 0,
    .scratch_slot = 0,
};
