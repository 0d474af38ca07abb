//===- Report.h - Results for people and as JSON ----------------*- C++ -*-===//
#ifndef PARE_TOOLS_REPORT_H
#define PARE_TOOLS_REPORT_H

#include "backends/cpu/Program.h"
#include "frontend/Importer.h"
#include "passes/prune/Structure.h"
#include "passes/quantize/Int8.h"
#include "llvm/Support/JSON.h"

namespace pare::tools {

/// The middle of `values`, which are not empty.
double median(std::vector<double> values);

/// "22.7 MB", "812 bytes".
std::string formatBytes(uint64_t bytes);

/// "15.3 GFLOP", "812 kFLOP".
std::string formatFlops(int64_t flops);

/// The number, or null where it is not finite: JSON has no infinity.
llvm::json::Value toJson(double value);

llvm::json::Value toJson(llvm::ArrayRef<TensorDecision> decisions);

llvm::json::Value toJson(const PruneReport &pruned);

/// Metadata and tensors of a file; the table is by type, and by tensor where
/// `listTensors` is set.
llvm::json::Value toJson(const FileContents &contents);
void printContents(const FileContents &contents, bool listTensors);

/// The table of what was done to each tensor; equal rows of a repeated layer
/// stay, since each is a tensor that the user knows by name.
void printDecisions(llvm::ArrayRef<TensorDecision> decisions);

/// The table of what pruning left out; nothing where that is nothing.
void printPruned(const PruneReport &pruned);

/// Choices between providers of kernels.
llvm::json::Value toJson(llvm::ArrayRef<cpu::Choice> choices);
void printChoices(llvm::ArrayRef<cpu::Choice> choices);

/// Prints columns with two spaces between: the first is left-aligned, as are
/// those whose number is in `left`.
class Table {
public:
  explicit Table(std::vector<std::string> heads,
                 llvm::ArrayRef<unsigned> left = {});
  void add(std::vector<std::string> row) { rows.push_back(std::move(row)); }
  void print(llvm::raw_ostream &os) const;

private:
  std::vector<std::vector<std::string>> rows; ///< the first: heads
  std::vector<bool> isLeft;
};

} // namespace pare::tools

#endif
