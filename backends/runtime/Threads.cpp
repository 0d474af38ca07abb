#include "backends/runtime/Threads.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace pare::rt;

namespace {

constexpr uint32_t kPureSpins = 1000; // pauses before the first yield
constexpr uint32_t kSpinsPerYield = 100;
constexpr uint64_t kRunningNanos = 1000 * 1000; // awake between steps of a run
constexpr uint64_t kIdleNanos = 50 * 1000;      // awake between runs
constexpr size_t kStackBytes = 2u
                               << 20; // address space; kernels may use allocas

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void futexWait(uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futexWake(uint32_t *word, uint32_t count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

template <typename T> T load(const T &value) {
  return __atomic_load_n(&value, __ATOMIC_SEQ_CST);
}
template <typename T> void store(T &value, T next) {
  __atomic_store_n(&value, next, __ATOMIC_SEQ_CST);
}

/// Waits by spinning, then yielding, until `ready` or a time has passed.
/// `limit` gives the nanoseconds to wait, and may change while waiting. On a
/// machine that is busy with other work, yielding leaves the tasks to the
/// threads that do run: without it a step took twice as long there.
template <typename Ready, typename Limit>
bool spinUntil(Ready ready, Limit limit, bool yieldAtOnce) {
  if (!yieldAtOnce)
    for (uint32_t i = 0; i < kPureSpins; ++i) {
      if (ready())
        return true;
      pause();
    }
  uint64_t begin = nowNanos();
  do {
    for (uint32_t i = 0; i < kSpinsPerYield; ++i) {
      if (ready())
        return true;
      pause();
    }
    sched_yield();
  } while (nowNanos() - begin < limit());
  return ready();
}

} // namespace

struct ThreadPool::Worker {
  pthread_t thread;
  ThreadPool *pool;
  uint32_t index;
};

ThreadPool *ThreadPool::create(uint32_t threads) {
  auto *pool = static_cast<ThreadPool *>(mapPages(sizeof(ThreadPool)));
  if (!pool)
    return nullptr;
  pool->numThreads = 1;
  if (threads <= 1)
    return pool;
  pool->workers = static_cast<Worker *>(calloc(threads, sizeof(Worker)));
  if (!pool->workers) {
    unmapPages(pool, sizeof(ThreadPool));
    return nullptr;
  }
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
    pool->oversubscribed = uint32_t(CPU_COUNT(&cpus)) < threads;

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  for (uint32_t i = 1; i < threads; ++i) {
    Worker &worker = pool->workers[i];
    worker.pool = pool;
    worker.index = i;
    auto entry = [](void *argument) -> void * {
      auto *self = static_cast<Worker *>(argument);
      self->pool->workerMain(self->index);
      return nullptr;
    };
    if (pthread_create(&worker.thread, &attributes, entry, &worker))
      break;
    pool->numThreads = i + 1;
  }
  pthread_attr_destroy(&attributes);
  return pool;
}

void ThreadPool::destroy() {
  store(stopping, 1u);
  wake(INT_MAX);
  for (uint32_t i = 1; i < numThreads; ++i)
    pthread_join(workers[i].thread, nullptr);
  free(workers);
  unmapPages(this, sizeof(ThreadPool));
}

void ThreadPool::wake(uint32_t count) {
  __atomic_fetch_add(&epoch, 1, __ATOMIC_SEQ_CST);
  if (load(sleepers))
    futexWake(&epoch, count);
}

void ThreadPool::begin() {
  if (numThreads == 1)
    return;
  store(running, 1u);
  wake(INT_MAX);
}

void ThreadPool::end() { store(running, 0u); }

/// Takes a run of tasks: fewer as fewer remain, one at a time at the end.
bool ThreadPool::claim(uint32_t &first, uint32_t &count) {
  uint64_t seen = load(job);
  for (;;) {
    uint32_t left = uint32_t(seen);
    if (!left)
      return false;
    count = max(1u, left / (2 * numThreads));
    if (__atomic_compare_exchange_n(&job, &seen, seen - count, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      // From here until these tasks are counted as done the step cannot end.
      first = jobSize - left;
      return true;
    }
  }
}

void ThreadPool::help(uint32_t worker) {
  uint32_t first, count, finished = 0, size = 0;
  while (claim(first, count)) {
    size = jobSize;
    for (uint32_t i = 0; i < count; ++i)
      task(state, offset + first + i, worker);
    finished += count;
  }
  // A worker that claimed nothing has no say in a step that may be over; once
  // the last task is counted the fields may change.
  if (finished &&
      __atomic_add_fetch(&done, finished, __ATOMIC_SEQ_CST) == size &&
      load(callerSleeps))
    futexWake(&done, 1);
}

void ThreadPool::workerMain(uint32_t index) {
  while (!load(stopping)) {
    help(index);
    auto ready = [&] { return uint32_t(load(job)) || load(stopping); };
    auto limit = [&] { return load(running) ? kRunningNanos : kIdleNanos; };
    if (spinUntil(ready, limit, oversubscribed))
      continue;
    uint32_t seen = load(epoch);
    __atomic_fetch_add(&sleepers, 1, __ATOMIC_SEQ_CST);
    if (!ready())
      futexWait(&epoch, seen);
    __atomic_fetch_sub(&sleepers, 1, __ATOMIC_SEQ_CST);
  }
}

void ThreadPool::runBatch(uint32_t count) {
  jobSize = count;
  store(done, 0u);
  store(callerSleeps, 0u);
  store(job, uint64_t(++step) << 32 | count);
  wake(count - 1);
  help(0);
  auto ready = [&] { return load(done) == count; };
  if (spinUntil(ready, [] { return kRunningNanos; }, oversubscribed))
    return;
  store(callerSleeps, 1u);
  for (uint32_t seen; (seen = load(done)) != count;)
    futexWait(&done, seen);
}

void ThreadPool::parallelFor(int64_t count, PareTask fn, void *fnState) {
  if (count <= 1 || numThreads == 1) {
    for (int64_t i = 0; i < count; ++i)
      fn(fnState, i, 0);
    return;
  }
  task = fn;
  state = fnState;
  constexpr int64_t largest = 1 << 30;
  for (offset = 0; offset < count; offset += largest)
    runBatch(uint32_t(min(count - offset, largest)));
}

//===----------------------------------------------------------------------===//
// How many threads
//===----------------------------------------------------------------------===//

/// Reads the small file root + folder + name as integers: "max" is -1. False
/// if there is no such file.
static bool readQuota(const char *root, Str folder, const char *name,
                      int64_t values[2]) {
  char path[1024];
  Writer writer(-1, path, sizeof(path));
  writer.put(root).put(folder).put(name);
  if (writer.column() >= sizeof(path))
    return false;
  Message ignored;
  Bytes bytes;
  if (!readFile(path, bytes, ignored))
    return false;
  Str text = bytes.str();
  for (int i = 0; i < 2; ++i) {
    uint64_t n = 0;
    while (n < text.size && text.data[n] != ' ' && text.data[n] != '\n')
      ++n;
    if (!parseInt({text.data, n}, values[i]))
      values[i] = -1;
    text = text.drop(min(n + 1, text.size));
  }
  return true;
}

uint32_t pare::rt::cgroupCpus(Str cgroups, const char *root) {
  uint32_t result = 0;
  while (cgroups.size) {
    // "hierarchy:controllers:path"
    Str line(cgroups.data, cgroups.find('\n'));
    cgroups = cgroups.drop(min(line.size + 1, cgroups.size));
    uint64_t colon = line.find(':');
    if (colon == line.size)
      continue;
    Str rest = line.drop(colon + 1);
    Str controllers(rest.data, rest.find(':'));
    if (controllers.size == rest.size)
      continue;
    Str path = rest.drop(controllers.size + 1);
    bool unified = controllers.size == 0, cpu = false;
    for (Str list = controllers; list.size;) {
      Str name(list.data, list.find(','));
      cpu |= name == "cpu";
      list = list.drop(min(name.size + 1, list.size));
    }
    if (!unified && !cpu)
      continue;
    while (path.endsWith("/"))
      --path.size;
    for (;;) {
      int64_t quota[2] = {-1, -1}, period[2] = {-1, -1};
      if (unified) {
        if (readQuota(root, path, "/cpu.max", quota))
          period[0] = quota[1];
      } else {
        char mount[512];
        Writer(-1, mount, sizeof(mount)).put(root).put("/cpu");
        if (readQuota(mount, path, "/cpu.cfs_quota_us", quota))
          readQuota(mount, path, "/cpu.cfs_period_us", period);
      }
      if (quota[0] > 0 && period[0] > 0) {
        int64_t cpus = quota[0] / period[0] + (quota[0] % period[0] != 0);
        uint32_t bounded = uint32_t(min<int64_t>(cpus, INT_MAX));
        result = result ? min(result, bounded) : bounded;
      }
      if (!path.size)
        break;
      while (path.size && path.data[path.size - 1] != '/')
        --path.size;
      if (path.size)
        --path.size;
    }
  }
  return result;
}

uint32_t pare::rt::usableCpus() {
  uint32_t result = 1;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
    result = uint32_t(max(1, CPU_COUNT(&cpus)));
  Message ignored;
  Bytes cgroups;
  if (readFile("/proc/self/cgroup", cgroups, ignored))
    if (uint32_t quota = cgroupCpus(cgroups.str(), "/sys/fs/cgroup"))
      result = min(result, quota);
  return result;
}
