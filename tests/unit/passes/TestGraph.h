//===- TestGraph.h - Graphs and data for tests of passes --------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_PASSES_TESTGRAPH_H
#define PARE_TESTS_UNIT_PASSES_TESTGRAPH_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "mlir/Parser/Parser.h"
#include "passes/reference/Interpreter.h"
#include <gtest/gtest.h>
#include <random>

namespace pare::test {

/// A context with the dialects of nn graphs.
struct Context : mlir::MLIRContext {
  Context() {
    loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    disableMultithreading();
  }
};

/// f32 values in [-1, 1] that depend only on type and seed.
inline HostTensor randomTensor(mlir::RankedTensorType type, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(type.getNumElements());
  for (float &value : values)
    value = float(generator()) / float(1u << 31) - 1.0f;
  return HostTensor(type, values);
}

/// A graph from text, with random bytes for its weights.
struct Graph {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightStore weights;

  Graph(mlir::MLIRContext &context, llvm::StringRef text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    unsigned seed = 1;
    for (nn::WeightOp weight : module->getOps<nn::WeightOp>()) {
      auto type = mlir::cast<mlir::RankedTensorType>(weight.getType());
      HostTensor tensor = randomTensor(type, seed++);
      // Variances must be positive.
      if (weight.getSymName().contains("variance")) {
        std::vector<float> values = tensor.read<float>();
        for (float &value : values)
          value = std::abs(value) + 0.5f;
        tensor = HostTensor(type, llvm::ArrayRef(values));
      }
      weights.addOwned(
          weight.getSymName(), type,
          std::vector<uint8_t>(tensor.bytes().begin(), tensor.bytes().end()));
    }
  }

  /// Results for inputs of the given shapes filled by `randomTensor`; integers
  /// are 0, 1, 0, 1, …
  std::vector<HostTensor>
  run(llvm::ArrayRef<llvm::SmallVector<int64_t>> shapes) {
    std::vector<HostTensor> inputs;
    auto entry = nn::getEntry(*module);
    for (auto [arg, shape] : llvm::zip(entry.getArguments(), shapes)) {
      auto type = mlir::RankedTensorType::get(
          shape,
          mlir::cast<mlir::RankedTensorType>(arg.getType()).getElementType());
      if (mlir::isa<mlir::FloatType>(type.getElementType())) {
        inputs.push_back(randomTensor(type, 100 + inputs.size()));
        continue;
      }
      std::vector<int64_t> values(type.getNumElements());
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = i % 2;
      inputs.push_back(HostTensor(type, llvm::ArrayRef(values)));
    }
    auto results = Interpreter(*module, weights).run(inputs);
    if (!results) {
      ADD_FAILURE() << llvm::toString(results.takeError());
      return {};
    }
    return std::move(*results);
  }

  template <typename Op> unsigned count() {
    unsigned number = 0;
    module->walk([&](Op) { ++number; });
    return number;
  }
};

/// Largest difference over the largest magnitude of `expected`.
inline double relativeError(llvm::ArrayRef<HostTensor> actual,
                            llvm::ArrayRef<HostTensor> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0, scale = 1e-30;
  for (auto [a, b] : llvm::zip(actual, expected)) {
    EXPECT_EQ(a.type(), b.type());
    std::vector<double> x = a.read<double>(), y = b.read<double>();
    for (size_t i = 0; i < y.size() && i < x.size(); ++i) {
      difference = std::max(difference, std::abs(x[i] - y[i]));
      scale = std::max(scale, std::abs(y[i]));
    }
  }
  return difference / scale;
}

} // namespace pare::test

#endif
