//===- Report.cpp - Results for people and as JSON ------------------------===//
#include "tools/Report.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace llvm;

namespace pare::tools {

double median(std::vector<double> values) {
  llvm::sort(values);
  size_t half = values.size() / 2;
  return values.size() % 2 ? values[half]
                           : (values[half - 1] + values[half]) / 2;
}

std::string formatBytes(uint64_t bytes) {
  if (bytes < 10000)
    return formatv("{0} bytes", bytes);
  if (bytes < 10000000)
    return formatv("{0:f1} kB", bytes / 1e3);
  return formatv("{0:f1} MB", bytes / 1e6);
}

static std::string formatBits(uint64_t bytes, uint64_t elements) {
  return elements ? formatv("{0:f3}", 8.0 * double(bytes) / double(elements))
                  : std::string("-");
}

json::Value toJson(const FileContents &contents) {
  json::Object metadata;
  for (const auto &[key, value] : contents.metadata)
    metadata[json::fixUTF8(key)] = json::fixUTF8(value);
  json::Array tensors;
  for (const FileContents::Tensor &tensor : contents.tensors)
    tensors.push_back(json::Object{{"name", json::fixUTF8(tensor.name)},
                                   {"type", tensor.type},
                                   {"shape", json::Array(tensor.shape)},
                                   {"bytes", int64_t(tensor.bytes)}});
  return json::Object{{"format", contents.format},
                      {"summary", contents.summary},
                      {"metadata", std::move(metadata)},
                      {"tensors", std::move(tensors)}};
}

/// One row per type, most bytes first, and their sum.
static void printTypes(ArrayRef<FileContents::Tensor> tensors) {
  struct Sum {
    uint64_t count = 0, elements = 0, bytes = 0;
  };
  StringMap<Sum> byType;
  Sum all;
  for (const FileContents::Tensor &tensor : tensors)
    for (Sum *sum : {&byType[tensor.type], &all}) {
      ++sum->count;
      sum->elements += tensor.elements;
      sum->bytes += tensor.bytes;
    }
  std::vector<std::pair<std::string, Sum>> rows;
  for (const auto &item : byType)
    rows.emplace_back(item.getKey().str(), item.getValue());
  llvm::sort(rows, [](const auto &a, const auto &b) {
    return std::tuple(b.second.bytes, a.first) <
           std::tuple(a.second.bytes, b.first);
  });
  rows.emplace_back("all", all);
  Table table({"type", "tensors", "weights", "size", "bits per weight"});
  for (const auto &[name, sum] : rows)
    table.add({name, std::to_string(sum.count), formatv("{0:n}", sum.elements),
               formatBytes(sum.bytes), formatBits(sum.bytes, sum.elements)});
  table.print(outs());
}

void printContents(const FileContents &contents, bool listTensors) {
  outs() << contents.format << "\n";
  if (!contents.summary.empty())
    outs() << contents.summary << "\n";
  outs() << "\n";
  Table metadata({"key", "value"}, {1});
  for (const auto &[key, value] : contents.metadata)
    metadata.add({key, value});
  metadata.print(outs());
  outs() << "\n";
  if (listTensors) {
    Table table({"tensor", "type", "shape", "size", "bits per weight"}, {1, 2});
    for (const FileContents::Tensor &tensor : contents.tensors)
      table.add({tensor.name, tensor.type, printShape(tensor.shape),
                 formatBytes(tensor.bytes),
                 formatBits(tensor.bytes, tensor.elements)});
    table.print(outs());
    outs() << "\n";
  }
  printTypes(contents.tensors);
  outs() << "\n";
}

std::string formatFlops(int64_t flops) {
  if (flops < 10000000)
    return formatv("{0:f1} kFLOP", double(flops) / 1e3);
  if (flops < 10000000000)
    return formatv("{0:f1} MFLOP", double(flops) / 1e6);
  return formatv("{0:f1} GFLOP", double(flops) / 1e9);
}

json::Value toJson(double value) {
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

json::Value toJson(ArrayRef<TensorDecision> decisions) {
  json::Array rows;
  for (const TensorDecision &d : decisions)
    rows.push_back(json::Object{{"tensor", d.tensor},
                                {"shape", json::Array(d.shape)},
                                {"format", d.format},
                                {"bytes_before", int64_t(d.bytesBefore)},
                                {"bytes_after", int64_t(d.bytesAfter)},
                                {"reason", d.reason},
                                {"weight_error", d.error},
                                {"zeros", d.zeros}});
  return rows;
}

void printDecisions(ArrayRef<TensorDecision> decisions) {
  if (decisions.empty())
    return;
  bool isPruned =
      any_of(decisions, [](const TensorDecision &d) { return d.zeros > 0; });
  std::vector<std::string> heads = {"tensor", "shape", "format", "before",
                                    "after",  "error", "reason"};
  if (isPruned)
    heads.insert(heads.end() - 1, "zeros");
  Table table(heads, {1, 2, unsigned(heads.size() - 1)});
  for (const TensorDecision &d : decisions) {
    std::vector<std::string> row = {
        d.tensor,
        printShape(d.shape),
        d.format,
        formatBytes(d.bytesBefore),
        formatBytes(d.bytesAfter),
        d.error > 0 ? formatv("{0:f5}", d.error).str() : "0"};
    if (isPruned)
      row.push_back(formatv("{0:f1}%", 100 * d.zeros));
    row.push_back(d.reason);
    table.add(std::move(row));
  }
  table.print(outs());
  if (auto count = count_if(
          decisions, [](const TensorDecision &d) { return d.storesZeros; }))
    outs() << formatv("zeros of {0} weights are stored: they save neither "
                      "bytes nor time\n",
                      count);
}

json::Value toJson(const PruneReport &pruned) {
  json::Array rows;
  for (const PruneDecision &d : pruned.decisions)
    rows.push_back(json::Object{{"kind", d.kind},
                                {"name", d.name},
                                {"from", d.from},
                                {"to", d.to},
                                {"score", d.score},
                                {"lost", toJson(d.lost)}});
  return json::Object{{"flops_before", pruned.flopsBefore},
                      {"flops_after", pruned.flopsAfter},
                      {"parts", std::move(rows)}};
}

void printPruned(const PruneReport &pruned) {
  if (pruned.decisions.empty())
    return;
  Table table({"pruned", "of", "from", "to", "by", "importance lost"}, {1, 4});
  for (const PruneDecision &d : pruned.decisions)
    table.add({d.kind, d.name, std::to_string(d.from), std::to_string(d.to),
               d.score, formatv("{0:f4}", d.lost)});
  table.print(outs());
  outs() << formatv(
      "{0} of arithmetic, before {1}: {2:f1}% less\n",
      formatFlops(pruned.flopsAfter), formatFlops(pruned.flopsBefore),
      100 * (1 - double(pruned.flopsAfter) / double(pruned.flopsBefore)));
}

json::Value toJson(ArrayRef<cpu::Choice> choices) {
  json::Array rows;
  for (const cpu::Choice &c : choices)
    rows.push_back(json::Object{{"value", c.name},
                                {"op", c.op},
                                {"provider", c.provider},
                                {"reason", c.reason}});
  return rows;
}

void printChoices(ArrayRef<cpu::Choice> choices) {
  if (choices.empty())
    return;
  Table table({"value", "op", "kernel", "reason"}, {1, 2, 3});
  for (const cpu::Choice &c : choices)
    table.add({c.name, c.op, c.provider, c.reason});
  table.print(outs());
}

Table::Table(std::vector<std::string> heads, ArrayRef<unsigned> left)
    : isLeft(heads.size()) {
  isLeft.front() = true;
  for (unsigned column : left)
    isLeft[column] = true;
  rows.push_back(std::move(heads));
}

void Table::print(raw_ostream &os) const {
  std::vector<size_t> widths(isLeft.size());
  for (const auto &row : rows)
    for (auto [width, cell] : zip_equal(widths, row))
      width = std::max(width, cell.size());
  for (const auto &row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      std::string padding(widths[i] - row[i].size(), ' ');
      line += i ? "  " : "";
      line += isLeft[i] ? row[i] + padding : padding + row[i];
    }
    os << StringRef(line).rtrim(' ') << "\n";
  }
}

} // namespace pare::tools
