//===- HostTensor.h - Tensors in this process's memory ----------*- C++ -*-===//
#ifndef PARE_PASSES_REFERENCE_HOSTTENSOR_H
#define PARE_PASSES_REFERENCE_HOSTTENSOR_H

#include "frontend/weights/WeightStore.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <vector>

namespace pare {

/// A tensor of static shape with its elements, row-major and little-endian as
/// in the weight store (i1 is a byte). Copies share the elements, which only
/// the maker of a tensor writes.
class HostTensor {
public:
  HostTensor() = default;
  /// A tensor of zeros.
  explicit HostTensor(mlir::RankedTensorType type);
  /// Takes f32 values and stores them as the type's elements.
  HostTensor(mlir::RankedTensorType type, llvm::ArrayRef<float> values);
  HostTensor(mlir::RankedTensorType type, llvm::ArrayRef<int64_t> values);

  /// A view of a weight, which must outlive it (copied where unaligned or
  /// stacked, decoded where in blocks).
  static HostTensor view(const TensorData &weight);
  /// The elements of a constant; an error if it holds none that are known.
  static llvm::Expected<HostTensor> fromAttr(mlir::ElementsAttr value);
  /// The same elements under another type of equal size in bytes.
  HostTensor withType(mlir::RankedTensorType type) const;

  explicit operator bool() const { return bool(type_); }
  mlir::RankedTensorType type() const { return type_; }
  mlir::Type element() const { return type_.getElementType(); }
  llvm::ArrayRef<int64_t> shape() const { return type_.getShape(); }
  int64_t size() const { return type_.getNumElements(); }

  llvm::ArrayRef<uint8_t> bytes() const { return {data_.get(), byteSize_}; }
  llvm::MutableArrayRef<uint8_t> bytes() { return {data_.get(), byteSize_}; }
  /// The elements in their storage type.
  template <typename T> llvm::ArrayRef<T> values() const {
    assert(byteSize_ == size() * sizeof(T));
    return llvm::ArrayRef<T>(reinterpret_cast<const T *>(data_.get()), size());
  }
  template <typename T> llvm::MutableArrayRef<T> values() {
    assert(byteSize_ == size() * sizeof(T));
    return llvm::MutableArrayRef<T>(reinterpret_cast<T *>(data_.get()), size());
  }

  /// All elements converted to float, double or int64_t (floats truncate and
  /// saturate).
  template <typename T> std::vector<T> read() const;
  /// Stores values converted to the element type: integers wrap, floats going
  /// to integers truncate and saturate, booleans are `value != 0`.
  template <typename T> void write(llvm::ArrayRef<T> values);

private:
  mlir::RankedTensorType type_;
  std::shared_ptr<uint8_t> data_;
  size_t byteSize_ = 0;
};

} // namespace pare

#endif
