//===- ConvReference.h - Plain convolutions in double -----------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_KERNELS_CONVREFERENCE_H
#define PARE_TESTS_UNIT_KERNELS_CONVREFERENCE_H

#include "tests/unit/kernels/ConvTesting.h"

namespace pare::test {

/// One convolution or transposed convolution, as ONNX has it.
struct ConvCase {
  int64_t n = 1, h = 1, w = 1, c = 1, o = 1, kh = 1, kw = 1;
  int64_t sh = 1, sw = 1, pt = 0, pl = 0, pb = 0, pr = 0, dh = 1, dw = 1;
  int64_t groups = 1, oh = 1, ow = 1;
  bool runtime = false;

  std::string str() const {
    std::string s;
    for (int64_t v : {n, h, w, c, o, kh, kw, sh, sw, pt, pl, pb, pr, dh, dw,
                      groups, oh, ow, int64_t(runtime)})
      s += " " + std::to_string(v);
    return s;
  }

  /// Everything but c, o and groups, which are 1.
  static ConvCase random(Random &random) {
    ConvCase p;
    p.n = random.in(1, 2);
    std::tie(p.kh, p.kw) = random.of<std::pair<int64_t, int64_t>>(
        {{1, 1}, {3, 3}, {5, 5}, {7, 7}, {1, 3}, {3, 1}, {1, 9}, {2, 2}});
    std::tie(p.sh, p.sw) = random.of<std::pair<int64_t, int64_t>>(
        {{1, 1}, {1, 1}, {2, 2}, {2, 1}, {1, 2}, {3, 3}});
    p.dh = random.in(0, 3) ? 1 : 2;
    p.dw = random.in(0, 3) ? 1 : 2;
    p.pt = random.in(0, p.kh - 1);
    p.pb = random.in(0, p.kh);
    p.pl = random.in(0, p.kw - 1);
    p.pr = random.in(0, p.kw);
    p.h = random.in(1, 12) + p.dh * (p.kh - 1) -
          std::min(p.pt, p.dh * (p.kh - 1));
    p.w = random.in(1, 30) + p.dw * (p.kw - 1) -
          std::min(p.pl, p.dw * (p.kw - 1));
    p.oh = outputExtent(p.h, p.pt + p.pb, p.kh, p.sh, p.dh);
    p.ow = outputExtent(p.w, p.pl + p.pr, p.kw, p.sw, p.dw);
    p.runtime = random.in(0, 1);
    return p;
  }
};

/// in [N, H, W, C], weights [O, KH, KW, C / groups] → [N, OH, OW, O].
template <typename T>
std::vector<double> convReference(const ConvCase &p, llvm::ArrayRef<T> in,
                                  llvm::ArrayRef<T> weights) {
  int64_t ci = p.c / p.groups, co = p.o / p.groups;
  std::vector<double> out(p.n * p.oh * p.ow * p.o);
  for (int64_t i = 0, e = out.size(); i < e; ++i) {
    int64_t o = i % p.o, ox = i / p.o % p.ow, oy = i / p.o / p.ow % p.oh;
    int64_t n = i / p.o / p.ow / p.oh;
    double sum = 0;
    for (int64_t ky = 0; ky < p.kh; ++ky)
      for (int64_t kx = 0; kx < p.kw; ++kx) {
        int64_t y = oy * p.sh - p.pt + ky * p.dh;
        int64_t x = ox * p.sw - p.pl + kx * p.dw;
        if (y < 0 || y >= p.h || x < 0 || x >= p.w)
          continue;
        const T *a = &in[((n * p.h + y) * p.w + x) * p.c + o / co * ci];
        const T *b = &weights[((o * p.kh + ky) * p.kw + kx) * ci];
        for (int64_t c = 0; c < ci; ++c)
          sum += double(a[c]) * double(b[c]);
      }
    out[i] = sum;
  }
  return out;
}

/// in [N, H, W, C], weights [O, KH, KW, C / groups] → [N, OH, OW, O]: each
/// input pixel scatters its filter.
inline std::vector<double>
convTransposeReference(const ConvCase &p, llvm::ArrayRef<float> in,
                       llvm::ArrayRef<float> weights) {
  int64_t ci = p.c / p.groups, co = p.o / p.groups;
  std::vector<double> out(p.n * p.oh * p.ow * p.o);
  for (int64_t n = 0; n < p.n; ++n)
    for (int64_t y = 0; y < p.h; ++y)
      for (int64_t x = 0; x < p.w; ++x)
        for (int64_t ky = 0; ky < p.kh; ++ky)
          for (int64_t kx = 0; kx < p.kw; ++kx) {
            int64_t oy = y * p.sh - p.pt + ky * p.dh;
            int64_t ox = x * p.sw - p.pl + kx * p.dw;
            if (oy < 0 || oy >= p.oh || ox < 0 || ox >= p.ow)
              continue;
            for (int64_t o = 0; o < p.o; ++o)
              for (int64_t c = 0; c < ci; ++c)
                out[((n * p.oh + oy) * p.ow + ox) * p.o + o] +=
                    double(
                        in[((n * p.h + y) * p.w + x) * p.c + o / co * ci + c]) *
                    double(weights[((o * p.kh + ky) * p.kw + kx) * ci + c]);
          }
  return out;
}

} // namespace pare::test

#endif
