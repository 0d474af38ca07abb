#include "ToyModel.h"
#include "backends/runtime/Runtime.h"

#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Result {
  std::vector<float> y;
  std::vector<int64_t> best;
  bool operator==(const Result &) const = default;
};

std::vector<float> makeInput(int64_t batch) {
  std::vector<float> x(size_t(batch * toy::kIn));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = float(i * 37 % 101) / 50 - 1;
  return x;
}

PareTensor tensorOf(std::vector<float> &x, int64_t batch) {
  PareTensor tensor = {};
  tensor.data = x.data();
  tensor.bytes = x.size() * sizeof(float);
  tensor.rank = 2;
  tensor.dims[0] = batch;
  tensor.dims[1] = toy::kIn;
  return tensor;
}

Result reference(const std::vector<float> &x, int64_t batch) {
  Result result;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t best = 0;
    for (int64_t j = 0; j < toy::kOut; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < toy::kIn; ++k)
        sum += x[size_t(b * toy::kIn + k)] * toy::weight(k, j);
      result.y.push_back(2 * (sum > 0 ? sum : 0));
      if (result.y.back() > result.y[size_t(b * toy::kOut + best)])
        best = j;
    }
    result.best.push_back(best);
  }
  return result;
}

class Toy {
public:
  explicit Toy(PareOptions options = {}, const PareModel &model = pare_model) {
    char error[512] = "";
    context = pare_create(&model, &options, error, sizeof(error));
    EXPECT_NE(context, nullptr) << error;
  }
  ~Toy() { pare_destroy(context); }

  Result run(int64_t batch) {
    std::vector<float> x = makeInput(batch);
    PareTensor input = tensorOf(x, batch);
    PareTensor outputs[2] = {};
    EXPECT_EQ(pare_output_shapes(context, &input, outputs), 0)
        << pare_error(context);
    Result result;
    result.y.resize(outputs[0].bytes / sizeof(float));
    result.best.resize(outputs[1].bytes / sizeof(int64_t));
    outputs[0].data = result.y.data();
    outputs[1].data = result.best.data();
    EXPECT_EQ(pare_run(context, &input, outputs), 0) << pare_error(context);
    EXPECT_EQ(outputs[0].dims[0], batch);
    EXPECT_EQ(outputs[1].dtype, PARE_I64);
    return result;
  }

  PareContext *context;
};

PareOptions withThreads(uint32_t threads) {
  PareOptions options = {};
  options.threads = threads;
  return options;
}

} // namespace

TEST(Context, SameBytesForAnyThreadCount) {
  for (int64_t batch : {1, 2, 3, 17, 64}) {
    Result expected = reference(makeInput(batch), batch);
    for (uint32_t threads : {1, 2, 3, 7}) {
      Toy toy(withThreads(threads));
      EXPECT_EQ(pare_threads(toy.context), threads);
      EXPECT_EQ(toy.run(batch), expected) << batch << ' ' << threads;
    }
  }
}

TEST(Context, ShapesMayChangeBetweenRuns) {
  Toy toy(withThreads(2));
  for (int64_t batch : {64, 1, 64, 5, 5, 33})
    EXPECT_EQ(toy.run(batch), reference(makeInput(batch), batch));
  EXPECT_EQ(pare_arena_bytes(toy.context), 2u * 33 * 32 + 64);
}

TEST(Context, StaticModel) {
  Toy toy(withThreads(2), toy::staticModel);
  EXPECT_EQ(toy.run(3), reference(makeInput(3), 3));
}

TEST(Context, GuardedBuffersHoldTheModel) {
  PareOptions options = withThreads(2);
  options.guard = 1;
  Toy toy(options);
  for (int64_t batch : {1, 5, 64})
    EXPECT_EQ(toy.run(batch), reference(makeInput(batch), batch));
}

TEST(Context, ContextsRunAtTheSameTime) {
  std::vector<std::thread> users;
  for (int64_t user = 1; user <= 4; ++user)
    users.emplace_back([user] {
      Toy toy(withThreads(2));
      for (int round = 0; round < 50; ++round)
        ASSERT_EQ(toy.run(user * 7), reference(makeInput(user * 7), user * 7));
    });
  for (std::thread &user : users)
    user.join();
}

TEST(Context, BadInputsAreNamed) {
  Toy toy(withThreads(1));
  std::vector<float> x = makeInput(65);
  PareTensor outputs[2] = {};
  auto errorOf = [&](PareTensor input) {
    EXPECT_EQ(pare_output_shapes(toy.context, &input, outputs), 1);
    EXPECT_EQ(pare_run(toy.context, &input, outputs), 1);
    return std::string(pare_error(toy.context));
  };
  PareTensor good = tensorOf(x, 3);
  PareTensor bad = tensorOf(x, 65);
  EXPECT_EQ(errorOf(bad), "input 'x': axis 0 ('batch') is 65, the model was "
                          "compiled for 1 to 64");
  bad.dims[0] = 0;
  EXPECT_EQ(errorOf(bad), "input 'x': axis 0 ('batch') is 0, the model was "
                          "compiled for 1 to 64");
  bad = good;
  bad.dims[1] = 15;
  EXPECT_EQ(errorOf(bad), "input 'x' has shape [3, 15], expected [batch, 16]");
  bad = good;
  bad.rank = 1;
  EXPECT_EQ(errorOf(bad), "input 'x' has shape [3], expected [batch, 16]");
  bad = good;
  bad.dtype = PARE_F64;
  EXPECT_EQ(errorOf(bad), "input 'x' is float64, expected float32");

  EXPECT_EQ(pare_output_shapes(toy.context, &good, outputs), 0);
  good.bytes = 3 * 16 * 4 - 1;
  EXPECT_EQ(pare_run(toy.context, &good, outputs), 1);
  EXPECT_STREQ(pare_error(toy.context),
               "input 'x' has 191 bytes, its shape needs 192");
  good.bytes = 192;
  EXPECT_EQ(pare_run(toy.context, &good, outputs), 1); // outputs' data is null
  EXPECT_STREQ(pare_error(toy.context),
               "output 'y' has 0 bytes, its shape needs 96");
  // And none of this has spoilt the context.
  EXPECT_EQ(toy.run(4), reference(makeInput(4), 4));
}

TEST(Context, StaticShapeIsChecked) {
  Toy toy(withThreads(1), toy::staticModel);
  std::vector<float> x = makeInput(4);
  PareTensor input = tensorOf(x, 4), outputs[2] = {};
  EXPECT_EQ(pare_output_shapes(toy.context, &input, outputs), 1);
  EXPECT_STREQ(pare_error(toy.context),
               "input 'x' has shape [4, 16], expected [3, 16]");
}

TEST(Context, MissingCpuFeatureIsNamed) {
  PareModel model = pare_model;
  model.features = 1u << 31;
  model.target = "x86-64-v9";
  char error[512] = "";
  EXPECT_EQ(pare_create(&model, nullptr, error, sizeof(error)), nullptr);
  EXPECT_NE(strstr(error, "this CPU lacks"), nullptr) << error;
  EXPECT_NE(strstr(error, "x86-64-v9"), nullptr) << error;
  char tiny[8];
  EXPECT_EQ(pare_create(&model, nullptr, tiny, sizeof(tiny)), nullptr);
  EXPECT_EQ(strlen(tiny), 7u);
}

TEST(Context, OtherAbiIsRefused) {
  PareModel model = pare_model;
  model.abi_version = PARE_ABI_VERSION + 1;
  char error[512] = "";
  EXPECT_EQ(pare_create(&model, nullptr, error, sizeof(error)), nullptr);
  std::string version = std::to_string(PARE_ABI_VERSION + 1);
  EXPECT_NE(strstr(error, ("runtime interface " + version + ",").c_str()),
            nullptr)
      << error;
}

TEST(Context, CallersPool) {
  struct Pool {
    int64_t calls = 0;
    static void parallelFor(void *user, int64_t count, PareTask task,
                            void *state) {
      ++static_cast<Pool *>(user)->calls;
      for (int64_t i = count; i-- > 0;)
        task(state, i, uint32_t(i % 3));
    }
  } pool;
  PareThreadPool callbacks = {&pool, 3, Pool::parallelFor};
  PareOptions options = {};
  options.pool = &callbacks;
  Toy toy(options);
  EXPECT_EQ(toy.run(20), reference(makeInput(20), 20));
  EXPECT_EQ(pool.calls, 3); // the step with one task needs no pool
}

TEST(Context, CallersAllocator) {
  struct Heap {
    uint64_t live = 0, calls = 0, refuseAfter = 100;
    static void *allocate(void *user, uint64_t bytes, uint64_t alignment) {
      auto *heap = static_cast<Heap *>(user);
      if (heap->calls++ == heap->refuseAfter)
        return nullptr;
      heap->live += bytes;
      return aligned_alloc(alignment, bytes);
    }
    static void release(void *user, void *memory, uint64_t bytes) {
      static_cast<Heap *>(user)->live -= bytes;
      free(memory);
    }
  } heap;
  PareAllocator callbacks = {&heap, Heap::allocate, Heap::release};
  PareOptions options = withThreads(3);
  options.allocator = &callbacks;
  {
    Toy toy(options);
    uint64_t calls = heap.calls;
    EXPECT_EQ(calls, 4u); // arena and three threads' scratch
    EXPECT_EQ(toy.run(64), reference(makeInput(64), 64));
    EXPECT_EQ(toy.run(2), reference(makeInput(2), 2));
    EXPECT_EQ(heap.calls, calls); // nothing is allocated while running
  }
  EXPECT_EQ(heap.live, 0u);
  for (uint64_t at = 0; at < 4; ++at) {
    heap = Heap();
    heap.refuseAfter = at;
    char error[512] = "";
    EXPECT_EQ(pare_create(&pare_model, &options, error, sizeof(error)),
              nullptr);
    EXPECT_NE(strstr(error, "out of memory"), nullptr) << error;
    EXPECT_EQ(heap.live, 0u);
  }
}

// Bounds may be far beyond what the machine has.
TEST(Context, OnlyShapesThatAreRunNeedMemory) {
  PareModel model = pare_model;
  model.plan = [](const int64_t *symbols, int64_t *slots) {
    pare_model.plan(symbols, slots);
    if (symbols[0] == toy::kMaxBatch)
      slots[pare_model.arena_slot] = int64_t(1) << 52;
  };
  Toy toy(withThreads(2), model);
  EXPECT_STREQ(pare_error(toy.context), "");
  EXPECT_EQ(toy.run(5), reference(makeInput(5), 5));
  std::vector<float> x = makeInput(toy::kMaxBatch);
  PareTensor input = tensorOf(x, toy::kMaxBatch), outputs[2] = {};
  EXPECT_EQ(pare_run(toy.context, &input, outputs), 1);
  EXPECT_NE(strstr(pare_error(toy.context), "out of memory"), nullptr);
  EXPECT_EQ(toy.run(6), reference(makeInput(6), 6));
}

TEST(Context, ProfileAndProbe) {
  Toy toy(withThreads(2));
  uint64_t nanos[4] = {};
  pare_set_profile(toy.context, nanos);
  struct Seen {
    std::vector<uint32_t> values;
    std::vector<float> relu;
  } seen;
  auto probe = [](void *user, uint32_t value, const PareTensor *tensor) {
    auto *seen = static_cast<Seen *>(user);
    seen->values.push_back(value);
    EXPECT_EQ(tensor->dims[0], 6);
    EXPECT_EQ(tensor->bytes, 6u * toy::kOut * sizeof(float));
    if (value == 1) {
      auto *data = static_cast<const float *>(tensor->data);
      seen->relu.assign(data, data + 6 * toy::kOut);
    }
  };
  pare_set_probe(toy.context, probe, &seen);
  Result result = toy.run(6);
  EXPECT_EQ(seen.values, (std::vector<uint32_t>{0, 1}));
  ASSERT_EQ(seen.relu.size(), result.y.size());
  for (size_t i = 0; i < result.y.size(); ++i)
    EXPECT_EQ(2 * seen.relu[i], result.y[i]);
  for (uint64_t time : nanos)
    EXPECT_GT(time, 0u);
  EXPECT_EQ(pare_slot(toy.context, pare_model.steps[0].flops_slot),
            2 * 6 * toy::kIn * toy::kOut);
}

//===----------------------------------------------------------------------===//
// Steps with a state
//===----------------------------------------------------------------------===//

namespace {

/// Of the toy's doubling step, which here takes its factor from its state.
struct DoublingState {
  float factor;
  int64_t batch;
};
int made, destroyed;

void *prepareDoubling(void *old, const void *const *weights,
                      const int64_t *dims, char *error, uint64_t errorBytes) {
  EXPECT_EQ(weights[0], nullptr); // an activation
  delete static_cast<DoublingState *>(old);
  if (dims[0] == 13) {
    snprintf(error, errorBytes, "thirteen is refused");
    ++destroyed;
    return nullptr;
  }
  ++made;
  return new DoublingState{2, dims[0]};
}

void destroyDoubling(void *state) {
  delete static_cast<DoublingState *>(state);
  ++destroyed;
}

void doubleByState(void *const *ptrs, const int64_t *dims, int64_t, void *) {
  auto *state = static_cast<const DoublingState *>(ptrs[2]);
  EXPECT_EQ(state->batch, dims[0]);
  for (int64_t i = 0; i < dims[0] * toy::kOut; ++i)
    static_cast<float *>(ptrs[1])[i] =
        state->factor * static_cast<const float *>(ptrs[0])[i];
}

const PareStepState kDoublingState = {prepareDoubling, destroyDoubling};

} // namespace

TEST(StepState, IsMadeWhenShapesChangeAndGoesWithTheContext) {
  std::vector<PareStep> steps(pare_model.steps,
                              pare_model.steps + pare_model.num_steps);
  ASSERT_STREQ(steps[2].op, "mul");
  steps[2].kernel = doubleByState;
  steps[2].state = &kDoublingState;
  PareModel model = pare_model;
  model.steps = steps.data();
  made = destroyed = 0;
  {
    Toy toy({}, model), other({}, model);
    EXPECT_EQ(made, 2); // before any run
    for (int64_t batch : {5, 5, 9})
      EXPECT_EQ(toy.run(batch), reference(makeInput(batch), batch));
    EXPECT_EQ(made, 4);
    EXPECT_EQ(other.run(5), reference(makeInput(5), 5));
    EXPECT_EQ(made, 5);

    std::vector<float> x = makeInput(13);
    PareTensor input = tensorOf(x, 13), outputs[2] = {};
    EXPECT_EQ(pare_output_shapes(other.context, &input, outputs), 1);
    EXPECT_STREQ(pare_error(other.context), "'y': thirteen is refused");
    EXPECT_EQ(other.run(4), reference(makeInput(4), 4));
  }
  EXPECT_EQ(destroyed, 3); // the refused one, and each context's last
}
