//===- Strided.h - Iteration spaces of strided operands ---------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_STRIDED_H
#define PARE_BACKENDS_CPU_KERNELS_STRIDED_H

#include "backends/cpu/kernels/KernelBuilder.h"
#include "llvm/ADT/SmallVector.h"

namespace pare::cpu {

/// A number times run-time dims: an extent, a stride or a size. Equal products
/// compare equal, so that strides can be compared when a kernel is generated.
class Product {
public:
  Product(int64_t scale = 1) : scale_(scale) {}
  Product(const Extent &extent);

  Product operator*(const Product &other) const;
  bool operator==(const Product &) const = default;
  std::optional<int64_t> constant() const;
  bool is(int64_t value) const { return constant() == value; }

  mlir::Value value(KernelBuilder &b) const; ///< of index type
  int64_t evaluate(llvm::ArrayRef<int64_t> dims) const;
  llvm::ArrayRef<unsigned> dims() const { return dims_; }
  int64_t scale() const { return scale_; }

private:
  int64_t scale_;
  llvm::SmallVector<unsigned, 3> dims_; ///< sorted, with repetition
};

Product product(llvm::ArrayRef<Product> factors);

/// The number of tasks of a kernel: the product of ceil(size / block) over the
/// factors. It depends on shapes alone.
struct Grid {
  struct Factor {
    Product size;
    int64_t block = 1;
  };
  llvm::SmallVector<Factor, 2> factors;
  int64_t tasks(llvm::ArrayRef<int64_t> dims = {}) const;
};

/// Strides, in elements, of a row-major tensor that is broadcast to `shape`:
/// `broadcast[i]` says that it has extent 1 on axis i (empty: on none).
llvm::SmallVector<Product> denseStrides(llvm::ArrayRef<Extent> shape,
                                        llvm::ArrayRef<bool> broadcast = {});

/// Operands that are traversed together: strides[operand][axis].
struct Space {
  llvm::SmallVector<Product> extents;
  llvm::SmallVector<llvm::SmallVector<Product>> strides;

  unsigned rank() const { return extents.size(); }
  /// Drops axes of extent 1 and merges neighbours that every operand walks
  /// through as one. At least one axis remains.
  void collapse();
  /// Appends an axis, innermost.
  void push(const Product &extent, llvm::ArrayRef<Product> operandStrides);
  /// Product of the extents of axes [first, last).
  Product size(unsigned first, unsigned last) const;
};

/// Element offset of every operand at position `flat` of the axes
/// [first, last) of `space`, counted in row-major order.
llvm::SmallVector<mlir::Value> offsetsAt(KernelBuilder &b, const Space &space,
                                         unsigned first, unsigned last,
                                         mlir::Value flat);

/// Visits positions [begin, end) of the first `axes` axes of `space` in
/// row-major order, with the element offsets of its operands. Divides once, not
/// at each position.
void forPositions(KernelBuilder &b, const Space &space, unsigned axes,
                  mlir::Value begin, mlir::Value end,
                  llvm::function_ref<void(mlir::Value flat,
                                          llvm::ArrayRef<mlir::Value> offsets)>
                      body);

} // namespace pare::cpu

#endif
