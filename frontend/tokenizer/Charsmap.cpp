//===- Charsmap.cpp -------------------------------------------------------===//
#include "frontend/tokenizer/Charsmap.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

using Map = std::vector<std::pair<std::string, std::string>>;

Error damaged(const char *what) {
  return createStringError(inconvertibleErrorCode(),
                           "precompiled_charsmap is damaged: %s", what);
}

/// Units of the darts-clone library.
class DoubleArray {
public:
  DoubleArray(StringRef units, StringRef texts) : units(units), texts(texts) {}

  /// Adds every key below node `at`, which `key` leads to. False if damaged.
  bool collect(uint32_t at, std::string &key, Map &map) {
    if (key.size() > maxKey || ++visited > maxVisits)
      return false;
    const uint32_t unit = unitAt(at);
    const uint32_t base = at ^ offsetOf(unit);
    if (unit >> 8 & 1) { // a key ends here
      if (base >= count())
        return false;
      const uint32_t value = unitAt(base) & 0x7fffffff;
      if (value >= texts.size() || key.empty())
        return false;
      StringRef text = texts.drop_front(value);
      text = text.take_front(text.find('\0'));
      if (!json::isUTF8(text) || text.size() > 0xffff || !json::isUTF8(key))
        return false;
      map.push_back({key, text.str()});
    }
    for (uint32_t label = 1; label < 256; ++label) {
      const uint32_t child = base ^ label;
      // A leaf unit has its top bit set and so never equals a label.
      if (child >= count() || (unitAt(child) & 0x800000ff) != label)
        continue;
      key.push_back(char(label));
      if (!collect(child, key, map))
        return false;
      key.pop_back();
    }
    return true;
  }

  uint32_t count() const { return uint32_t(units.size() / 4); }

private:
  static constexpr size_t maxKey = 256, maxVisits = 1 << 22;

  uint32_t unitAt(uint32_t i) const {
    return support::endian::read32le(units.data() + 4 * size_t(i));
  }
  static uint32_t offsetOf(uint32_t unit) {
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
  }

  StringRef units, texts;
  size_t visited = 0; ///< units, which keys with equal tails share
};

} // namespace

Expected<Map> readCharsmapBlob(StringRef blob) {
  if (blob.size() < 4)
    return damaged("it is cut");
  const uint32_t trieBytes = support::endian::read32le(blob.data());
  blob = blob.drop_front(4);
  if (trieBytes > blob.size() || trieBytes % 4 != 0 || trieBytes == 0)
    return damaged("its trie does not fit");
  Map map;
  std::string key;
  DoubleArray trie(blob.take_front(trieBytes), blob.drop_front(trieBytes));
  if (!trie.collect(0, key, map))
    return damaged("its trie is inconsistent");
  return map;
}

} // namespace pare::tokenizer
