#include "backends/cpu/kernels/Cache.h"
#include "backends/cpu/CacheLayout.h"
#include "backends/cpu/kernels/Vectors.h"
#include "tests/unit/kernels/OpsTesting.h"
#include "llvm/ADT/APFloat.h"

using namespace pare::cpu;
using namespace pare::test;

namespace {

/// A row of a run.
struct Row {
  int32_t sequence, position;
};

struct Shape {
  int64_t heads, kvHeads, dim, capacity;
  PareDType type = PARE_F16;
  int64_t window = 0;
  float softCap = 0;
};

constexpr int64_t kSequences = 2;

/// What a cache gives back of a head's elements.
std::vector<float> stored(PareDType type, llvm::ArrayRef<float> head) {
  std::vector<float> result(head.begin(), head.end());
  if (type == PARE_F16)
    for (float &x : result) {
      llvm::APFloat half(x);
      bool ignored;
      half.convert(llvm::APFloat::IEEEhalf(),
                   llvm::APFloat::rmNearestTiesToEven, &ignored);
      half.convert(llvm::APFloat::IEEEsingle(),
                   llvm::APFloat::rmNearestTiesToEven, &ignored);
      x = half.convertToFloat();
    }
  if (type == PARE_I8) {
    float largest = 0;
    for (float x : head)
      largest = std::max(largest, std::fabs(x));
    for (float &x : result)
      x = std::nearbyint(x * (127 / largest)) * (largest / 127);
  }
  return result;
}

/// Kernels of one shape with caches, beside what the caches should hold.
class Caches {
public:
  explicit Caches(const Shape &shape, llvm::StringRef target = "host")
      : shape(shape), kernels(isa(target)) {
    CacheSpec &common = spec;
    common.rows = Extent::runtime(0);
    common.kvHeads = shape.kvHeads;
    common.headDim = shape.dim;
    common.type = shape.type;
    common.offset = Extent::of(kOffset);
    common.capacity = shape.capacity;
    common.regionBytes =
        shape.capacity / kCacheBlock *
        getCacheBlockBytes(shape.dim, elementBytes(shape.type));
    common.ptrCaches = 0;
    common.ptrPositions = 1;
    common.ptrSequences = 2;
    static_cast<CacheSpec &>(append) = common;
    append.ptrKey = 3;
    append.ptrValue = 4;
    spec.heads = shape.heads;
    spec.scale = 0.3f;
    spec.softCap = shape.softCap;
    spec.window = shape.window;
    spec.ptrQuery = 3;
    spec.ptrOut = 4;
    spec.ptrPartials = 5;
    merge = spec;
    merge.ptrPartials = 0;
    merge.ptrPositions = 1;
    merge.ptrOut = 2;
    write("append", [&](KernelBuilder &b) { emitCacheAppend(b, append); });
    write("attention", [&](KernelBuilder &b) { emitCachedAttention(b, spec); });
    write("merge", [&](KernelBuilder &b) { emitAttentionMerge(b, merge); });
    kernels.compile();
    int64_t bytes = kOffset + 2 * shape.kvHeads * common.regionBytes;
    for (int64_t s = 0; s < kSequences; ++s) {
      // What was never written may be anything.
      memory.push_back(Buffer<uint8_t>(bytes, 0xff));
      bases.push_back(memory.back().data());
      keys.emplace_back();
      values.emplace_back();
    }
  }

  /// Writes random keys and values of the rows.
  void fill(llvm::ArrayRef<Row> rows) {
    setRows(rows);
    int64_t width = shape.kvHeads * shape.dim;
    Buffer<float> k = randomFloats(rows.size() * width, -2, 2, ++seed),
                  v = randomFloats(rows.size() * width, -2, 2, ++seed);
    kernels.call(
        "append",
        {bases.data(), positions.data(), sequences.data(), k.data(), v.data()},
        {int64_t(rows.size())},
        cacheAppendGrid(append).tasks({int64_t(rows.size())}));
    for (auto [i, row] : llvm::enumerate(rows))
      for (int64_t h = 0; h < shape.kvHeads; ++h) {
        auto head = [&](const Buffer<float> &x) {
          return stored(shape.type, llvm::ArrayRef<float>(x).slice(
                                        i * width + h * shape.dim, shape.dim));
        };
        keys[row.sequence][{row.position, h}] = head(k);
        values[row.sequence][{row.position, h}] = head(v);
      }
  }

  /// Attention of the rows, whose queries depend on sequence and position.
  Buffer<float> attend(llvm::ArrayRef<Row> rows) {
    setRows(rows);
    Buffer<float> q, out(rows.size() * shape.heads * shape.dim, NAN);
    for (const Row &row : rows)
      for (float x : query(row))
        q.push_back(x);
    Buffer<float> partials(spec.partialFloats(), NAN),
        scratch(cachedAttentionScratchBytes(spec) / sizeof(float), NAN);
    int64_t count = rows.size();
    // Tasks may run in any order.
    PareKernel attention = kernels.lookup("attention");
    const void *ptrs[] = {bases.data(), positions.data(), sequences.data(),
                          q.data(),     out.data(),       partials.data()};
    for (int64_t task = cachedAttentionGrid(spec).tasks({count}); task-- > 0;)
      attention(const_cast<void *const *>(ptrs), &count, task, scratch.data());
    if (spec.partialFloats() > 0)
      kernels.call("merge", {partials.data(), positions.data(), out.data()},
                   {count}, attentionMergeGrid(spec).tasks({count}),
                   scratch.data());
    return out;
  }

  std::vector<float> expected(const Row &row) {
    Buffer<float> q = query(row);
    std::vector<float> result;
    int64_t first = shape.window
                        ? std::max<int64_t>(0, row.position + 1 - shape.window)
                        : 0;
    for (int64_t h = 0; h < shape.heads; ++h) {
      int64_t kvHead = h / (shape.heads / shape.kvHeads);
      std::vector<double> weights;
      double largest = -INFINITY, total = 0;
      for (int64_t p = first; p <= row.position; ++p) {
        const auto &key = keys[row.sequence].at({p, kvHead});
        double score = 0;
        for (int64_t d = 0; d < shape.dim; ++d)
          score += double(q[h * shape.dim + d]) * key[d];
        score *= spec.scale;
        if (shape.softCap > 0)
          score = shape.softCap * std::tanh(score / shape.softCap);
        weights.push_back(score);
        largest = std::max(largest, score);
      }
      for (double &w : weights)
        total += w = std::exp(w - largest);
      for (int64_t d = 0; d < shape.dim; ++d) {
        double sum = 0;
        for (int64_t p = first; p <= row.position; ++p)
          sum += weights[p - first] * values[row.sequence].at({p, kvHead})[d];
        result.push_back(float(sum / total));
      }
    }
    return result;
  }

private:
  static constexpr int64_t kOffset = 64;

  void write(const char *name, llvm::function_ref<void(KernelBuilder &)> body) {
    KernelBuilder b(kernels.module(), name, kernels.isa());
    body(b);
    b.finish();
  }
  void setRows(llvm::ArrayRef<Row> rows) {
    positions.clear();
    sequences.clear();
    for (const Row &row : rows) {
      positions.push_back(row.position);
      sequences.push_back(row.sequence);
    }
  }
  Buffer<float> query(const Row &row) {
    return randomFloats(shape.heads * shape.dim, -2, 2,
                        1000 + row.sequence * 7919 + row.position);
  }

  Shape shape;
  CachedAttentionSpec spec, merge;
  CacheAppendSpec append;
  Kernels kernels;
  std::vector<Buffer<uint8_t>> memory;
  Buffer<void *> bases;
  Buffer<int32_t> positions, sequences;
  std::vector<std::map<std::pair<int64_t, int64_t>, std::vector<float>>> keys,
      values;
  unsigned seed = 0;
};

std::vector<Row> range(int32_t sequence, int32_t first, int32_t count) {
  std::vector<Row> rows;
  for (int32_t i = 0; i < count; ++i)
    rows.push_back({sequence, first + i});
  return rows;
}

void expectRow(Caches &caches, const Row &row, llvm::ArrayRef<float> got) {
  EXPECT_LT(maxError(got, caches.expected(row)), 2e-5)
      << "sequence " << row.sequence << ", position " << row.position;
}

/// Fills two sequences piece by piece, as a model does, and checks rows of
/// every piece, each in the run of its piece, alone, and with rows of the other
/// sequence: the results have the same bits.
void check(const Shape &shape, int64_t length, int64_t piece,
           llvm::StringRef target = "host") {
  SCOPED_TRACE(testing::Message()
               << shape.heads << "/" << shape.kvHeads << "x" << shape.dim
               << " type " << shape.type << " window " << shape.window);
  Caches caches(shape, target);
  int64_t width = shape.heads * shape.dim;
  for (int64_t done = 0; done < length; done += piece) {
    int64_t count = std::min(piece, length - done);
    std::vector<Row> rows = range(0, done, count);
    caches.fill(rows);
    caches.fill(range(1, done, count));
    Buffer<float> all = caches.attend(rows);
    for (int64_t i : {int64_t(0), count / 2, count - 1}) {
      llvm::ArrayRef<float> got =
          llvm::ArrayRef<float>(all).slice(i * width, width);
      expectRow(caches, rows[i], got);
      // Fewer rows than the last run of a sequence wrote would be gone from
      // rings.
      Buffer<float> alone = caches.attend({rows[i]});
      EXPECT_EQ(llvm::ArrayRef<float>(alone), got)
          << "position " << rows[i].position;
      Row other{1, rows[i].position};
      Buffer<float> mixed = caches.attend({other, rows[i], {1, int32_t(done)}});
      EXPECT_EQ(llvm::ArrayRef<float>(mixed).slice(width, width), got);
      expectRow(caches, other, llvm::ArrayRef<float>(mixed).take_front(width));
    }
  }
}

TEST(Cache, Types) {
  for (PareDType type : {PARE_F32, PARE_F16, PARE_I8}) {
    check({3, 1, 64, 1024, type}, 900, 300);
    check({4, 4, 24, 64, type}, 50, 13);
    check({2, 2, 20, 320, type, 0, 5.0f}, 310, 155);
  }
}

TEST(Cache, Groups) {
  for (int64_t group : {1, 2, 4, 5, 7, 8, 13, 50})
    check({2 * group, 2, 16, 320, PARE_F16}, 320, 64);
}

TEST(Cache, Windows) {
  for (PareDType type : {PARE_F16, PARE_I8}) {
    // A ring holds the window and the rows of a run.
    check({3, 1, 16, 112, type, 30}, 600, 80);
    check({2, 1, 32, 448, type, 300}, 1500, 140);
    check({2, 1, 16, 1024, type, 1}, 700, 350);
  }
}

TEST(Cache, ManyRows) {
  Shape shape{6, 2, 16, 1040, PARE_I8};
  Caches caches(shape);
  std::vector<Row> rows = range(0, 0, 1030);
  caches.fill(rows);
  Buffer<float> all = caches.attend(rows);
  int64_t width = shape.heads * shape.dim;
  for (int64_t i = 0; i < int64_t(rows.size()); i += 103)
    expectRow(caches, rows[i],
              llvm::ArrayRef<float>(all).slice(i * width, width));
  // Rows of the last group whose chunks are spread.
  for (int64_t i : {1024, 1029})
    EXPECT_EQ(llvm::ArrayRef<float>(caches.attend({rows[i]})),
              llvm::ArrayRef<float>(all).slice(i * width, width));
}

TEST(Cache, OneTokenOfManySequences) {
  Shape shape{8, 2, 32, 800, PARE_I8};
  Caches caches(shape);
  caches.fill(range(0, 0, 777));
  caches.fill(range(1, 0, 777));
  int64_t width = shape.heads * shape.dim;
  for (int32_t count : {1, 2, 3, 4, 5, 9, 20}) {
    std::vector<Row> rows;
    for (int32_t i = 0; i < count; ++i)
      rows.push_back({i % 2, 776 - 37 * i});
    Buffer<float> all = caches.attend(rows);
    for (int32_t i = 0; i < count; ++i) {
      llvm::ArrayRef<float> got =
          llvm::ArrayRef<float>(all).slice(i * width, width);
      expectRow(caches, rows[i], got);
      EXPECT_EQ(llvm::ArrayRef<float>(caches.attend({rows[i]})), got);
    }
  }
}

TEST(Cache, ZerosHaveNoScale) {
  Caches caches({2, 1, 16, 16, PARE_I8});
  caches.fill({{0, 0}});
  expectRow(caches, {0, 0}, llvm::ArrayRef<float>(caches.attend({{0, 0}})));
}

TEST(Cache, Plain) { check({3, 1, 20, 320, PARE_I8}, 300, 150, "x86-64-v2"); }

TEST(Cache, OtherTargets) {
  for (PareDType type : {PARE_F32, PARE_F16, PARE_I8}) {
    CachedAttentionSpec spec;
    spec.rows = Extent::runtime(0);
    spec.kvHeads = 2;
    spec.heads = 6;
    spec.headDim = 40;
    spec.type = type;
    spec.offset = Extent::runtime(1);
    spec.capacity = 512;
    spec.regionBytes = 512 * 40 * 4;
    CacheAppendSpec append;
    static_cast<CacheSpec &>(append) = spec;
    expectGenerates([&](KernelBuilder &b) { emitCacheAppend(b, append); });
    expectGenerates([&](KernelBuilder &b) { emitCachedAttention(b, spec); });
    expectGenerates([&](KernelBuilder &b) { emitAttentionMerge(b, spec); });
  }
}

} // namespace
