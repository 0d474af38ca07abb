#include "backends/cpu/kernels/DataMovement.h"
#include "tests/unit/kernels/OpsTesting.h"

using namespace mlir;
using namespace pare::cpu;
using namespace pare::test;

namespace {

/// Bytes 0, 1, 2, … scrambled, `n` elements of `size` bytes.
Buffer<uint8_t> pattern(int64_t n, unsigned size) {
  Buffer<uint8_t> bytes(n * size);
  uint32_t state = 1;
  for (uint8_t &b : bytes)
    b = (state = state * 1664525 + 1013904223) >> 24;
  return bytes;
}

/// Runs `spec` in both forms and compares with element by element copying.
void checkCopy(ArrayRef<int64_t> shape, const CopySpec &fixed,
               const CopySpec &dynamic, ArrayRef<int64_t> inStrides,
               ArrayRef<int64_t> outStrides, int64_t inSize, int64_t inStart,
               int64_t outSize) {
  Kernels kernels;
  unsigned size = fixed.elementBytes;
  for (auto [name, spec] :
       {std::pair{"fixed", &fixed}, {"dynamic", &dynamic}}) {
    KernelBuilder b(kernels.module(), name, kernels.isa());
    emitCopy(b, *spec);
    b.finish();
  }
  kernels.compile();
  auto in = pattern(inSize, size);
  Buffer<uint8_t> start(outSize * size, 0xAB), expected = start;
  forIndices(shape, [&](ArrayRef<int64_t> index) {
    int64_t from = inStart, to = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      from += index[i] * inStrides[i];
      to += index[i] * outStrides[i];
    }
    std::memcpy(&expected[to * size], &in[from * size], size);
  });
  for (auto [name, spec] :
       {std::pair{"fixed", &fixed}, {"dynamic", &dynamic}}) {
    auto out = start;
    kernels.call(name, {in.data() + inStart * size, out.data()}, shape,
                 copyGrid(*spec).tasks(shape));
    EXPECT_EQ(out, expected) << name << " " << size << " bytes";
  }
}

SmallVector<int64_t> dense(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  return strides;
}

TEST(Copy, Transposes) {
  struct Case {
    SmallVector<int64_t> shape, permutation;
  };
  const Case cases[] = {{{37, 53}, {1, 0}},
                        {{2, 12, 19, 32}, {0, 2, 1, 3}},
                        {{2, 3, 40, 21}, {0, 2, 3, 1}}, // NCHW to NHWC
                        {{2, 9, 11, 40}, {0, 3, 1, 2}},
                        {{1, 30, 30, 3}, {0, 3, 1, 2}},
                        {{1, 3, 50, 33}, {0, 2, 3, 1}}, // interleaves
                        {{5, 6, 7, 8}, {3, 2, 1, 0}},
                        {{130, 600}, {1, 0}},
                        {{3, 4, 5}, {0, 1, 2}},
                        {{1, 7, 1, 9}, {3, 0, 1, 2}}};
  for (auto [number, c] : llvm::enumerate(cases))
    for (unsigned size : {1, 2, 4, 8}) {
      if (number > 2 && size != 4)
        continue;
      SmallVector<int64_t> shape, inStrides, strides = dense(c.shape);
      SmallVector<int64_t> runtime;
      for (int64_t axis : c.permutation) {
        shape.push_back(c.shape[axis]);
        inStrides.push_back(strides[axis]);
      }
      // Run-time dims are numbered by operand axis; checkCopy passes them by
      // result axis.
      SmallVector<Extent> dims(c.shape.size());
      for (auto [i, axis] : llvm::enumerate(c.permutation))
        dims[axis] = Extent::runtime(i);
      checkCopy(shape,
                CopySpec::transpose(extents(c.shape), c.permutation, size),
                CopySpec::transpose(dims, c.permutation, size), inStrides,
                dense(shape), count(shape), 0, count(shape));
    }
}

TEST(Copy, SlicesExpansionsConcatenations) {
  auto check = [](ArrayRef<int64_t> shape, ArrayRef<int64_t> in,
                  ArrayRef<int64_t> out, int64_t inSize, int64_t inStart,
                  int64_t outSize) {
    for (unsigned size : {1, 4}) {
      CopySpec fixed;
      fixed.elementBytes = size;
      fixed.shape = extents(shape);
      for (int64_t s : in)
        fixed.inStrides.push_back(s);
      for (int64_t s : out)
        fixed.outStrides.push_back(s);
      CopySpec dynamic = fixed;
      dynamic.shape = runtimeExtents(shape.size());
      checkCopy(shape, fixed, dynamic, in, out, inSize, inStart, outSize);
    }
  };
  check({5, 10}, {40, 3}, {10, 1}, 200, 7, 50);    // steps 2 and 3
  check({5, 10}, {-10, -1}, {10, 1}, 50, 49, 50);  // both axes backwards
  check({4, 33}, {100, 1}, {33, 1}, 400, 20, 132); // columns
  check({4, 7, 33}, {33, 0, 1}, {231, 33, 1}, 132, 0, 924); // expand
  check({4, 33}, {1, 0}, {33, 1}, 4, 0, 132);               // expand a column
  check({2, 3, 4, 5}, {20, 0, 5, 1}, {60, 20, 5, 1}, 40, 0, 120);
  check({3, 8, 17}, {136, 17, 1}, {30 * 17, 17, 1}, 408, 0,
        1530);                                  // concat in the middle
  check({30, 1}, {1, 1}, {4, 1}, 30, 0, 120);   // concat of columns
  check({30, 9}, {9, 1}, {1, 30}, 270, 0, 270); // strided output
}

//===----------------------------------------------------------------------===//
// Pad
//===----------------------------------------------------------------------===//

void checkPad(PadKind kind, ArrayRef<int64_t> shape, ArrayRef<int64_t> low,
              ArrayRef<int64_t> high, ArrayRef<unsigned> sizes = {4}) {
  for (unsigned size : sizes) {
    Kernels kernels;
    SmallVector<int64_t> outShape, dims;
    for (size_t i = 0; i < shape.size(); ++i)
      outShape.push_back(shape[i] + low[i] + high[i]);
    auto make = [&](bool fixed) {
      PadSpec spec;
      spec.kind = kind;
      spec.inShape = fixed ? extents(shape) : runtimeExtents(shape.size());
      for (size_t i = 0; i < shape.size(); ++i)
        spec.outShape.push_back(fixed ? Extent::of(outShape[i])
                                      : Extent::runtime(shape.size() + i));
      spec.low.assign(low.begin(), low.end());
      spec.high.assign(high.begin(), high.end());
      spec.elementBytes = size;
      spec.value = 0x0102030405060708;
      return spec;
    };
    for (bool fixed : {true, false}) {
      KernelBuilder b(kernels.module(), fixed ? "fixed" : "dynamic",
                      kernels.isa());
      emitPad(b, make(fixed));
      b.finish();
    }
    kernels.compile();
    dims.append(shape.begin(), shape.end());
    dims.append(outShape);
    auto in = pattern(count(shape), size);
    Buffer<uint8_t> expected(count(outShape) * size);
    const uint64_t value = 0x0102030405060708;
    forIndices(outShape, [&](ArrayRef<int64_t> index) {
      int64_t from = 0;
      bool inside = true;
      for (size_t i = 0; i < index.size(); ++i) {
        int64_t at = index[i] - low[i], n = shape[i];
        inside &= at >= 0 && at < n;
        at = kind == PadKind::Reflect ? (at < 0    ? -at
                                         : at >= n ? 2 * (n - 1) - at
                                                   : at)
                                      : std::clamp<int64_t>(at, 0, n - 1);
        from = from * n + at;
      }
      bool read = inside || kind != PadKind::Constant;
      std::memcpy(&expected[offsetOf(outShape, index) * size],
                  read ? static_cast<const void *>(&in[from * size]) : &value,
                  size);
    });
    for (bool fixed : {true, false}) {
      Buffer<uint8_t> out(expected.size(), 0xAB);
      kernels.call(fixed ? "fixed" : "dynamic", {in.data(), out.data()}, dims,
                   padGrid(make(fixed)).tasks(dims));
      EXPECT_EQ(out, expected) << int(kind) << size << fixed;
    }
  }
}

TEST(Pad, Kinds) {
  for (PadKind kind : {PadKind::Constant, PadKind::Reflect, PadKind::Edge}) {
    checkPad(kind, {2, 9, 7, 5}, {0, 1, 2, 0}, {0, 3, 1, 0}, {1, 2, 4, 8});
    checkPad(kind, {13}, {5}, {9});
    checkPad(kind, {3, 20}, {1, 0}, {2, 0});
    checkPad(kind, {4, 6, 30}, {1, 2, 3}, {0, 1, 4});
  }
  checkPad(PadKind::Constant, {5, 12}, {-1, -2}, {2, -3}); // cropping
  checkPad(PadKind::Constant, {5, 12}, {0, 20}, {30, 0});
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

TEST(Gather, RowsOfAnyType) {
  const int64_t outer = 2, axis = 11, inner = 19;
  Buffer<int64_t> indices = {0,   10, -1, 3,
                             -11, 7,  99, -99}; // the last two are clamped
  const int64_t expectedIndex[] = {0, 10, 10, 3, 0, 7, 10, 0};
  Buffer<int32_t> narrow(indices.begin(), indices.end());
  for (bool wide : {true, false})
    for (bool fixed : {true, false}) {
      Kernels kernels;
      GatherSpec spec;
      auto extent = [&](int64_t n, unsigned dim) {
        return fixed ? Extent::of(n) : Extent::runtime(dim);
      };
      spec.outer = extent(outer, 0);
      spec.axis = extent(axis, 1);
      spec.count = extent(indices.size(), 2);
      spec.inner = extent(inner, 3);
      spec.indexType = wide ? PARE_I64 : PARE_I32;
      KernelBuilder b(kernels.module(), "f", kernels.isa());
      emitGather(b, spec);
      b.finish();
      kernels.compile();
      auto data = randomFloats(outer * axis * inner);
      Buffer<float> out(outer * indices.size() * inner), expected;
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t index : expectedIndex)
          for (int64_t i = 0; i < inner; ++i)
            expected.push_back(data[(o * axis + index) * inner + i]);
      SmallVector<int64_t> dims = {outer, axis, int64_t(indices.size()), inner};
      kernels.call("f",
                   {data.data(),
                    wide ? static_cast<void *>(indices.data()) : narrow.data(),
                    out.data()},
                   dims, gatherGrid(spec).tasks(dims));
      EXPECT_EQ(out, expected);
    }
}

TEST(Gather, QuantizedRows) {
  Kernels kernels;
  GatherSpec spec;
  spec.axis = Extent::of(5);
  spec.count = Extent::runtime(0);
  spec.inner = Extent::of(37);
  spec.dataType = PARE_I8;
  spec.ptrRowScale = 3;
  KernelBuilder b(kernels.module(), "f", kernels.isa());
  emitGather(b, spec);
  b.finish();
  kernels.compile();
  Buffer<int8_t> codes(5 * 37);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = int(i * 37 % 255) - 127;
  Buffer<float> scale = {1, 0.5, 0.25, 3, 0.1f}, out(3 * 37);
  Buffer<int64_t> indices = {4, 0, 2};
  kernels.call("f", {codes.data(), indices.data(), out.data(), scale.data()},
               {3}, gatherGrid(spec).tasks({3}));
  for (int r = 0; r < 3; ++r)
    for (int i = 0; i < 37; ++i)
      EXPECT_EQ(out[r * 37 + i],
                codes[indices[r] * 37 + i] * scale[indices[r]]);
}

TEST(DataMovement, GeneratesForOtherTargets) {
  expectGenerates([](KernelBuilder &b) {
    emitCopy(b, CopySpec::transpose(runtimeExtents(4), {0, 2, 3, 1}, 4));
  });
  expectGenerates([](KernelBuilder &b) {
    emitCopy(b, CopySpec::transpose(runtimeExtents(2), {1, 0}, 1));
  });
  expectGenerates([](KernelBuilder &b) {
    PadSpec spec;
    spec.inShape = runtimeExtents(2);
    spec.outShape = {Extent::runtime(2), Extent::runtime(3)};
    spec.low = spec.high = {1, 1};
    emitPad(b, spec);
  });
  expectGenerates([](KernelBuilder &b) {
    GatherSpec spec;
    spec.axis = spec.count = Extent::runtime(0);
    spec.inner = Extent::of(384);
    spec.dataType = PARE_BF16;
    emitGather(b, spec);
  });
}

} // namespace
