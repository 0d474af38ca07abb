//===- EvalReport.cpp - Figures for people and as JSON --------------------===//
#include "tools/Eval.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace llvm;

namespace pare::tools {

json::Value toJson(const Estimate &estimate) {
  return json::Object{{"value", toJson(estimate.value)},
                      {"error", toJson(estimate.error)}};
}

/// Six digits or so, without an exponent where it can be; of hundredths, two
/// behind the point.
static std::string print(double value, StringRef unit = "") {
  if (!unit.empty())
    return formatv("{0:f2}{1}", value, unit);
  double size = std::abs(value);
  if (size != 0 && size < 1e-4)
    return formatv("{0:e2}", value);
  return size < 10     ? formatv("{0:f6}", value)
         : size < 1000 ? formatv("{0:f4}", value)
                       : formatv("{0:f1}", value);
}

void EvalReport::add(StringRef figure, const Estimate &estimate,
                     StringRef meaning, double scale, StringRef unit) {
  rows.push_back({figure.str(), print(estimate.value * scale, unit),
                  "+- " + print(estimate.error * scale, unit), meaning.str()});
}

void EvalReport::add(StringRef figure, double value, StringRef meaning) {
  rows.push_back({figure.str(), print(value), "", meaning.str()});
}

} // namespace pare::tools
