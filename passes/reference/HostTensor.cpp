//===- HostTensor.cpp - Tensors in this process's memory ------------------===//
#include "passes/reference/HostTensor.h"
#include "frontend/ir/Shape.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;

namespace pare {

HostTensor::HostTensor(RankedTensorType type)
    : type_(type), byteSize_(type.getNumElements() *
                             nn::getElementBytes(type.getElementType())) {
  data_ = std::shared_ptr<uint8_t>(new uint8_t[byteSize_](),
                                   std::default_delete<uint8_t[]>());
}

HostTensor::HostTensor(RankedTensorType type, ArrayRef<float> values)
    : HostTensor(type) {
  write(values);
}

HostTensor::HostTensor(RankedTensorType type, ArrayRef<int64_t> values)
    : HostTensor(type) {
  write(values);
}

HostTensor HostTensor::view(const TensorData &weight) {
  if (weight.isEncoded())
    return HostTensor(weight.type, ArrayRef<float>(weight.toF32()));
  size_t bytes = nn::getElementBytes(weight.type.getElementType());
  if (!weight.pieces.empty() ||
      reinterpret_cast<uintptr_t>(weight.bytes.data()) % bytes != 0) {
    HostTensor copy(weight.type);
    weight.copyTo(copy.bytes());
    return copy;
  }
  HostTensor tensor;
  tensor.type_ = weight.type;
  tensor.byteSize_ = weight.bytes.size();
  tensor.data_ = std::shared_ptr<uint8_t>(
      std::shared_ptr<void>(), const_cast<uint8_t *>(weight.bytes.data()));
  return tensor;
}

llvm::Expected<HostTensor> HostTensor::fromAttr(ElementsAttr value) {
  auto dense = dyn_cast<DenseElementsAttr>(value);
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!dense || !type || !type.getElementType().isIntOrFloat())
    return llvm::createStringError("constant is not a dense tensor of numbers");
  HostTensor tensor(type);
  size_t width = nn::getElementBytes(type.getElementType());
  auto store = [&](auto &&values) {
    uint8_t *out = tensor.data_.get();
    for (llvm::APInt bits : values) {
      uint64_t word = bits.getZExtValue();
      std::memcpy(out, &word, width);
      out += width;
    }
  };
  if (isa<FloatType>(type.getElementType()))
    store(llvm::map_range(
        dense.getValues<llvm::APFloat>(),
        [](const llvm::APFloat &f) { return f.bitcastToAPInt(); }));
  else
    store(dense.getValues<llvm::APInt>());
  return tensor;
}

HostTensor HostTensor::withType(RankedTensorType type) const {
  HostTensor result = *this;
  result.type_ = type;
  assert(byteSize_ == size_t(type.getNumElements()) *
                          nn::getElementBytes(type.getElementType()));
  return result;
}

namespace {
/// 16-bit floats, by their bits.
template <bool isBrain> struct Float16 {
  uint16_t bits;
  static const llvm::fltSemantics &semantics() {
    return isBrain ? llvm::APFloat::BFloat() : llvm::APFloat::IEEEhalf();
  }
  float toFloat() const {
    llvm::APFloat value(semantics(), llvm::APInt(16, bits));
    bool inexact;
    value.convert(llvm::APFloat::IEEEsingle(),
                  llvm::APFloat::rmNearestTiesToEven, &inexact);
    return value.convertToFloat();
  }
  static Float16 from(double wide) {
    llvm::APFloat value(wide);
    bool inexact;
    value.convert(semantics(), llvm::APFloat::rmNearestTiesToEven, &inexact);
    return {uint16_t(value.bitcastToAPInt().getZExtValue())};
  }
};

/// A boolean as it is stored: any byte but 0 is true.
struct Boolean {
  uint8_t byte;
};

/// Calls `fn` with a value of the storage type of `element`.
template <typename Fn> void withStorage(Type element, Fn fn) {
  if (element.isF32())
    return fn(float());
  if (element.isF64())
    return fn(double());
  if (element.isF16())
    return fn(Float16<false>());
  if (element.isBF16())
    return fn(Float16<true>());
  auto integer = dyn_cast<IntegerType>(element);
  assert(integer && "not an element type of nn tensors");
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return fn(Boolean());
  case 8:
    return isUnsigned ? fn(uint8_t()) : fn(int8_t());
  case 16:
    return isUnsigned ? fn(uint16_t()) : fn(int16_t());
  case 32:
    return isUnsigned ? fn(uint32_t()) : fn(int32_t());
  case 64:
    return isUnsigned ? fn(uint64_t()) : fn(int64_t());
  default:
    llvm_unreachable("not an element type of nn tensors");
  }
}

template <typename To> To saturate(double value) {
  if (std::isnan(value))
    return 0;
  if (value <= double(std::numeric_limits<To>::min()))
    return std::numeric_limits<To>::min();
  // The largest 64-bit integers round up to a double that is out of range.
  if (value >= double(std::numeric_limits<To>::max()))
    return std::numeric_limits<To>::max();
  return To(value);
}

template <typename To, typename From> To convert(From value) {
  if constexpr (std::is_same_v<From, Float16<false>> ||
                std::is_same_v<From, Float16<true>>)
    return convert<To>(value.toFloat());
  else if constexpr (std::is_same_v<From, Boolean>)
    return convert<To>(int64_t(value.byte != 0));
  else if constexpr (std::is_same_v<To, Float16<false>> ||
                     std::is_same_v<To, Float16<true>>)
    return To::from(double(value));
  else if constexpr (std::is_same_v<To, Boolean>)
    return {value != 0};
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return saturate<To>(value);
  else
    return To(value);
}
} // namespace

template <typename T> std::vector<T> HostTensor::read() const {
  std::vector<T> result(size());
  withStorage(element(), [&](auto zero) {
    using S = decltype(zero);
    ArrayRef<S> from = values<S>();
    for (size_t i = 0; i < from.size(); ++i)
      result[i] = convert<T>(from[i]);
  });
  return result;
}

template <typename T> void HostTensor::write(ArrayRef<T> from) {
  assert(int64_t(from.size()) == size());
  withStorage(element(), [&](auto zero) {
    using S = decltype(zero);
    MutableArrayRef<S> to = values<S>();
    for (size_t i = 0; i < from.size(); ++i)
      to[i] = convert<S>(from[i]);
  });
}

template std::vector<float> HostTensor::read() const;
template std::vector<double> HostTensor::read() const;
template std::vector<int64_t> HostTensor::read() const;
template void HostTensor::write(ArrayRef<float>);
template void HostTensor::write(ArrayRef<double>);
template void HostTensor::write(ArrayRef<int64_t>);

} // namespace pare
