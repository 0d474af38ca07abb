//===- EncodeData.h - Weights and inputs for tests of encoders --*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_PASSES_ENCODEDATA_H
#define PARE_TESTS_UNIT_PASSES_ENCODEDATA_H

#include "passes/quantize/encode/Encode.h"
#include <Eigen/Dense>
#include <gtest/gtest.h>
#include <random>

namespace pare::test {

using Matrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline std::vector<float> normal(int64_t count, unsigned seed,
                                 float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> values(0, deviation);
  std::vector<float> result(count);
  for (float &value : result)
    value = values(random);
  return result;
}

inline Matrix toMatrix(llvm::ArrayRef<float> values, int64_t rows) {
  int64_t columns = values.size() / rows;
  Matrix matrix(rows, columns);
  for (int64_t i = 0; i < rows * columns; ++i)
    matrix.data()[i] = values[i];
  return matrix;
}

/// Inputs [size, samples] that share a few directions, as activations do, and
/// differ in size.
inline Matrix correlatedInputs(int64_t size, int64_t samples, unsigned seed) {
  int64_t rank = std::max<int64_t>(2, size / 8);
  Matrix inputs = toMatrix(normal(size * rank, seed), size) *
                      toMatrix(normal(rank * samples, seed + 1), rank) +
                  0.3 * toMatrix(normal(size * samples, seed + 2), size);
  for (int64_t i = 0; i < size; ++i)
    inputs.row(i) *= 0.2 + double(i * 7 % 11) / 5;
  return inputs;
}

/// Moments of inputs, with the storage that InputMoments refers to.
struct Moments {
  Matrix products, cross;

  explicit Moments(const Matrix &inputs)
      : products(inputs * inputs.transpose()) {}
  Moments(const Matrix &inputs, const Matrix &floatInputs)
      : products(inputs * inputs.transpose()),
        cross((floatInputs - inputs) * inputs.transpose()) {}

  encode::InputMoments get() const {
    return {products.rows(),
            {products.data(), size_t(products.size())},
            {},
            {cross.data(), size_t(cross.size())}};
  }
};

inline Matrix decode(const BlockFormat &format, const BlockPlanes &planes,
                     int64_t rows) {
  std::vector<float> weights(planes.codes.size());
  decodeBlocks(format, planes, weights);
  return toMatrix(weights, rows);
}

/// tr(E H Eᵀ).
inline double getObjective(const Matrix &errors, const Matrix &moments) {
  return (errors * moments).cwiseProduct(errors).sum();
}

/// Per group, in the order of memory.
struct DecodedScale {
  double scale, minimum, zero;
};

/// What codes of the format are multiplied and moved by, from decoding codes
/// alone.
inline std::vector<DecodedScale> decodeScales(const BlockFormat &format,
                                              BlockPlanes planes) {
  // Two codes with distinct values tell scale and minimum.
  uint8_t first = 0, second = 1;
  auto run = [&](uint8_t code) {
    std::fill(planes.codes.begin(), planes.codes.end(), code);
    std::vector<float> weights(planes.codes.size());
    BlockPlanes copy = planes;
    std::fill(copy.zeros.begin(), copy.zeros.end(), uint8_t(0));
    decodeBlocks(format, copy, weights);
    return weights;
  };
  std::vector<float> low = run(first), high = run(second);
  double from = format.getValue(first), to = format.getValue(second);
  std::vector<DecodedScale> scales;
  for (size_t i = 0; i < low.size(); i += format.group) {
    double scale = (double(high[i]) - low[i]) / (to - from);
    scales.push_back(
        {scale, low[i] - scale * from,
         planes.zeros.empty() ? 0.0 : double(planes.zeros[i / format.group])});
  }
  return scales;
}

/// A format of files, or one that no file has, for what those lack.
inline BlockFormat makeFormat(unsigned bits, unsigned group) {
  return {.name = "test",
          .bits = bits,
          .group = group,
          .offset = 1 << (bits - 1),
          .scale = ScaleType::F32};
}

} // namespace pare::test

#endif
