//===- Evaluate.cpp - Shape arithmetic at import --------------------------===//
//
// Ops on tensors whose elements are all known. Each function returns the result
// or nothing, in which case the op is imported like any other.
//
//===----------------------------------------------------------------------===//
#include "frontend/onnx/OpTable.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using pare::nn::BinaryKind;
using pare::nn::UnaryKind;

namespace pare::onnximport {
namespace {

using Result = std::optional<Contents>;

int64_t getCount(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (__builtin_mul_overflow(count, size, &count))
      return INT64_MAX;
  return count;
}

/// Whether a result of this shape is small enough to be kept by elements.
bool isSmall(ArrayRef<int64_t> shape, Type element) {
  return getCount(shape) <=
         (isa<FloatType>(element) ? kMaxKnownFloats : kMaxKnownIntegers);
}

std::optional<SmallVector<int64_t>> broadcastShapes(ArrayRef<int64_t> a,
                                                    ArrayRef<int64_t> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  SmallVector<int64_t> result(a);
  size_t skip = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    int64_t &size = result[skip + i];
    if (size == 1)
      size = b[i];
    else if (b[i] != 1 && b[i] != size)
      return std::nullopt;
  }
  return result;
}

/// Index into a broadcast operand of the element at `index` of `shape`.
int64_t broadcastIndex(int64_t index, ArrayRef<int64_t> shape,
                       ArrayRef<int64_t> operand) {
  int64_t result = 0, stride = 1;
  for (size_t i = 0; i < operand.size(); ++i) {
    int64_t size = shape[shape.size() - 1 - i];
    int64_t own = operand[operand.size() - 1 - i];
    if (own != 1)
      result += (index % size) * stride;
    index /= size;
    stride *= own;
  }
  return result;
}

const Element &at(const Contents &contents, int64_t index,
                  ArrayRef<int64_t> shape) {
  return contents.values[broadcastIndex(index, shape, contents.shape)];
}

Result evaluateBinary(const Node &node, BinaryKind kind) {
  const Contents *a = node.getContents(0), *b = node.getContents(1);
  if (!a || !b || a->element != b->element)
    return std::nullopt;
  auto shape = broadcastShapes(a->shape, b->shape);
  bool compares =
      kind >= BinaryKind::equal && kind <= BinaryKind::greater_equal;
  Type element = compares ? Type(node.getBuilder().getI1Type()) : a->element;
  if (!shape || !isSmall(*shape, element) || (compares && a->isFloat()))
    return std::nullopt;
  Contents result{element, *shape, {}};
  Algebra algebra(node.getGraph());
  for (int64_t i = 0, e = getCount(*shape); i < e; ++i) {
    std::optional<Element> value =
        algebra.apply(kind, at(*a, i, *shape), at(*b, i, *shape), a->element);
    if (!value)
      return std::nullopt;
    result.values.push_back(*value);
  }
  return result;
}

Result evaluateUnary(const Node &node, UnaryKind kind) {
  Contents result = *node.getContents(0);
  Algebra algebra(node.getGraph());
  for (Element &value : result.values) {
    std::optional<Element> applied = algebra.apply(kind, value, result.element);
    if (!applied)
      return std::nullopt;
    value = *applied;
  }
  return result;
}

Result evaluateCast(const Node &node) {
  Type to = node.getTypeAttribute("to", 0);
  return to ? castContents(node, *node.getContents(0), to) : std::nullopt;
}

Result evaluateWhere(const Node &node) {
  const Contents *condition = node.getContents(0), *a = node.getContents(1),
                 *b = node.getContents(2);
  if (!condition || !a || !b || a->element != b->element ||
      !condition->element.isInteger(1))
    return std::nullopt;
  auto shape = broadcastShapes(a->shape, b->shape);
  if (shape)
    shape = broadcastShapes(*shape, condition->shape);
  if (!shape || !isSmall(*shape, a->element))
    return std::nullopt;
  Contents result{a->element, *shape, {}};
  for (int64_t i = 0, e = getCount(*shape); i < e; ++i) {
    std::optional<double> isTrue = at(*condition, i, *shape).getNumber();
    if (!isTrue)
      return std::nullopt;
    result.values.push_back(at(*isTrue != 0 ? *a : *b, i, *shape));
  }
  return result;
}

Result evaluateGather(const Node &node) {
  const Contents *data = node.getContents(0), *indices = node.getContents(1);
  std::optional<int64_t> axis =
      normalizeAxis(node.getInt("axis", 0), data->rank());
  std::optional<SmallVector<int64_t>> wanted;
  if (indices)
    wanted = indices->getIntegers();
  if (!axis || !wanted)
    return std::nullopt;
  int64_t size = data->shape[*axis];
  int64_t outer = getCount(ArrayRef(data->shape).take_front(*axis));
  int64_t inner = getCount(ArrayRef(data->shape).drop_front(*axis + 1));
  Contents result{data->element,
                  SmallVector<int64_t>(ArrayRef(data->shape).take_front(*axis)),
                  {}};
  result.shape.append(indices->shape.begin(), indices->shape.end());
  result.shape.append(data->shape.begin() + *axis + 1, data->shape.end());
  if (!isSmall(result.shape, result.element))
    return std::nullopt;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t index : *wanted) {
      std::optional<int64_t> row = normalizeAxis(index, size);
      if (!row) {
        node.fail("index " + Twine(index) + " is outside of an axis of size " +
                  Twine(size));
        return std::nullopt;
      }
      auto first = data->values.begin() + (o * size + *row) * inner;
      result.values.append(first, first + inner);
    }
  return result;
}

/// Slice of a tensor with one axis, which is what shapes have.
Result evaluateSlice(const Node &node) {
  const Contents *data = node.getContents(0);
  if (data->rank() != 1)
    return std::nullopt;
  auto read = [&](unsigned i, int64_t fallback) -> std::optional<int64_t> {
    if (!node.hasInput(i))
      return fallback;
    std::optional<SmallVector<int64_t>> values =
        node.getContents(i)->getIntegers();
    return values && values->size() == 1 ? std::optional(values->front())
                                         : std::nullopt;
  };
  std::optional<int64_t> start = read(1, 0), end = read(2, 0),
                         axis = read(3, 0), step = read(4, 1);
  if (!start || !end || !axis || !step || !normalizeAxis(*axis, 1) ||
      *step == 0 || *step == INT64_MIN)
    return std::nullopt;
  int64_t size = data->shape[0];
  bool forward = *step > 0;
  auto clamp = [&](int64_t value) {
    if (value < 0)
      value += size;
    return forward ? std::clamp<int64_t>(value, 0, size)
                   : std::clamp<int64_t>(value, -1, size - 1);
  };
  int64_t first = clamp(*start), last = clamp(*end);
  Contents result{data->element, {0}, {}};
  for (int64_t i = first; forward ? i < last : i > last;) {
    result.values.push_back(data->values[i]);
    if (__builtin_add_overflow(i, *step, &i))
      break;
  }
  result.shape[0] = int64_t(result.values.size());
  return result;
}

Result evaluateConcat(const Node &node) {
  const Contents *first = node.getContents(0);
  if (!first || first->rank() != 1 || !normalizeAxis(node.getInt("axis", 0), 1))
    return std::nullopt;
  Contents result{first->element, {0}, {}};
  for (unsigned i = 0; i < node.getNumInputs(); ++i) {
    const Contents *input = node.getContents(i);
    if (!input || input->rank() != 1 || input->element != first->element)
      return std::nullopt;
    result.values.append(input->values);
  }
  result.shape[0] = int64_t(result.values.size());
  return isSmall(result.shape, result.element) ? Result(result) : std::nullopt;
}

/// Reshape, Flatten, Squeeze and Unsqueeze keep elements in order; the type of
/// the result follows from counting.
Result evaluateReshape(const Node &node) {
  Contents result = *node.getContents(0);
  std::optional<SmallVector<int64_t>> wanted =
      node.getContents(1) ? node.getContents(1)->getIntegers() : std::nullopt;
  if (!wanted)
    return std::nullopt;
  int64_t total = int64_t(result.values.size()), known = 1;
  int64_t open = -1;
  for (auto [i, size] : llvm::enumerate(*wanted)) {
    if (size == 0 && !node.getInt("allowzero", 0) && i < result.shape.size())
      size = result.shape[i];
    if (size == -1 && open < 0)
      open = int64_t(i);
    else if (size < 0 || __builtin_mul_overflow(known, size, &known))
      return std::nullopt;
  }
  if (open >= 0) {
    if (known == 0 || total % known != 0)
      return std::nullopt;
    (*wanted)[open] = total / known;
  } else if (known != total) {
    return std::nullopt;
  }
  result.shape = *wanted;
  return result;
}

Result evaluateSqueeze(const Node &node) {
  Contents result = *node.getContents(0);
  std::optional<SmallVector<int64_t>> axes = node.getAxes(1, 13, result.rank());
  SmallVector<int64_t> shape;
  for (auto [i, size] : llvm::enumerate(result.shape)) {
    bool drops = axes ? llvm::is_contained(*axes, int64_t(i)) : size == 1;
    if (drops && size != 1)
      return std::nullopt;
    if (!drops)
      shape.push_back(size);
  }
  result.shape = shape;
  return result;
}

Result evaluateUnsqueeze(const Node &node) {
  Contents result = *node.getContents(0);
  int64_t added =
      node.getOpset() >= 13
          ? (node.getContents(1) ? int64_t(node.getContents(1)->values.size())
                                 : 0)
          : int64_t(node.getInts("axes").size());
  int64_t rank = result.rank() + added;
  std::optional<SmallVector<int64_t>> axes = node.getAxes(1, 13, rank);
  if (!axes)
    return std::nullopt;
  SmallVector<int64_t> shape;
  for (int64_t i = 0, from = 0; i < rank; ++i)
    shape.push_back(llvm::is_contained(*axes, i) ? 1 : result.shape[from++]);
  result.shape = shape;
  return result;
}

Result evaluateExpand(const Node &node) {
  const Contents *data = node.getContents(0);
  std::optional<SmallVector<int64_t>> wanted =
      node.getContents(1) ? node.getContents(1)->getIntegers() : std::nullopt;
  if (!wanted || llvm::any_of(*wanted, [](int64_t size) { return size < 0; }))
    return std::nullopt;
  auto shape = broadcastShapes(data->shape, *wanted);
  if (!shape || !isSmall(*shape, data->element))
    return std::nullopt;
  Contents result{data->element, *shape, {}};
  for (int64_t i = 0, e = getCount(*shape); i < e; ++i)
    result.values.push_back(at(*data, i, *shape));
  return result;
}

Result evaluateRange(const Node &node) {
  SmallVector<int64_t> bounds;
  const Contents *first = node.getContents(0);
  for (unsigned i = 0; i < 3; ++i) {
    const Contents *bound = node.getContents(i);
    std::optional<SmallVector<int64_t>> value =
        bound && !bound->isFloat() ? bound->getIntegers() : std::nullopt;
    if (!value || value->size() != 1)
      return std::nullopt;
    bounds.push_back(value->front());
  }
  int64_t start = bounds[0], end = bounds[1], step = bounds[2], span;
  if (step == 0 || __builtin_sub_overflow(end, start, &span))
    return std::nullopt;
  int64_t count = std::max<int64_t>(
      0, span / step + (span % step != 0 && (span < 0) == (step < 0)));
  if (count > kMaxKnownIntegers)
    return std::nullopt;
  Contents result{first->element, {count}, {}};
  for (int64_t i = 0; i < count; ++i)
    result.values.push_back(Element::of(node.dim(start + i * step)));
  return result;
}

/// A reduction of a whole tensor with one axis.
Result evaluateReduce(const Node &node, BinaryKind kind, int axesSince) {
  const Contents *data = node.getContents(0);
  if (data->rank() != 1 || data->values.empty())
    return std::nullopt;
  std::optional<SmallVector<int64_t>> axes = node.getAxes(1, axesSince, 1);
  if ((!axes || axes->empty()) && node.getInt("noop_with_empty_axes", 0))
    return std::nullopt;
  Algebra algebra(node.getGraph());
  Element sum = data->values.front();
  for (const Element &value : ArrayRef(data->values).drop_front()) {
    std::optional<Element> next =
        algebra.apply(kind, sum, value, data->element);
    if (!next)
      return std::nullopt;
    sum = *next;
  }
  Contents result{data->element, {}, {sum}};
  if (node.getInt("keepdims", 1))
    result.shape.push_back(1);
  return result;
}

Result evaluateOne(const Node &node) {
  using Function = Result (*)(const Node &);
  auto function =
      llvm::StringSwitch<Function>(node.getOp())
          .Case("Cast", evaluateCast)
          .Case("Where", evaluateWhere)
          .Case("Gather", evaluateGather)
          .Case("Slice", evaluateSlice)
          .Case("Concat", evaluateConcat)
          .Case("Reshape", evaluateReshape)
          .Case("Squeeze", evaluateSqueeze)
          .Case("Unsqueeze", evaluateUnsqueeze)
          .Case("Expand", evaluateExpand)
          .Case("Range", evaluateRange)
          .Case("Identity",
                [](const Node &n) { return Result(*n.getContents(0)); })
          .Case("ReduceProd",
                [](const Node &n) {
                  return evaluateReduce(n, BinaryKind::mul, 18);
                })
          .Case("ReduceSum",
                [](const Node &n) {
                  return evaluateReduce(n, BinaryKind::add, 13);
                })
          .Case("ReduceMax",
                [](const Node &n) {
                  return evaluateReduce(n, BinaryKind::max, 18);
                })
          .Case("ReduceMin",
                [](const Node &n) {
                  return evaluateReduce(n, BinaryKind::min, 18);
                })
          .Default(nullptr);
  if (function)
    return node.hasInput(0) ? function(node) : std::nullopt;

  auto binary = llvm::StringSwitch<std::optional<BinaryKind>>(node.getOp())
                    .Case("Add", BinaryKind::add)
                    .Case("Sub", BinaryKind::sub)
                    .Case("Mul", BinaryKind::mul)
                    .Case("Div", BinaryKind::div)
                    .Case("Pow", BinaryKind::pow)
                    .Case("Mod", BinaryKind::mod)
                    .Case("Max", BinaryKind::max)
                    .Case("Min", BinaryKind::min)
                    .Case("Equal", BinaryKind::equal)
                    .Case("Less", BinaryKind::less)
                    .Case("LessOrEqual", BinaryKind::less_equal)
                    .Case("Greater", BinaryKind::greater)
                    .Case("GreaterOrEqual", BinaryKind::greater_equal)
                    .Case("And", BinaryKind::logical_and)
                    .Case("Or", BinaryKind::logical_or)
                    .Default(std::nullopt);
  if (binary && node.getNumInputs() == 2)
    return evaluateBinary(node, *binary);

  auto unary = llvm::StringSwitch<std::optional<UnaryKind>>(node.getOp())
                   .Case("Neg", UnaryKind::neg)
                   .Case("Abs", UnaryKind::abs)
                   .Case("Sqrt", UnaryKind::sqrt)
                   .Case("Reciprocal", UnaryKind::reciprocal)
                   .Case("Floor", UnaryKind::floor)
                   .Case("Ceil", UnaryKind::ceil)
                   .Case("Not", UnaryKind::logical_not)
                   .Default(std::nullopt);
  if (unary && node.hasInput(0))
    return evaluateUnary(node, *unary);
  return std::nullopt;
}

} // namespace

std::optional<Contents> castContents(const Node &node, Contents contents,
                                     Type to) {
  if (!canBeKnown(to) || !isSmall(contents.shape, to))
    return std::nullopt;
  Algebra algebra(node.getGraph());
  for (Element &value : contents.values) {
    std::optional<Element> cast = algebra.cast(value, contents.element, to);
    if (!cast)
      return std::nullopt;
    value = *cast;
  }
  contents.element = to;
  return contents;
}

bool evaluate(const Node &node) {
  std::optional<Contents> result = evaluateOne(node);
  if (!result || node.getGraph().hasFailed())
    return false;
  node.setContents(0, std::move(*result));
  return true;
}

} // namespace pare::onnximport
