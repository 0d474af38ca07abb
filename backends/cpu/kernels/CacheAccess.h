//===- CacheAccess.h - Addresses in caches ----------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_CACHEACCESS_H
#define PARE_BACKENDS_CPU_KERNELS_CACHEACCESS_H

#include "backends/cpu/CacheLayout.h"
#include "backends/cpu/kernels/Cache.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace pare::cpu {

/// The caches that rows see, as pointers.
class CacheAccess {
public:
  CacheAccess(KernelBuilder &b, const CacheSpec &spec) : b(b), spec(spec) {}

  /// An i32 of a row as an index.
  mlir::Value number(unsigned ptr, mlir::Value row) {
    return b.toIndex(b.load(b.getI32Type(), b.ptr(ptr), row));
  }
  mlir::Value position(mlir::Value row) {
    return number(spec.ptrPositions, row);
  }
  mlir::Value sequence(mlir::Value row) {
    return number(spec.ptrSequences, row);
  }

  /// The keys, and the values, of a head of a sequence.
  mlir::Value keys(mlir::Value sequence, mlir::Value head) {
    return region(sequence, head);
  }
  mlir::Value values(mlir::Value sequence, mlir::Value head) {
    return region(sequence, b.add(head, spec.kvHeads));
  }

  bool hasScales() const { return spec.type == PARE_I8; }
  /// The block of a region that holds a position. Behind the capacity positions
  /// go on at the start.
  mlir::Value block(mlir::Value region, mlir::Value position) {
    mlir::Value index = b.divFloor(b.rem(position, spec.capacity), kCacheBlock);
    return b.gep(b.getI8Type(), region,
                 b.mul(index, getCacheBlockBytes(spec.headDim,
                                                 elementBytes(spec.type))));
  }
  mlir::Value lane(mlir::Value position) {
    return b.rem(position, kCacheBlock);
  }
  /// The f32 scales of a block's positions.
  mlir::Value scales(mlir::Value block) {
    return b.gep(b.getI8Type(), block, b.idx(kCacheBlock * spec.headDim));
  }

private:
  mlir::Value region(mlir::Value sequence, mlir::Value index) {
    mlir::Type pointer = mlir::LLVM::LLVMPointerType::get(b.getContext());
    mlir::Value base = b.load(pointer, b.ptr(spec.ptrCaches), sequence);
    mlir::Value bytes =
        b.add(b.extent(spec.offset), b.mul(index, spec.regionBytes));
    return b.gep(b.getI8Type(), base, bytes);
  }

  KernelBuilder &b;
  const CacheSpec &spec;
};

} // namespace pare::cpu

#endif
