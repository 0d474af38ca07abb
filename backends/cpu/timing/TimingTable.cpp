//===- TimingTable.cpp - Measured kernel times of a machine ---------------===//
#include "backends/cpu/timing/TimingTable.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace llvm;

namespace pare::cpu {

/// Shapes further away say nothing of one another.
static constexpr double kMaxScale = 16;

Expected<TimingTable> TimingTable::parse(StringRef text, StringRef source) {
  TimingTable table;
  unsigned number = 0;
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    text = rest;
    ++number;
    line = line.trim();
    if (line.empty() || line.starts_with("#"))
      continue;
    auto fail = [&, line = line](const Twine &expected) {
      return createStringError(source + ":" + Twine(number) + ": '" +
                               line.take_front(60) + "': expected " + expected);
    };
    if (line.consume_front("target ")) {
      table.target = line.trim().str();
    } else if (line.consume_front("machine ")) {
      table.machine = line.trim().str();
    } else if (line.consume_front("date ")) {
      table.date = line.trim().str();
    } else {
      SmallVector<StringRef, 8> fields;
      line.split(fields, ' ', -1, /*KeepEmpty=*/false);
      const int positions[] = {2, 3, 4, 6};
      int64_t numbers[4]; // M, K, N, nanoseconds
      if (fields.size() != 7)
        return fail("op, format, M, K, N, provider, nanoseconds");
      for (auto [position, value] : zip(positions, numbers))
        if (fields[position].getAsInteger(10, value) || value <= 0 ||
            value > int64_t(1) << 40)
          return fail("a positive number in place of '" + fields[position] +
                      "'");
      table.add(fields[0], fields[1], fields[5],
                {numbers[0], numbers[1], numbers[2]}, numbers[3]);
    }
  }
  if (table.target.empty())
    return createStringError(source +
                             ": no 'target' line: not a table of kernel "
                             "timings; make one with pare tune");
  return table;
}

Expected<TimingTable> TimingTable::read(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path);
  if (!buffer)
    return createStringError(buffer.getError(),
                             "cannot read timings '" + path +
                                 "': " + buffer.getError().message());
  return parse((*buffer)->getBuffer(), path);
}

Expected<TimingTable> TimingTable::findShipped(StringRef target) {
  std::string program = sys::fs::getMainExecutable(nullptr, nullptr);
  SmallString<256> path(
      sys::path::parent_path(sys::path::parent_path(program)));
  sys::path::append(path, "lib", "pare", "timings", target + ".txt");
  if (!sys::fs::exists(path))
    return TimingTable();
  return read(path);
}

std::vector<TimingTable::Measurement> TimingTable::measurements() const {
  std::vector<Measurement> result;
  for (const auto &[key, weights] : curves_)
    for (const auto &[weight, curve] : weights)
      for (auto [m, nanoseconds] : curve) {
        const auto &[op, format, provider] = key;
        result.push_back({op,
                          format,
                          provider,
                          {m, weight.first, weight.second},
                          nanoseconds});
      }
  return result;
}

void TimingTable::write(raw_ostream &os) const {
  os << "# Kernel timings of pare on one thread (pare tune). A row: op, weight "
        "format,\n# M, K, N, provider, nanoseconds. matmul: alone, int8 with "
        "the quantization of\n# M x K; convolutions: pixels, inputs of an "
        "output, outputs, with bias and hard_swish.\n";
  os << "target " << target << "\nmachine " << machine << "\ndate " << date
     << "\n";
  for (const Measurement &m : measurements())
    os << m.op << ' ' << m.format << ' ' << m.shape.m << ' ' << m.shape.k << ' '
       << m.shape.n << ' ' << m.provider << ' ' << m.nanoseconds << '\n';
}

void TimingTable::add(StringRef op, StringRef format, StringRef provider,
                      ProductShape shape, int64_t nanoseconds) {
  curves_[{op.str(), format.str(), provider.str()}][{shape.k, shape.n}]
         [shape.m] = nanoseconds;
}

static double interpolate(const std::map<int64_t, int64_t> &curve, int64_t m) {
  auto above = curve.lower_bound(m);
  if (above == curve.end()) {
    auto last = std::prev(above);
    return double(last->second) * double(m) / double(last->first);
  }
  if (above == curve.begin() || above->first == m)
    return double(above->second);
  auto below = std::prev(above);
  double part = double(m - below->first) / double(above->first - below->first);
  return double(below->second) + part * double(above->second - below->second);
}

std::optional<TimingTable::Estimate>
TimingTable::estimate(StringRef op, StringRef format, StringRef provider,
                      ProductShape shape) const {
  auto kernel = curves_.find({op.str(), format.str(), provider.str()});
  if (kernel == curves_.end())
    return std::nullopt;
  const Weights &weights = kernel->second;
  if (auto exact = weights.find({shape.k, shape.n}); exact != weights.end())
    return Estimate{interpolate(exact->second, shape.m), true};

  const Weights::value_type *nearest = nullptr;
  double least = std::log(kMaxScale);
  for (const auto &entry : weights) {
    double distance =
        std::abs(std::log(double(entry.first.first) / double(shape.k))) +
        std::abs(std::log(double(entry.first.second) / double(shape.n)));
    if (distance < least) {
      least = distance;
      nearest = &entry;
    }
  }
  if (!nearest)
    return std::nullopt;
  double scale = double(shape.k) * double(shape.n) /
                 (double(nearest->first.first) * double(nearest->first.second));
  return Estimate{interpolate(nearest->second, shape.m) * scale, false};
}

} // namespace pare::cpu
