//===- RandomGraph.h - Random graphs for tests of passes --------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_PASSES_RANDOMGRAPH_H
#define PARE_TESTS_UNIT_PASSES_RANDOMGRAPH_H

#include "TestGraph.h"

namespace pare::test {

/// Builds a graph of a few dozen ops on one dynamic batch axis: elementwise
/// chains with every kind of broadcast, transposes, reshapes, slices, products,
/// convolutions and normalizations, with weights and constants, in an order
/// that depends on the seed alone.
class RandomGraph {
public:
  RandomGraph(mlir::MLIRContext &context, unsigned seed)
      : context(context), random(seed), builder(&context) {}

  Graph build() {
    Graph graph(context, "");
    module = *graph.module;
    weights = &graph.weights;
    builder.setInsertionPointToEnd(module.getBody());
    nn::Dim batch = getAffineSymbolExpr(0, &context);
    mlir::Type input = nn::getTensorType({batch, dim(4), dim(6), dim(8)},
                                         builder.getF32Type());
    auto function = mlir::func::FuncOp::create(
        builder, loc(), "main", builder.getFunctionType({input}, {}));
    builder.setInsertionPointToStart(function.addEntryBlock());
    values.push_back(function.getArgument(0));
    for (unsigned i = 0; i < 30; ++i)
      if (mlir::Value value = makeOp())
        values.push_back(value);
    llvm::SmallVector<mlir::Value> results;
    for (mlir::Value value : values)
      if (value.use_empty() && value.getDefiningOp())
        results.push_back(value);
    mlir::func::ReturnOp::create(builder, loc(), results);
    function.setType(
        builder.getFunctionType({input}, mlir::ValueRange(results).getTypes()));
    return graph;
  }

private:
  nn::Dim dim(int64_t size) { return nn::constant(size, &context); }
  mlir::Location loc() { return builder.getUnknownLoc(); }
  unsigned pick(unsigned count) { return random() % count; }
  /// Later values more often, so that chains form.
  mlir::Value pickValue() {
    size_t back = std::min<size_t>(values.size(), 1 + pick(4));
    return pick(4) ? values[values.size() - back] : values[pick(values.size())];
  }

  mlir::Value weight(llvm::ArrayRef<int64_t> shape) {
    auto type = mlir::RankedTensorType::get(shape, builder.getF32Type());
    HostTensor tensor = randomTensor(type, random());
    llvm::ArrayRef<uint8_t> bytes = tensor.bytes();
    if (pick(4) == 0 && bytes.size() <= 1024)
      return nn::ConstantOp::create(
          builder, loc(),
          mlir::DenseElementsAttr::get(type, tensor.values<float>()));
    std::string name =
        weights->addOwned("w" + std::to_string(counter++), type,
                          std::vector<uint8_t>(bytes.begin(), bytes.end()));
    mlir::OpBuilder top(&context);
    top.setInsertionPointToStart(module.getBody());
    nn::WeightOp::create(top, loc(), name, type, mlir::StringAttr(),
                         mlir::StringAttr(), mlir::StringAttr());
    return nn::ParamOp::create(builder, loc(), type, name);
  }

  mlir::Value scalar(float value) {
    auto type = mlir::RankedTensorType::get({}, builder.getF32Type());
    return nn::ConstantOp::create(builder, loc(),
                                  mlir::DenseElementsAttr::get(type, value));
  }

  mlir::Value unary(nn::UnaryKind kind, mlir::Value x) {
    return nn::UnaryOp::create(builder, loc(), kind, x, mlir::FloatAttr(),
                               mlir::FloatAttr());
  }
  mlir::Value binary(nn::BinaryKind kind, mlir::Value a, mlir::Value b) {
    return nn::BinaryOp::create(builder, loc(), kind, a, b);
  }

  /// A weight that broadcasts to `x`, or a number.
  mlir::Value broadcastOperand(mlir::Value x) {
    if (pick(3) == 0)
      return scalar(float(pick(5)) - 2);
    llvm::SmallVector<int64_t> shape;
    for (nn::Dim size : nn::getShape(x.getType()))
      shape.push_back(pick(2) ? nn::getConstant(size).value_or(1) : 1);
    if (pick(2))
      for (size_t i = 0; i + 1 < shape.size(); ++i)
        shape[i] = 1;
    if (pick(3) == 0)
      shape.erase(shape.begin(), shape.begin() + pick(shape.size()));
    return weight(shape);
  }

  mlir::Value makeOp() {
    mlir::Value x = pickValue();
    nn::Shape shape = nn::getShape(x.getType());
    int64_t rank = shape.size();
    switch (pick(14)) {
    case 0: {
      static const nn::UnaryKind kinds[] = {
          nn::UnaryKind::relu, nn::UnaryKind::tanh, nn::UnaryKind::sigmoid,
          nn::UnaryKind::abs, nn::UnaryKind::gelu};
      return unary(kinds[pick(5)], x);
    }
    case 1:
      return binary(nn::BinaryKind::add, x, broadcastOperand(x));
    case 2:
      return binary(pick(2) ? nn::BinaryKind::mul : nn::BinaryKind::max,
                    broadcastOperand(x), x);
    case 3: // with another value of its shape
      for (mlir::Value other : llvm::reverse(values))
        if (other != x && other.getType() == x.getType())
          return binary(nn::BinaryKind::add, x, other);
      return binary(nn::BinaryKind::sub, x, x);
    case 4: { // SiLU or hard swish, written out
      if (pick(2)) {
        mlir::Value gate = binary(nn::BinaryKind::add, x, scalar(3));
        gate = unary(nn::UnaryKind::relu, gate);
        gate = binary(nn::BinaryKind::min, gate, scalar(6));
        mlir::Value y = binary(nn::BinaryKind::mul, x, gate);
        return pick(2) ? binary(nn::BinaryKind::div, y, scalar(6)) : y;
      }
      return binary(nn::BinaryKind::mul, x, unary(nn::UnaryKind::sigmoid, x));
    }
    case 5:
    case 6: { // the layout changes of an importer
      llvm::SmallVector<int64_t> permutation(rank);
      for (int64_t i = 0; i < rank; ++i)
        permutation[i] = i;
      for (int64_t i = rank - 1; i > 1; --i)
        std::swap(permutation[i], permutation[1 + pick(i)]);
      return nn::TransposeOp::create(builder, loc(), x, permutation);
    }
    case 7: { // merge or split two axes
      if (rank > 3 && pick(2)) {
        int64_t at = 1 + pick(rank - 2);
        shape[at] = nn::simplify(shape[at] * shape[at + 1]);
        shape.erase(shape.begin() + at + 1);
      } else {
        int64_t at = 1 + pick(rank - 1);
        std::optional<int64_t> size = nn::getConstant(shape[at]);
        if (!size || *size % 2 || rank > 4)
          return {};
        shape[at] = dim(2);
        shape.insert(shape.begin() + at + 1, dim(*size / 2));
      }
      return nn::ReshapeOp::create(
          builder, loc(), nn::getTensorType(shape, builder.getF32Type()), x);
    }
    case 8: { // product with a weight, with a bias
      std::optional<int64_t> k = nn::getConstant(shape.back());
      int64_t n = 2 * (1 + pick(4));
      if (!k)
        return {};
      bool transposed = pick(2);
      mlir::Value w = transposed ? weight({n, *k}) : weight({*k, n});
      mlir::Value y = nn::MatMulOp::create(builder, loc(), x, w, transposed);
      return pick(2) ? binary(nn::BinaryKind::add, y, weight({n})) : y;
    }
    case 9: { // convolution and batch normalization
      std::optional<int64_t> c = nn::getConstant(shape.back());
      if (rank != 4 || !c)
        return {};
      int64_t pad = pick(2), kernel = pad ? 3 : 1;
      mlir::Value y =
          nn::ConvOp::create(builder, loc(), x, weight({6, kernel, kernel, *c}),
                             llvm::ArrayRef<int64_t>({1, 1}),
                             llvm::ArrayRef<int64_t>({pad, pad, pad, pad}),
                             llvm::ArrayRef<int64_t>({1, 1}), 1);
      if (pick(2))
        y = binary(nn::BinaryKind::add, y, weight({6}));
      mlir::Value variance = unary(nn::UnaryKind::exp, weight({6}));
      return pick(2)
                 ? nn::BatchNormOp::create(builder, loc(), y, weight({6}),
                                           weight({6}), weight({6}), variance,
                                           builder.getF32FloatAttr(1e-3f))
                 : y;
    }
    case 10: { // layer normalization, written out
      std::optional<int64_t> c = nn::getConstant(shape.back());
      if (!c || *c < 2)
        return {};
      auto mean = [&](mlir::Value v) {
        return nn::ReduceOp::create(builder, loc(), nn::ReduceKind::mean, v,
                                    llvm::ArrayRef<int64_t>({rank - 1}), true);
      };
      mlir::Value d = binary(nn::BinaryKind::sub, x, mean(x));
      mlir::Value v = mean(binary(nn::BinaryKind::pow, d, scalar(2)));
      mlir::Value s = unary(nn::UnaryKind::sqrt,
                            binary(nn::BinaryKind::add, v, scalar(1e-2f)));
      return binary(nn::BinaryKind::mul, binary(nn::BinaryKind::div, d, s),
                    weight({*c}));
    }
    case 11:
      return nn::ReduceOp::create(
          builder, loc(), nn::ReduceKind::mean, x,
          llvm::ArrayRef<int64_t>({int64_t(1 + pick(rank - 1))}), true);
    case 12: { // half of an axis
      int64_t at = 1 + pick(rank - 1);
      std::optional<int64_t> size = nn::getConstant(shape[at]);
      if (!size || *size < 2)
        return {};
      nn::Shape starts(rank, dim(0));
      starts[at] = dim(pick(2) * (*size / 2));
      shape[at] = dim(*size / 2);
      return nn::SliceOp::create(
          builder, loc(), nn::getTensorType(shape, builder.getF32Type()), x,
          nn::getMap(starts, &context), llvm::SmallVector<int64_t>(rank, 1));
    }
    default:
      return nn::ConcatOp::create(builder, loc(), mlir::ValueRange({x, x}),
                                  int64_t(1 + pick(rank - 1)));
    }
  }

  mlir::MLIRContext &context;
  std::mt19937 random;
  mlir::OpBuilder builder;
  mlir::ModuleOp module;
  WeightStore *weights = nullptr;
  llvm::SmallVector<mlir::Value> values;
  unsigned counter = 0;
};

} // namespace pare::test

#endif
