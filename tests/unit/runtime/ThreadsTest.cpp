#include "backends/runtime/Threads.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace pare::rt;

namespace {

struct Counts {
  std::vector<std::atomic<int>> perTask;
  std::atomic<uint32_t> highestWorker{0};
  explicit Counts(size_t tasks) : perTask(tasks) {}

  static void task(void *state, int64_t index, uint32_t worker) {
    auto *self = static_cast<Counts *>(state);
    self->perTask[size_t(index)].fetch_add(1, std::memory_order_relaxed);
    uint32_t seen = self->highestWorker.load();
    while (seen < worker &&
           !self->highestWorker.compare_exchange_weak(seen, worker)) {
    }
  }
};

void expectEachOnce(ThreadPool *pool, int64_t tasks) {
  Counts counts(static_cast<size_t>(tasks));
  pool->parallelFor(tasks, Counts::task, &counts);
  for (auto &count : counts.perTask)
    ASSERT_EQ(count.load(), 1);
  ASSERT_LT(counts.highestWorker.load(), pool->threads());
}

} // namespace

TEST(ThreadPool, RunsEachTaskOnce) {
  for (uint32_t threads : {1, 2, 3, 7}) {
    ThreadPool *pool = ThreadPool::create(threads);
    ASSERT_NE(pool, nullptr);
    EXPECT_EQ(pool->threads(), threads);
    for (int64_t tasks : {0, 1, 2, 3, 7, 8, 100, 10000})
      expectEachOnce(pool, tasks);
    pool->destroy();
  }
}

// Steps of many sizes back to back: a worker that is late for one must not
// touch the next.
TEST(ThreadPool, ManyShortSteps) {
  ThreadPool *pool = ThreadPool::create(4);
  struct State {
    int64_t step = 0;
    std::atomic<int64_t> sum{0};
  } state;
  auto task = [](void *opaque, int64_t index, uint32_t) {
    auto *state = static_cast<State *>(opaque);
    state->sum += state->step * 1000 + index;
  };
  for (int64_t step = 0; step < 20000; ++step) {
    if (step % 100 == 0)
      step % 200 ? pool->begin() : pool->end();
    state.step = step;
    state.sum = 0;
    int64_t tasks = step % 13;
    pool->parallelFor(tasks, task, &state);
    ASSERT_EQ(state.sum, step * 1000 * tasks + tasks * (tasks - 1) / 2);
  }
  pool->destroy();
}

// Long enough pauses that the workers are asleep when the next step comes.
TEST(ThreadPool, WakesSleepers) {
  ThreadPool *pool = ThreadPool::create(3);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    expectEachOnce(pool, 50);
  }
  pool->destroy();
}

// Tasks so long that the caller goes to sleep before the last one ends.
TEST(ThreadPool, CallerSleepsUntilTheLastTask) {
  ThreadPool *pool = ThreadPool::create(3);
  for (int i = 0; i < 5; ++i) {
    std::atomic<int> ended{0};
    auto task = [](void *state, int64_t index, uint32_t) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2 + 3 * index));
      ++*static_cast<std::atomic<int> *>(state);
    };
    pool->parallelFor(3, task, &ended);
    EXPECT_EQ(ended, 3);
  }
  pool->destroy();
}

TEST(ThreadPool, PoolsAreIndependent) {
  std::vector<std::thread> users;
  for (int i = 0; i < 3; ++i)
    users.emplace_back([] {
      ThreadPool *pool = ThreadPool::create(3);
      for (int round = 0; round < 200; ++round)
        expectEachOnce(pool, round);
      pool->destroy();
    });
  for (std::thread &user : users)
    user.join();
}

namespace {
/// A made-up cgroup file system.
class CgroupTest : public testing::Test {
protected:
  std::filesystem::path root = std::filesystem::temp_directory_path() /
                               ("pare-cgroup-" + std::to_string(getpid()));
  void TearDown() override { std::filesystem::remove_all(root); }
  void file(const char *path, const char *text) {
    std::filesystem::path whole = root / path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
  }
  uint32_t cpus(const char *cgroups) {
    return cgroupCpus(cgroups, root.c_str());
  }
};
} // namespace

TEST_F(CgroupTest, Unified) {
  file("a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus("0::/a/b\n"), 0u);
  file("a/cpu.max", "250000 100000\n"); // the parent's limit holds
  EXPECT_EQ(cpus("0::/a/b\n"), 3u);
  file("a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(cpus("0::/a/b\n"), 1u);
  // In a container the path may lie outside of what is mounted.
  file("cpu.max", "200000 100000\n");
  EXPECT_EQ(cpus("0::/../elsewhere\n"), 2u);
}

TEST_F(CgroupTest, Version1) {
  file("cpu/docker/x/cpu.cfs_quota_us", "400000\n");
  file("cpu/docker/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus("7:memory:/docker/x\n4:cpuacct,cpu:/docker/x\n"), 4u);
  file("cpu/docker/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(cpus("4:cpuacct,cpu:/docker/x"), 0u);
}

TEST_F(CgroupTest, Garbage) {
  file("a/cpu.max", "\n");
  for (const char *text : {"", ":", "::", "0::", "0::/a\n\n", "x", "\n\n"})
    EXPECT_EQ(cpus(text), 0u) << text;
}

TEST(UsableCpus, IsPositive) { EXPECT_GE(usableCpus(), 1u); }
