//===- Threads.h - The thread pool ------------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_THREADS_H
#define PARE_BACKENDS_RUNTIME_THREADS_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// Threads that run the independent tasks of one step at a time, the caller
/// being worker 0. Between steps of a run the others spin; they sleep when
/// nothing comes for a while. Tasks are claimed in order from an atomic
/// counter, so a worker that is late costs nothing.
class ThreadPool {
public:
  /// Returns null when memory is short. May have fewer threads than asked for
  /// where the system refuses them.
  static ThreadPool *create(uint32_t threads);
  void destroy();

  uint32_t threads() const { return numThreads; }

  /// Brackets a sequence of calls to parallelFor: workers stay awake in it.
  void begin();
  void end();

  /// Calls task(state, i, worker) for each i in [0, count).
  void parallelFor(int64_t count, PareTask task, void *state);

private:
  struct Worker;

  void workerMain(uint32_t index);
  bool claim(uint32_t &first, uint32_t &count);
  void help(uint32_t worker);
  void runBatch(uint32_t count);
  void wake(uint32_t count);

  // `job` holds the step's number in its upper and the count of unclaimed tasks
  // in its lower half. A claim lowers the count by compare-and-swap, which
  // fails if another step has begun, so a late worker never takes a task of a
  // step that it has not seen.
  alignas(64) uint64_t job;
  alignas(64) uint32_t done;
  uint32_t callerSleeps;
  alignas(64) uint32_t epoch;
  uint32_t sleepers;
  uint32_t running; // inside begin/end
  uint32_t stopping;

  alignas(64) PareTask task;
  void *state;
  int64_t offset;
  uint32_t jobSize;
  uint32_t step;
  uint32_t numThreads;
  bool oversubscribed;
  Worker *workers;
};

/// Number of CPUs that this process may use: its affinity mask, bounded by the
/// cgroup's CPU quota, rounded up. At least 1.
uint32_t usableCpus();

/// The CPU quota of a process whose /proc/self/cgroup reads `cgroups`, from
/// the cgroup file systems (v1 and v2) under `root` ("/sys/fs/cgroup"), over
/// all parents: in CPUs, rounded up; 0 if there is no limit.
uint32_t cgroupCpus(Str cgroups, const char *root);

} // namespace pare::rt

#endif
