#include "backends/cpu/kernels/Attention.h"
#include "tests/unit/kernels/OpsTesting.h"

using namespace mlir;
using namespace pare::cpu;
using namespace pare::test;

namespace {

struct Shape {
  int64_t batch, queries, keys, heads, kvHeads, dim, valueDim;
};

/// Mask extents: 1 where broadcast.
struct MaskShape {
  int64_t batch, heads, queries, keys;
};

struct Problem {
  Shape s;
  bool causal = false;
  std::optional<MaskShape> mask = std::nullopt;
  bool fusedQKV = false; ///< q, k, v are parts of one matrix

  int64_t strideQ() const { return fusedQKV ? strideFused() : s.heads * s.dim; }
  int64_t strideK() const {
    return fusedQKV ? strideFused() : s.kvHeads * s.dim;
  }
  int64_t strideV() const {
    return fusedQKV ? strideFused() : s.kvHeads * s.valueDim;
  }
  int64_t strideFused() const {
    return s.heads * s.dim + s.kvHeads * (s.dim + s.valueDim);
  }
  float scale() const { return 1 / std::sqrt(float(s.dim)); }

  AttentionSpec spec(bool fixed) const {
    AttentionSpec spec;
    auto extent = [&](int64_t n, unsigned dim) {
      return fixed ? Extent::of(n) : Extent::runtime(dim);
    };
    spec.batch = extent(s.batch, 0);
    spec.queries = extent(s.queries, 1);
    spec.keys = extent(s.keys, 2);
    spec.heads = s.heads;
    spec.kvHeads = s.kvHeads;
    spec.headDim = s.dim;
    spec.valueDim = s.valueDim;
    spec.scale = scale();
    spec.causal = causal;
    spec.strideQ = Extent::of(strideQ());
    spec.strideK = Extent::of(strideK());
    spec.strideV = Extent::of(strideV());
    spec.strideOut = Extent::of(s.heads * s.valueDim);
    if (mask) {
      spec.ptrMask = 4;
      Extent maskKeys = mask->keys == 1 ? Extent::of(1) : spec.keys;
      Extent maskQueries = mask->queries == 1 ? Extent::of(1) : spec.queries;
      SmallVector<Product> strides =
          denseStrides({spec.batch, Extent::of(s.heads), maskQueries, maskKeys},
                       {mask->batch == 1, mask->heads == 1, mask->queries == 1,
                        mask->keys == 1});
      for (int i = 0; i < 3; ++i)
        spec.maskStrides[i] = strides[i];
      spec.maskPerKey = mask->keys != 1;
    }
    return spec;
  }
};

Buffer<float> reference(const Problem &p, const float *q, const float *k,
                        const float *v, ArrayRef<float> mask) {
  const Shape &s = p.s;
  Buffer<float> out(s.batch * s.queries * s.heads * s.valueDim);
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t i = 0; i < s.queries; ++i) {
        int64_t g = h / (s.heads / s.kvHeads);
        std::vector<double> score(s.keys);
        double largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          double dot = 0;
          for (int64_t d = 0; d < s.dim; ++d)
            dot +=
                double(q[(b * s.queries + i) * p.strideQ() + h * s.dim + d]) *
                k[(b * s.keys + j) * p.strideK() + g * s.dim + d];
          dot *= p.scale();
          if (p.mask)
            dot += mask[offsetOf(
                {p.mask->batch, p.mask->heads, p.mask->queries, p.mask->keys},
                {b, h, i, j})];
          if (p.causal && j > i + s.keys - s.queries)
            dot = -INFINITY;
          score[j] = dot;
          largest = std::max(largest, dot);
        }
        for (double &x : score)
          sum += x = largest == -INFINITY ? 0 : std::exp(x - largest);
        for (int64_t d = 0; d < s.valueDim; ++d) {
          double acc = 0;
          for (int64_t j = 0; j < s.keys; ++j)
            acc += score[j] *
                   v[(b * s.keys + j) * p.strideV() + g * s.valueDim + d];
          out[((b * s.queries + i) * s.heads + h) * s.valueDim + d] =
              sum > 0 ? acc / sum : 0;
        }
      }
  return out;
}

void check(const Problem &p, StringRef target = "host") {
  const Shape &s = p.s;
  Kernels kernels(pare::test::isa(target));
  for (bool fixed : {true, false}) {
    KernelBuilder b(kernels.module(), fixed ? "fixed" : "dynamic",
                    kernels.isa());
    emitAttention(b, p.spec(fixed));
    b.finish();
  }
  kernels.compile();
  Buffer<float> q, k, v, qkv;
  const float *pq, *pk, *pv;
  if (p.fusedQKV) {
    qkv = randomFloats(s.batch * s.keys * p.strideFused());
    pq = qkv.data();
    pk = pq + s.heads * s.dim;
    pv = pk + s.kvHeads * s.dim;
  } else {
    q = randomFloats(s.batch * s.queries * p.strideQ(), -2, 2, 1);
    k = randomFloats(s.batch * s.keys * p.strideK(), -2, 2, 2);
    v = randomFloats(s.batch * s.keys * p.strideV(), -2, 2, 3);
    pq = q.data();
    pk = k.data();
    pv = v.data();
  }
  Buffer<float> mask;
  if (p.mask) {
    mask = randomFloats(p.mask->batch * p.mask->heads * p.mask->queries *
                            p.mask->keys,
                        -3, 3, 4);
    for (size_t i = 0; p.mask->keys != 1 && i < mask.size(); i += 3)
      mask[i] = i % 2 ? -INFINITY : -1e9f;
  }
  auto expected = reference(p, pq, pk, pv, mask);
  for (bool fixed : {true, false}) {
    AttentionSpec spec = p.spec(fixed);
    // Nothing may depend on what was in scratch.
    Buffer<float> scratch(attentionScratchBytes(spec, kernels.isa()) / 4, NAN),
        out(expected.size(), NAN);
    SmallVector<int64_t> dims = {s.batch, s.queries, s.keys};
    kernels.call(
        fixed ? "fixed" : "dynamic", {pq, pk, pv, out.data(), mask.data()},
        dims, attentionGrid(spec, kernels.isa()).tasks(dims), scratch.data());
    EXPECT_LE(maxError(out, expected), 5e-6)
        << s.queries << "x" << s.keys << "x" << s.dim << " fixed " << fixed;
  }
}

TEST(Attention, Shapes) {
  check({{1, 128, 128, 3, 3, 32, 32}});
  check({{2, 32, 32, 2, 2, 64, 64}});
  check({{2, 7, 7, 2, 2, 16, 16}});
  check({{1, 1, 45, 2, 2, 20, 20}});
  check({{1, 33, 19, 2, 2, 5, 3}});
  check({{1, 17, 700, 1, 1, 32, 32}}); // several blocks of keys
  check({{1, 197, 197, 2, 2, 64, 64}});
}

TEST(Attention, NarrowVectors) {
  check({.s = {1, 37, 300, 2, 1, 20, 12}, .causal = true}, "x86-64-v2");
}

TEST(Attention, FusedAndGrouped) {
  check({.s = {2, 50, 50, 3, 3, 32, 32}, .fusedQKV = true});
  check({.s = {2, 40, 40, 6, 2, 24, 24}, .fusedQKV = true});
  check({{1, 21, 30, 4, 1, 32, 48}});
}

TEST(Attention, Masks) {
  check({.s = {2, 37, 53, 2, 2, 32, 32}, .mask = MaskShape{2, 1, 1, 53}});
  check({.s = {2, 37, 53, 2, 2, 32, 32}, .mask = MaskShape{1, 1, 37, 53}});
  check({.s = {2, 37, 300, 2, 2, 32, 32}, .mask = MaskShape{2, 2, 37, 300}});
  check({.s = {2, 9, 11, 2, 2, 32, 32}, .mask = MaskShape{1, 2, 9, 1}});
}

TEST(Attention, Causal) {
  check({.s = {1, 100, 100, 2, 2, 32, 32}, .causal = true});
  check({.s = {1, 20, 600, 2, 2, 16, 16}, .causal = true});
  check({.s = {1, 600, 600, 1, 1, 16, 16}, .causal = true});
  // More queries than keys: the first ones see nothing.
  check({.s = {1, 40, 9, 1, 1, 16, 16}, .causal = true});
  check({.s = {2, 50, 50, 2, 1, 16, 16},
         .causal = true,
         .mask = MaskShape{2, 1, 1, 50}});
}

TEST(Attention, GeneratesForOtherTargets) {
  expectGenerates([](KernelBuilder &b) {
    emitAttention(b, Problem{.s = {1, 128, 128, 12, 12, 32, 32},
                             .causal = true,
                             .mask = MaskShape{1, 1, 1, 128}}
                         .spec(false));
  });
}

} // namespace
