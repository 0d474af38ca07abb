//===- Levels.cpp - The values that codes stand for -----------------------===//
#include "passes/quantize/encode/Levels.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <limits>

namespace pare::encode {

Levels::Levels(const BlockFormat &format)
    : uniform_(format.codes != CodeKind::Codebook) {
  // An offset below half the codes leaves some out: ternary weights have no 2.
  // Two's complement does without its lowest code, as int8 kernels do.
  unsigned count = 1u << format.bits;
  if (format.codes == CodeKind::Offset && format.offset > 0)
    count = std::min(count, 2u * format.offset + 1);
  if (!uniform_)
    count = std::min<unsigned>(count, format.codebook.size());
  // Of codes that stand for the same value the first is taken.
  llvm::SmallVector<std::pair<float, uint8_t>> levels;
  for (unsigned code = 0; code < count; ++code)
    levels.push_back({format.getValue(uint8_t(code)), uint8_t(code)});
  if (format.codes == CodeKind::Signed)
    levels.erase(llvm::min_element(levels));
  llvm::sort(levels);
  for (auto [value, code] : levels) {
    if (!values_.empty() && values_.back() == value)
      continue;
    if (!values_.empty())
      middles_.push_back(values_.back() + (value - values_.back()) / 2);
    values_.push_back(value);
    codes_.push_back(code);
  }
  low_ = values_.front();
  high_ = values_.back();
  if (!uniform_)
    fillStarts();
}

void Levels::fillStarts() {
  size_t count = middles_.size();
  middles_.push_back(std::numeric_limits<float>::infinity());
  for (uint32_t key = 0; key < 1u << (32 - kKeyShift); ++key) {
    uint32_t bits = key << kKeyShift;
    float first = llvm::bit_cast<float>(bits),
          last = llvm::bit_cast<float>(bits | ((1u << kKeyShift) - 1));
    // Infinity's bucket and those of no numbers have nothing in between.
    if (std::isnan(last)) {
      starts_.push_back(std::signbit(last) ? 0 : uint8_t(count));
      continue;
    }
    auto begin = llvm::lower_bound(middles_, std::min(first, last)),
         end = llvm::lower_bound(middles_, std::max(first, last));
    starts_.push_back(uint8_t(begin - middles_.begin()));
    steps_ = std::max(steps_, unsigned(end - begin));
  }
}

bool Levels::isSymmetric() const {
  if (uniform_)
    return low_ == -high_;
  for (size_t i = 0, e = values_.size(); i < e; ++i)
    if (values_[i] != -values_[e - 1 - i])
      return false;
  return true;
}

float Levels::getStep(float value) const {
  if (uniform_)
    return 1;
  size_t above = llvm::upper_bound(values_, value) - values_.begin();
  above = std::clamp<size_t>(above, 1, values_.size() - 1);
  return values_[above] - values_[above - 1];
}

uint8_t Levels::getCode(float value) const {
  auto found = llvm::lower_bound(values_, value);
  assert(found != values_.end() && *found == value && "no level");
  return codes_[found - values_.begin()];
}

} // namespace pare::encode
