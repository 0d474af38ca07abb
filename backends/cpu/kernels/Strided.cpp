//===- Strided.cpp - Iteration spaces of strided operands -----------------===//
#include "backends/cpu/kernels/Strided.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace pare::cpu;

Product::Product(const Extent &extent)
    : scale_(extent.isFixed() ? extent.fixed : 1) {
  if (!extent.isFixed())
    dims_.push_back(extent.dim);
}

Product Product::operator*(const Product &other) const {
  Product result(scale_ * other.scale_);
  if (result.scale_ == 0)
    return result;
  result.dims_ = dims_;
  result.dims_.append(other.dims_);
  llvm::sort(result.dims_);
  return result;
}

std::optional<int64_t> Product::constant() const {
  return dims_.empty() ? std::optional(scale_) : std::nullopt;
}

Value Product::value(KernelBuilder &b) const {
  Value v = b.idx(scale_);
  for (unsigned dim : dims_)
    v = b.mul(v, b.extent(Extent::runtime(dim)));
  return v;
}

int64_t Product::evaluate(llvm::ArrayRef<int64_t> dims) const {
  int64_t v = scale_;
  for (unsigned dim : dims_)
    v *= dims[dim];
  return v;
}

Product pare::cpu::product(llvm::ArrayRef<Product> factors) {
  Product result;
  for (const Product &factor : factors)
    result = result * factor;
  return result;
}

int64_t Grid::tasks(llvm::ArrayRef<int64_t> dims) const {
  int64_t n = 1;
  for (const Factor &f : factors)
    n *= llvm::divideCeil(f.size.evaluate(dims), f.block);
  return n;
}

SmallVector<Product> pare::cpu::denseStrides(llvm::ArrayRef<Extent> shape,
                                             llvm::ArrayRef<bool> broadcast) {
  SmallVector<Product> strides(shape.size(), Product(0));
  Product stride;
  for (unsigned i = shape.size(); i-- > 0;) {
    if (!broadcast.empty() && broadcast[i])
      continue;
    strides[i] = stride;
    stride = stride * shape[i];
  }
  return strides;
}

void Space::push(const Product &extent,
                 llvm::ArrayRef<Product> operandStrides) {
  extents.push_back(extent);
  for (auto [all, stride] : llvm::zip(strides, operandStrides))
    all.push_back(stride);
}

void Space::collapse() {
  Space result;
  result.strides.resize(strides.size());
  for (unsigned axis = 0; axis < rank(); ++axis) {
    if (extents[axis].is(1))
      continue;
    SmallVector<Product> here;
    for (const auto &s : strides)
      here.push_back(s[axis]);
    bool merges = result.rank() != 0;
    for (auto [kept, stride] : llvm::zip(result.strides, here))
      merges = merges && kept.back() == stride * extents[axis];
    if (!merges) {
      result.push(extents[axis], here);
      continue;
    }
    result.extents.back() = result.extents.back() * extents[axis];
    for (auto [kept, stride] : llvm::zip(result.strides, here))
      kept.back() = stride;
  }
  if (result.rank() == 0)
    result.push(Product(1), SmallVector<Product>(strides.size(), Product(1)));
  *this = std::move(result);
}

Product Space::size(unsigned first, unsigned last) const {
  return product(ArrayRef(extents).slice(first, last - first));
}

/// Index on each of the axes [first, last) of position `flat`.
static SmallVector<Value> indicesAt(KernelBuilder &b, const Space &space,
                                    unsigned first, unsigned last, Value flat) {
  SmallVector<Value> indices(last - first);
  for (unsigned axis = last; axis-- > first;) {
    Value extent = space.extents[axis].value(b);
    indices[axis - first] = axis == first ? flat : b.rem(flat, extent);
    flat = b.divFloor(flat, extent);
  }
  return indices;
}

static SmallVector<Value> offsetsOf(KernelBuilder &b, const Space &space,
                                    unsigned first, ValueRange indices) {
  SmallVector<Value> offsets(space.strides.size(), b.idx(0));
  for (auto [offset, strides] : llvm::zip(offsets, space.strides))
    for (auto [i, index] : llvm::enumerate(indices))
      offset = b.add(offset, b.mul(index, strides[first + i].value(b)));
  return offsets;
}

SmallVector<Value> pare::cpu::offsetsAt(KernelBuilder &b, const Space &space,
                                        unsigned first, unsigned last,
                                        Value flat) {
  return offsetsOf(b, space, first, indicesAt(b, space, first, last, flat));
}

void pare::cpu::forPositions(
    KernelBuilder &b, const Space &space, unsigned axes, Value begin, Value end,
    llvm::function_ref<void(Value, ArrayRef<Value>)> body) {
  SmallVector<Value> start = indicesAt(b, space, 0, axes, begin);
  b.loop(begin, end, 1, start,
         [&](Value flat, ValueRange indices) -> SmallVector<Value> {
           body(flat, offsetsOf(b, space, 0, indices));
           SmallVector<Value> next(indices);
           Value carry;
           for (unsigned axis = axes; axis-- > 0;) {
             Value stepped = b.add(next[axis], 1);
             if (carry)
               stepped = arith::SelectOp::create(b, carry, stepped, next[axis]);
             next[axis] = stepped;
             if (axis == 0)
               break;
             carry = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, stepped,
                                           space.extents[axis].value(b));
             next[axis] = arith::SelectOp::create(b, carry, b.idx(0), stepped);
           }
           return next;
         });
}
