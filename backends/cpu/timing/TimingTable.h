//===- TimingTable.h - Measured kernel times of a machine -------*- C++ -*-===//
//
// `pare tune` measures kernels on a machine and writes this table; compiling
// reads it and times nothing, so that the same input gives the same artifact.
// A file has three header lines and a row per measurement:
//
//   # comments and empty lines are skipped
//   target x86-64-v3
//   machine AMD EPYC (family 25, model 1)
//   date 2026-11-24
//   matmul f32 128 384 1536 generated 1413000
//
// A row is op, weight format, M, K, N, provider and nanoseconds on one thread.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_TIMING_TIMINGTABLE_H
#define PARE_BACKENDS_CPU_TIMING_TIMINGTABLE_H

#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace pare::cpu {

/// A product of M x K by K x N, or a convolution seen as one.
struct ProductShape {
  int64_t m, k, n;
};

class TimingTable {
public:
  struct Estimate {
    double nanoseconds; ///< on one thread
    bool measured;      ///< K and N are in the table; false: scaled by FLOPs
  };

  std::string target;  ///< as `--target` takes it
  std::string machine; ///< for people
  std::string date;    ///< of the measurement: YYYY-MM-DD

  /// Parses a table. An error is one line with `source` and the line number.
  static llvm::Expected<TimingTable> parse(llvm::StringRef text,
                                           llvm::StringRef source);
  static llvm::Expected<TimingTable> read(llvm::StringRef path);

  /// The table of `target` that is installed beside the running program
  /// (lib/pare/timings/TARGET.txt); an empty one where none ships.
  static llvm::Expected<TimingTable> findShipped(llvm::StringRef target);

  void write(llvm::raw_ostream &os) const;

  /// Adds a measurement in place of an earlier one.
  void add(llvm::StringRef op, llvm::StringRef format, llvm::StringRef provider,
           ProductShape shape, int64_t nanoseconds);

  struct Measurement {
    std::string op, format, provider;
    ProductShape shape;
    int64_t nanoseconds;
  };
  /// All of them, in the order in which they are written.
  std::vector<Measurement> measurements() const;

  /// The time of a kernel. Linear in M between the rows of equal K and N;
  /// beyond the last row it grows with M, before the first it is the first's.
  /// Other shapes: the rows of the nearest K and N, scaled by FLOPs. nullopt:
  /// there is none within a factor of 16.
  std::optional<Estimate> estimate(llvm::StringRef op, llvm::StringRef format,
                                   llvm::StringRef provider,
                                   ProductShape shape) const;

  bool empty() const { return curves_.empty(); }

private:
  using Curve = std::map<int64_t, int64_t>; ///< M to nanoseconds
  using Weights = std::map<std::pair<int64_t, int64_t>, Curve>; ///< by K, N
  /// By op, format and provider.
  std::map<std::tuple<std::string, std::string, std::string>, Weights> curves_;
};

} // namespace pare::cpu

#endif
