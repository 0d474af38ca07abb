//===- ShapeSpec.cpp - Input shapes as users write them -------------------===//
#include "frontend/ShapeSpec.h"
#include "llvm/ADT/StringExtras.h"

namespace pare {

/// Largest size of one dimension: products of a few stay within 63 bits.
static constexpr int64_t maxSize = int64_t(1) << 31;

static bool consumeSize(llvm::StringRef &text, int64_t &value) {
  return !text.consumeInteger(10, value) && value >= 1 && value <= maxSize;
}

/// Names start with a letter or `_`, so that no misspelt number is one. Bytes
/// beyond ASCII count as letters.
static bool isName(llvm::StringRef text) {
  auto isLetter = [](char c) {
    return llvm::isAlpha(c) || c == '_' || static_cast<signed char>(c) < 0;
  };
  return !text.empty() && isLetter(text.front()) &&
         llvm::all_of(text, [&](char c) {
           return isLetter(c) || llvm::isDigit(c) || c == '.' || c == '-';
         });
}

static bool parseDim(llvm::StringRef &text, DimSpec &dim) {
  if (text.consume_front("?"))
    return true;
  if (!text.empty() && llvm::isDigit(text.front()))
    return consumeSize(text, dim.size.emplace());
  size_t end = text.find_first_of(":,");
  dim.name = text.take_front(end).str();
  text = text.drop_front(dim.name.size());
  if (!isName(dim.name))
    return false;
  if (!text.consume_front(":"))
    return true;
  return consumeSize(text, dim.min) && text.consume_front("..") &&
         consumeSize(text, dim.max) && dim.min <= dim.max;
}

llvm::Expected<std::vector<DimSpec>> parseShapeSpec(llvm::StringRef text,
                                                    llvm::StringRef input) {
  std::vector<DimSpec> dims;
  llvm::StringRef rest = text;
  bool valid = true;
  while (valid) {
    valid = parseDim(rest, dims.emplace_back());
    if (!valid || rest.empty())
      break;
    valid = rest.consume_front("x") || rest.consume_front(",");
  }
  if (!valid)
    return llvm::createStringError(
        "shape of input '" + input + "': cannot read '" + text +
        "' (write 1x3x48x320, or batch:1..16x128 to keep a dimension dynamic)");
  return dims;
}

} // namespace pare
