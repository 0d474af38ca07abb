//===- Npy.cpp - .npy files -----------------------------------------------===//
#include "backends/runtime/Npy.h"
#include "tests/fuzz/Check.h"
#include <vector>

using namespace pare;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  rt::NpyView view;
  rt::Message error;
  if (!rt::parseNpy({reinterpret_cast<const char *>(data), size}, view,
                    error)) {
    fuzz::check(!error.empty(), "a refusal has a cause");
    return 0;
  }
  fuzz::check(view.tensor.bytes <= size, "an array lies in its file");
  std::vector<uint8_t> copy(view.tensor.bytes);
  rt::copyNpy(view, copy.data());
  return 0;
}
