//===- BlockGemm.cpp - Products by weights in blocks ----------------------===//
#include "backends/cpu/kernels/BlockGemm.h"
#include "backends/cpu/kernels/BlockDot.h"
#include "backends/cpu/kernels/PanelGemm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace pare;
using namespace pare::cpu;

//===----------------------------------------------------------------------===//
// Tiling and scratch
//===----------------------------------------------------------------------===//

namespace {

constexpr int64_t kMaxTile = 12; ///< rows

/// What a task keeps in its scratch, in bytes from its start: of each row of
/// activations and group of weights the sum of the codes, times what the
/// weights' bias (i32) and the codes' scale (f32) make of it; then the sums of
/// a tile and one decoded panel.
///
/// Decoded for codes, a step is [8 quads][16][4] bytes, or [4 words][16][4] and
/// the numbers of the codes that they are multiplied with, as many; then the
/// scales and the shifts of its groups, f32 [16] each. Decoded for f32 it is
/// [32][16] f32.
struct Scratch {
  Scratch(const BlockWeights &weights, bool isInteger, int64_t rows, int64_t k)
      : groups(k / kBlockStep * weights.layout().groupsPerStep) {
    int64_t sums = rows * groups * 4,
            numbers = weights.layout().groupsPerStep * kPanel * 4;
    bool hasShift = weights.hasShift();
    scaled = isInteger && weights.bytes().bias != 0 ? sums : 0;
    tile = llvm::alignTo(scaled + (isInteger && hasShift ? sums : 0), 64);
    panel = tile + (isInteger ? kMaxTile * kPanel * 4 : 0);
    picks = kWordsPerStep * kQuad * kPanel;
    scales = kBlockStep * kPanel;
    shifts = scales + numbers;
    step =
        isInteger ? shifts + (hasShift ? numbers : 0) : kBlockStep * kPanel * 4;
    bytesOfAll = panel + k / kBlockStep * step;
  }
  int64_t groups;     ///< of a row
  int64_t biased = 0; ///< i32 [rows][groups]
  int64_t scaled;     ///< f32 [rows][groups]
  int64_t tile;       ///< f32 [kMaxTile][16]: sums of a tile
  int64_t panel;
  int64_t picks, scales, shifts; ///< in a step
  int64_t step;
  int64_t bytesOfAll;
};

BlockWeights makeWeights(const BlockGemmSpec &spec, const Isa &isa) {
  if (!spec.isInteger)
    return BlockWeights(*spec.format, std::min(16u, isa.f32Lanes), false);
  std::unique_ptr<BlockDot> dot = makeBlockDot(isa);
  return BlockWeights(*spec.format, dot->lanes, dot->isUnsigned);
}

/// Bytes of scratch for the rows of a task.
int64_t scratchBytes(const BlockGemmSpec &spec, const Isa &isa) {
  if (!spec.format) // A panel, where its elements are not f32 already.
    return spec.plain == PARE_F32 ? 0 : spec.k * kPanel * 4;
  return Scratch(makeWeights(spec, isa), spec.isInteger, rowsPerTask(spec),
                 spec.k)
      .bytesOfAll;
}

} // namespace

BlockGemmTiling pare::cpu::blockGemmTiling(const BlockGemmSpec &spec,
                                           const Isa &isa) {
  // One row waits for memory: some 64 KiB of weights are a few microseconds,
  // but a few tasks there should be.
  constexpr int64_t kBytes = 64 << 10, kMinTasks = 6;
  int64_t panels = llvm::divideCeil(spec.n, kPanel);
  int64_t perTask =
      std::min(llvm::divideCeil(kBytes, std::max<int64_t>(panelBytes(spec), 1)),
               llvm::divideCeil(panels, kMinTasks));
  // Tasks of about equal size.
  int64_t tasks = llvm::divideCeil(panels, std::max<int64_t>(perTask, 1));
  perTask = llvm::divideCeil(panels, std::max<int64_t>(tasks, 1));
  return {rowsPerTask(spec), std::max<int64_t>(perTask, 1) * kPanel,
          scratchBytes(spec, isa)};
}

namespace {

/// Products of weights in blocks.
class BlockGemmEmitter : public PanelGemmEmitter {
public:
  BlockGemmEmitter(KernelBuilder &b, const BlockGemmSpec &spec)
      : PanelGemmEmitter(b, spec), weights(makeWeights(spec, b.isa())),
        layout(weights.layout()),
        scratch(weights, spec.isInteger, tiling.rowsPerTask, spec.k) {}

protected:
  /// What the steps of a run share, for all parts of the panel.
  SmallVector<BlockWeights::Run> loadRun(Value address) {
    SmallVector<BlockWeights::Run> parts;
    for (unsigned row = 0; row < kPanel; row += weights.lanes())
      parts.push_back(weights.loadRun(b, address, b.idx(row)));
    return parts;
  }
  unsigned parts() const { return kPanel / weights.lanes(); }

  BlockWeights weights;
  const BlockLayout &layout;
  Scratch scratch;
};

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

/// The weights of one step, wherever they come from: quads, or words and what
/// they are multiplied with.
struct StepWeights {
  std::function<Value(unsigned quad, unsigned part)> quad;
  std::function<Value(unsigned word, unsigned part)> pick; ///< null: quads
  std::function<Value(unsigned group, unsigned part)> scale, shift;
};

/// Sums of a tile in f32, [row][part]: in registers, or where there are too few
/// of these, at `address`.
struct TileSums {
  SmallVector<Value> values;
  Value address;
  VectorType type;

  Value get(KernelBuilder &b, unsigned i) const {
    return address ? b.loadVec(type, address, place(b, i)) : values[i];
  }
  void set(KernelBuilder &b, unsigned i, Value sum) {
    if (address)
      b.store(sum, address, place(b, i));
    else
      values[i] = sum;
  }

private:
  Value place(KernelBuilder &b, unsigned i) const {
    return b.idx(int64_t(i) * type.getNumElements());
  }
};

class IntegerEmitter : public BlockGemmEmitter {
public:
  IntegerEmitter(KernelBuilder &b, const BlockGemmSpec &spec)
      : BlockGemmEmitter(b, spec), dot(makeBlockDot(b.isa())),
        hasBias(weights.bytes().bias != 0), hasShift(weights.hasShift()),
        f32(b.getF32Type()), i32(b.getI32Type()) {
    assert(!(weights.format().isSparse() && hasShift) &&
           "codes that are not stored are zero");
    if (weights.format().isSparse()) {
      oneByWords = dot->canPick();
      tilesByWords = oneByWords && !hasBias && !dot->sparseTiles().empty();
    }
  }

private:
  /// Where one row of activations is.
  struct Row {
    Value number; ///< in C
    Value codes, scales, biased, scaled;
  };

  void begin() override;
  void panel(Value packed, Value col) override;
  Row codesAt(Value inTask);
  void sumCodes(const Row &row);
  StepWeights packedStep(ArrayRef<BlockWeights::Run> run, Value step,
                         bool byWords);
  StepWeights decodedStep(Value step);
  void decode(Value packed);
  void keepInOrder(MutableArrayRef<BlockDot::Sums> sums);
  void addStep(ArrayRef<Row> rows, TileSums &sums, Value step,
               const StepWeights &from);
  void addQuads(ArrayRef<Row> rows, MutableArrayRef<BlockDot::Sums> sums,
                Value step, unsigned group, const StepWeights &from);
  void addWords(ArrayRef<Row> rows, MutableArrayRef<BlockDot::Sums> sums,
                Value step, unsigned group, const StepWeights &from);
  void storeTile(ArrayRef<Row> rows, const TileSums &sums, Value col);
  void oneRow(Value packed, Value col);
  void severalRows(Value packed, Value col);
  void tile(ArrayRef<Row> rows, Value col);

  std::unique_ptr<BlockDot> dot;
  bool hasBias, hasShift;
  /// Whether one row and tiles of rows are multiplied by words.
  bool oneByWords = false, tilesByWords = false;
  Type f32, i32;
};

IntegerEmitter::Row IntegerEmitter::codesAt(Value inTask) {
  Row row;
  row.number = rowAt(inTask);
  Value x = rowOfX(row.number);
  row.codes = b.gep(i8, b.ptr(spec.ptrX), b.mul(x, spec.k));
  row.scales = b.gep(f32, b.ptr(spec.ptrScales), b.mul(x, spec.k / kBlockStep));
  Value sums = b.mul(inTask, scratch.groups);
  row.biased = b.gep(i32, at(b.scratch(), scratch.biased), sums);
  row.scaled = b.gep(f32, at(b.scratch(), scratch.scaled), sums);
  return row;
}

void IntegerEmitter::begin() {
  if (!hasBias && !hasShift)
    return;
  b.loop(b.idx(0), height, 1, [&](Value row) { sumCodes(codesAt(row)); });
}

void IntegerEmitter::sumCodes(const Row &row) {
  unsigned size = kBlockStep / layout.groupsPerStep;
  Type i16 = b.getIntegerType(16);
  auto plus = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(b, x, y);
  };
  b.loop(b.idx(0), b.idx(scratch.groups), 1, [&](Value group) {
    Value codes = b.loadVec(b.vecType(size, i8), row.codes, b.mul(group, size));
    Value sum = foldLanes(
        b, arith::ExtSIOp::create(b, b.vecType(size, i16), codes), 0, plus);
    sum = arith::ExtSIOp::create(b, i32, sum);
    if (hasBias)
      b.store(arith::MulIOp::create(b, sum, b.constI32(-weights.bytes().bias)),
              row.biased, group);
    if (!hasShift)
      return;
    Value scale =
        b.load(f32, row.scales, b.divFloor(group, layout.groupsPerStep));
    Value real = arith::SIToFPOp::create(b, f32, sum);
    b.store(arith::MulFOp::create(b, real, scale), row.scaled, group);
  });
}

/// Step `step` of a run of a packed panel.
StepWeights IntegerEmitter::packedStep(ArrayRef<BlockWeights::Run> run,
                                       Value step, bool byWords) {
  StepWeights from;
  from.quad = [=, this](unsigned quad, unsigned part) {
    return byWords ? weights.word(b, run[part], step, quad)
                   : weights.quad(b, run[part], step, quad);
  };
  from.scale = [=, this](unsigned group, unsigned part) {
    return weights.scale(b, run[part], step, group);
  };
  from.shift = [=, this](unsigned group, unsigned part) {
    return weights.shift(b, run[part], step, group);
  };
  if (byWords) {
    SmallVector<SmallVector<Value, 4>> picks;
    for (const BlockWeights::Run &part : run)
      picks.push_back(weights.picks(b, part, step));
    from.pick = [=](unsigned word, unsigned part) { return picks[part][word]; };
  }
  return from;
}

/// Step `step` of the panel in scratch.
StepWeights IntegerEmitter::decodedStep(Value step) {
  Value base =
      b.gep(i8, at(b.scratch(), scratch.panel), b.mul(step, scratch.step));
  auto number = [=, this](int64_t from, unsigned group, unsigned part) {
    return b.loadVec(b.vecF32(dot->lanes), at(base, from),
                     b.idx(group * kPanel + part * dot->lanes));
  };
  auto bytes = [=, this](int64_t from, unsigned quad, unsigned part) {
    return b.loadVec(
        b.vecType(kQuad * dot->lanes, i8), base,
        b.idx(from + kQuad * (quad * kPanel + part * int64_t(dot->lanes))));
  };
  StepWeights from;
  from.quad = [=](unsigned quad, unsigned part) {
    return bytes(0, quad, part);
  };
  if (tilesByWords)
    from.pick = [=, this](unsigned word, unsigned part) {
      return bytes(scratch.picks, word, part);
    };
  from.scale = [=, this](unsigned group, unsigned part) {
    return number(scratch.scales, group, part);
  };
  from.shift = [=, this](unsigned group, unsigned part) {
    return number(scratch.shifts, group, part);
  };
  return from;
}

/// Decodes a panel into scratch.
void IntegerEmitter::decode(Value packed) {
  auto decodeStep = [&](ArrayRef<BlockWeights::Run> run, Value step, Value to) {
    StepWeights from = packedStep(run, step, tilesByWords);
    for (unsigned part = 0; part < parts(); ++part) {
      int64_t row = part * dot->lanes;
      for (unsigned quad = 0;
           quad < (tilesByWords ? kWordsPerStep : kQuadsPerStep); ++quad) {
        Value place = b.idx(kQuad * (quad * kPanel + row));
        b.store(from.quad(quad, part), to, place);
        if (tilesByWords)
          b.store(from.pick(quad, part), at(to, scratch.picks), place);
      }
      for (unsigned group = 0; group < layout.groupsPerStep; ++group) {
        Value place = b.idx(group * kPanel + row);
        b.store(from.scale(group, part), at(to, scratch.scales), place);
        if (hasShift)
          b.store(from.shift(group, part), at(to, scratch.shifts), place);
      }
    }
  };
  weights.forRuns(
      b, packed, spec.k, {}, [&](Value address, Value firstStep, ValueRange) {
        SmallVector<BlockWeights::Run> run = loadRun(address);
        return weights.forSteps(
            b, {}, [&](Value step, ValueRange) -> SmallVector<Value> {
              decodeStep(run, step,
                         b.gep(i8, at(b.scratch(), scratch.panel),
                               b.mul(b.add(firstStep, step), scratch.step)));
              return {};
            });
      });
}

/// Keeps the sums of a quad before those of the next, so that they stay in
/// registers and each quad of weights is loaded once.
void IntegerEmitter::keepInOrder(MutableArrayRef<BlockDot::Sums> sums) {
  SmallVector<Value *> live;
  SmallVector<Value> values;
  for (BlockDot::Sums &sum : sums)
    for (Value *value : {&sum.wide, &sum.small})
      if (*value) {
        live.push_back(value);
        values.push_back(*value);
      }
  const Isa &isa = b.isa();
  if (dot->lanes > isa.f32Lanes || values.size() + 3 > isa.vectorRegs)
    return;
  for (auto [value, kept] : llvm::zip_equal(live, b.inOrder(values)))
    *value = kept;
}

/// Adds the quads of group `group` of step `step` to the integers [row][part].
void IntegerEmitter::addQuads(ArrayRef<Row> rows,
                              MutableArrayRef<BlockDot::Sums> integers,
                              Value step, unsigned group,
                              const StepWeights &from) {
  unsigned parts = this->parts();
  int64_t quads = kQuadsPerStep / layout.groupsPerStep;
  const BlockBytes &meaning = weights.bytes();
  if (hasBias && !dot->addsLate)
    for (auto [r, row] : llvm::enumerate(rows)) {
      Value number = b.add(b.mul(step, layout.groupsPerStep), group);
      Value bias = b.splat(b.load(i32, row.biased, number), dot->lanes);
      for (unsigned part = 0; part < parts; ++part)
        integers[r * parts + part].wide = bias;
    }
  for (unsigned q = 0; q < quads; ++q) {
    unsigned quad = group * quads + q;
    SmallVector<BlockDot::Quad> bytes;
    for (unsigned part = 0; part < parts; ++part)
      bytes.push_back(dot->prepare(b, from.quad(quad, part), meaning));
    for (auto [r, row] : llvm::enumerate(rows)) {
      Value codes = dot->broadcast(
          b, at(b.gep(i8, row.codes, b.mul(step, kBlockStep)), quad * kQuad));
      for (unsigned part = 0; part < parts; ++part)
        dot->add(b, integers[r * parts + part], bytes[part], codes, meaning);
    }
    if (rows.size() > 1)
      keepInOrder(integers);
  }
}

/// The same of words. A bias is that of the codes they are multiplied with,
/// which each row of weights has its own of: it is summed beside.
void IntegerEmitter::addWords(ArrayRef<Row> rows,
                              MutableArrayRef<BlockDot::Sums> integers,
                              Value step, unsigned group,
                              const StepWeights &from) {
  unsigned parts = this->parts();
  int64_t words = kWordsPerStep / layout.groupsPerStep;
  const BlockBytes &meaning = weights.bytes(),
                   biasMeaning{false, unsigned(meaning.bias), 0};
  BlockDot::Quad bias;
  if (hasBias) {
    VectorType type = b.vecType(kQuad * dot->lanes, i8);
    bias.bytes = arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, int8_t(uint8_t(meaning.bias))));
    bias = dot->prepare(b, bias.bytes, biasMeaning);
  }
  SmallVector<BlockDot::Sums> biases(hasBias ? integers.size() : 0);
  for (unsigned w = 0; w < words; ++w) {
    unsigned word = group * words + w;
    // Parts one by one, so that few registers hold weights.
    for (unsigned part = 0; part < parts; ++part) {
      BlockDot::Quad bytes = dot->prepare(b, from.quad(word, part), meaning);
      Value numbers = from.pick(word, part);
      for (auto [r, row] : llvm::enumerate(rows)) {
        Value codes = dot->broadcastPair(
            b, at(b.gep(i8, row.codes, b.mul(step, kBlockStep)),
                  word * 2 * kQuad));
        codes = dot->pick(b, codes, numbers);
        dot->add(b, integers[r * parts + part], bytes, codes, meaning);
        if (hasBias)
          dot->add(b, biases[r * parts + part], bias, codes, biasMeaning);
      }
      if (rows.size() > 1)
        keepInOrder(integers);
    }
  }
  for (auto [sum, less] : llvm::zip(integers, biases))
    sum = {arith::SubIOp::create(b, dot->finish(b, sum), dot->finish(b, less)),
           nullptr};
}

/// Adds step `step` of the panel to the sums [row][part] of `rows`.
void IntegerEmitter::addStep(ArrayRef<Row> rows, TileSums &sums, Value step,
                             const StepWeights &from) {
  unsigned parts = this->parts(), lanes = dot->lanes;
  for (unsigned group = 0; group < layout.groupsPerStep; ++group) {
    Value number = b.add(b.mul(step, layout.groupsPerStep), group);
    SmallVector<BlockDot::Sums> integers(rows.size() * parts);
    if (from.pick)
      addWords(rows, integers, step, group, from);
    else
      addQuads(rows, integers, step, group, from);
    SmallVector<Value> scales, shifts;
    for (unsigned part = 0; part < parts; ++part) {
      scales.push_back(from.scale(group, part));
      if (hasShift)
        shifts.push_back(from.shift(group, part));
    }
    for (auto [r, row] : llvm::enumerate(rows)) {
      Value scale = b.splat(b.load(f32, row.scales, step), lanes);
      Value bias = hasBias && dot->addsLate && !from.pick
                       ? b.splat(b.load(i32, row.biased, number), lanes)
                       : Value();
      Value scaled =
          hasShift ? b.splat(b.load(f32, row.scaled, number), lanes) : Value();
      for (unsigned part = 0; part < parts; ++part) {
        Value integer = dot->finish(b, integers[r * parts + part]);
        if (bias)
          integer = arith::AddIOp::create(b, integer, bias);
        Value real = arith::SIToFPOp::create(b, b.vecF32(lanes), integer);
        Value sum = b.fma(real, arith::MulFOp::create(b, scales[part], scale),
                          sums.get(b, r * parts + part));
        if (hasShift)
          sum = b.fma(shifts[part], scaled, sum);
        sums.set(b, r * parts + part, sum);
      }
    }
  }
}

void IntegerEmitter::storeTile(ArrayRef<Row> rows, const TileSums &sums,
                               Value col) {
  for (auto [r, row] : llvm::enumerate(rows)) {
    SmallVector<Value> vectors;
    for (unsigned part = 0; part < parts(); ++part)
      vectors.push_back(sums.get(b, r * parts() + part));
    store(vectors, row.number, col);
  }
}

/// The task's only row: weights are decoded in registers.
void IntegerEmitter::oneRow(Value packed, Value col) {
  Row row = codesAt(b.idx(0));
  TileSums sums;
  sums.values.assign(parts(), b.zero(b.vecF32(dot->lanes)));
  sums.values = weights.forRuns(
      b, packed, spec.k, sums.values,
      [&](Value address, Value firstStep, ValueRange before) {
        SmallVector<BlockWeights::Run> run = loadRun(address);
        auto prefetch = [&](Value at, int64_t bytes) {
          b.prefetch(b.gep(i8, address, b.add(at, kPrefetchAhead)), bytes);
        };
        prefetch(b.idx(0), layout.codes);
        return weights.forSteps(b, before, [&](Value step, ValueRange so) {
          prefetch(b.add(b.mul(step, layout.stepBytes), layout.codes),
                   layout.stepBytes);
          TileSums next{SmallVector<Value>(so), nullptr, nullptr};
          addStep(row, next, b.add(firstStep, step),
                  packedStep(run, step, oneByWords));
          return next.values;
        });
      });
  storeTile(row, sums, col);
}

void IntegerEmitter::severalRows(Value packed, Value col) {
  decode(packed);
  Value begin = b.idx(0);
  for (unsigned size :
       tilesByWords ? dot->sparseTiles() : dot->tiles(weights.bytes())) {
    Value end =
        b.add(begin, b.mul(b.divFloor(b.sub(height, begin), size), size));
    b.loop(begin, end, size, [&](Value first) {
      SmallVector<Row> rows;
      for (unsigned i = 0; i < size; ++i)
        rows.push_back(codesAt(b.add(first, i)));
      tile(rows, col);
    });
    begin = end;
  }
}

/// `rows` by the panel in scratch.
void IntegerEmitter::tile(ArrayRef<Row> rows, Value col) {
  VectorType type = b.vecF32(dot->lanes);
  Value steps = b.idx(spec.k / kBlockStep);
  TileSums sums{{}, nullptr, type};
  SmallVector<Value> zeros(rows.size() * parts(), b.zero(type));
  if (dot->keepsSums(zeros.size())) {
    sums.values =
        b.loop(b.idx(0), steps, 1, zeros, [&](Value step, ValueRange before) {
          TileSums next{SmallVector<Value>(before), nullptr, type};
          addStep(rows, next, step, decodedStep(step));
          return next.values;
        });
  } else {
    sums.address = at(b.scratch(), scratch.tile);
    for (auto [i, zero] : llvm::enumerate(zeros))
      sums.set(b, i, zero);
    b.loop(b.idx(0), steps, 1,
           [&](Value step) { addStep(rows, sums, step, decodedStep(step)); });
  }
  storeTile(rows, sums, col);
}

void IntegerEmitter::panel(Value packed, Value col) {
  // Words that are not multiplied as such are made to quads in no few
  // instructions, best once.
  if (weights.format().isSparse() && !oneByWords)
    return severalRows(packed, col);
  b.ifThen(
      b.less(height, b.idx(2)), [&] { oneRow(packed, col); },
      [&] { severalRows(packed, col); });
}

//===----------------------------------------------------------------------===//
// f32
//===----------------------------------------------------------------------===//

class FloatEmitter : public BlockGemmEmitter {
public:
  FloatEmitter(KernelBuilder &b, const BlockGemmSpec &spec)
      : BlockGemmEmitter(b, spec), micro(b.isa(), MicroKernel::F32) {}

private:
  void panel(Value packed, Value col) override;
  void decode(Value packed);

  MicroKernel micro;
};

/// Decodes a panel into scratch, as the f32 micro-kernel has it.
void FloatEmitter::decode(Value packed) {
  const unsigned quads = kQuadsPerStep / layout.groupsPerStep;
  auto decodeStep = [&](const BlockWeights::Run &run, Value step, Value to) {
    BlockWeights::Group group;
    for (unsigned quad = 0; quad < kQuadsPerStep; ++quad) {
      if (quad % quads == 0)
        group = weights.loadGroup(b, run, step, quad / quads);
      Value bytes = weights.quad(b, run, step, quad);
      for (unsigned k = 0; k < kQuad; ++k)
        b.store(weights.weights(b, bytes, k, group), to,
                b.add(run.row, (quad * kQuad + k) * kPanel));
    }
  };
  weights.forRuns(
      b, packed, spec.k, {}, [&](Value address, Value firstStep, ValueRange) {
        SmallVector<BlockWeights::Run> parts = loadRun(address);
        return weights.forSteps(
            b, {}, [&](Value step, ValueRange) -> SmallVector<Value> {
              Value to = b.gep(i8, at(b.scratch(), scratch.panel),
                               b.mul(b.add(firstStep, step), scratch.step));
              for (const BlockWeights::Run &run : parts)
                decodeStep(run, step, to);
              return {};
            });
      });
}

void FloatEmitter::panel(Value packed, Value col) {
  decode(packed);
  multiply(micro, at(b.scratch(), scratch.panel), col);
}

//===----------------------------------------------------------------------===//
// f32 by plain weights
//===----------------------------------------------------------------------===//

class PlainEmitter : public PanelGemmEmitter {
public:
  PlainEmitter(KernelBuilder &b, const BlockGemmSpec &spec)
      : PanelGemmEmitter(b, spec), micro(b.isa(), MicroKernel::F32) {}

private:
  void panel(Value packed, Value col) override {
    if (spec.plain == PARE_F32)
      return multiply(micro, packed, col);
    forVectors(b, b.idx(spec.k * kPanel), kPanel, 4,
               [&](Value i, unsigned lanes, Value) {
                 b.store(loadAs(b, spec.plain, packed, i, lanes), b.scratch(),
                         i);
               });
    multiply(micro, b.scratch(), col);
  }

  MicroKernel micro;
};

} // namespace

void pare::cpu::emitBlockGemm(KernelBuilder &b, const BlockGemmSpec &spec) {
  if (!spec.format)
    PlainEmitter(b, spec).emit();
  else if (spec.isInteger)
    IntegerEmitter(b, spec).emit();
  else
    FloatEmitter(b, spec).emit();
}
