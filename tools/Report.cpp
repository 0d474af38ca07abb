//===- Report.cpp - Results for people and as JSON ------------------------===//
#include "tools/Report.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace pare::tools {

std::string formatBytes(uint64_t bytes) {
  if (bytes < 10000)
    return formatv("{0} bytes", bytes);
  if (bytes < 10000000)
    return formatv("{0:f1} kB", bytes / 1e3);
  return formatv("{0:f1} MB", bytes / 1e6);
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
                                {"weight_error", d.error}});
  return rows;
}

void printDecisions(ArrayRef<TensorDecision> decisions) {
  if (decisions.empty())
    return;
  Table table(
      {"tensor", "shape", "format", "before", "after", "error", "reason"},
      {1, 2, 6});
  for (const TensorDecision &d : decisions) {
    std::string shape;
    for (int64_t dim : d.shape)
      shape += (shape.empty() ? "" : "x") + std::to_string(dim);
    table.add({d.tensor, shape, d.format, formatBytes(d.bytesBefore),
               formatBytes(d.bytesAfter),
               d.error > 0 ? formatv("{0:f5}", d.error).str() : "0", d.reason});
  }
  table.print(outs());
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
