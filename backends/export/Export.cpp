//===- Export.cpp - Quantized models for other runtimes -------------------===//
#include "backends/export/Export.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>

using namespace llvm;

namespace pare::exporting {

BlockPlanes QuantizedWeight::unpack() const {
  BlockPlanes planes;
  data.storage->unpack(data.bytes, planes);
  return planes;
}

Expected<QuantizedWeights> collectWeights(mlir::ModuleOp module,
                                          const WeightStore &weights) {
  QuantizedWeights found;
  StringSet<> tables;
  nn::getEntry(module).walk([&](nn::ParamOp param) {
    if (any_of(param->getUsers(), llvm::IsaPred<nn::GatherOp>))
      tables.insert(param.getWeight());
  });
  for (auto weight : module.getOps<nn::WeightOp>()) {
    // Blocks of the file itself have no source but themselves.
    if (!weight.getBlocks() || !weight.getSource())
      continue;
    StringRef name = *weight.getSource();
    const TensorData &data = weights.get(weight.getSymName());
    assert(data.storage && "blocks without a storage");
    if (weight->hasAttr(kSourcesAttr))
      return createStringError("tensor '" + name +
                               "' is computed in one product with others");
    if (!found
             .try_emplace(name.str(),
                          QuantizedWeight{data,
                                          tables.contains(weight.getSymName()),
                                          weight->hasAttr(kTransposedAttr)})
             .second)
      return createStringError("tensor '" + name +
                               "' is used in two layouts: keep it as it is "
                               "with --rule '" +
                               name + "=none'");
  }
  return std::move(found);
}

std::vector<float> getGroupScales(const BlockFormat &format,
                                  const BlockPlanes &planes) {
  unsigned bytes = getScaleBytes(format.scale);
  size_t outer = planes.scales.size() / bytes;
  size_t inner = format.superGroup ? format.superGroup / format.group : 1;
  std::vector<float> scales(outer * inner);
  for (size_t i = 0; i < scales.size(); ++i) {
    float scale = decodeScale(format.scale, &planes.scales[i / inner * bytes]);
    if (format.hasTwoLevels()) {
      int sub = format.subSigned ? int(int8_t(planes.subScales[i]))
                                 : int(planes.subScales[i]);
      scale *= float(sub - format.subOffset);
    }
    scales[i] = scale;
  }
  return scales;
}

/// All of them, in the order in which they are asked.
static ArrayRef<const Exporter *> getExporters() {
  static const Exporter *const exporters[] = {
      &getGgufExporter(), &getOnnxExporter(), &getCompressedTensorsExporter()};
  return exporters;
}

Expected<const Exporter *> findExporter(StringRef format, StringRef output) {
  std::string ofSource;
  for (const Exporter *exporter : getExporters()) {
    if (!exporter->takesSource(format))
      continue;
    if (exporter->takesOutput(output))
      return exporter;
    ofSource += (ofSource.empty() ? "" : ", ") + exporter->name().str();
  }
  return createStringError("cannot write '" + output + "' from a source in " +
                           format + ": " +
                           (ofSource.empty() ? "there is no exporter for it"
                                             : "it can become " + ofSource));
}

Error writeFile(StringRef path, function_ref<void(raw_ostream &)> write) {
  return writeToOutput(path, [&](raw_ostream &stream) -> Error {
    write(stream);
    stream.flush();
    // Left in a file's stream, an error would be fatal in the end.
    if (stream.get_kind() == raw_ostream::OStreamKind::OK_FDStream) {
      auto &file = static_cast<raw_fd_ostream &>(stream);
      std::error_code error = file.error();
      file.clear_error();
      if (error)
        return createStringError("cannot write '" + path +
                                 "': " + error.message());
    }
    return Error::success();
  });
}

/// Names of formats that users are likely to want, those of files among them.
static std::vector<std::string> getCandidates() {
  std::vector<std::string> names;
  for (unsigned bits : {2, 3, 4, 5, 6, 8})
    for (unsigned group : {32, 16, 64, 128, 256})
      for (const char *sign : {"int", "uint"}) {
        std::string name =
            sign + std::to_string(bits) + "_g" + std::to_string(group);
        names.push_back(name);
        if (group < 256)
          names.insert(names.end(), {name + "_k6x256", name + "_k4x256"});
      }
  names.push_back("ternary_g256");
  for (const BlockFormat &format : getBlockFormats())
    names.push_back(format.name.str());
  return names;
}

Error checkFormat(const Exporter &exporter, const BlockFormat &format,
                  bool isTable, const Twine &what) {
  if (exporter.supports(format, isTable))
    return Error::success();
  std::vector<const BlockFormat *> near;
  for (const std::string &name : getCandidates())
    if (const BlockFormat *other = findBlockFormat(name);
        other && exporter.supports(*other, isTable))
      near.push_back(other);
  stable_sort(near, [&](const BlockFormat *a, const BlockFormat *b) {
    auto distance = [&](const BlockFormat *other) {
      return std::abs(other->getBitsPerWeight() - format.getBitsPerWeight());
    };
    return distance(a) < distance(b);
  });
  std::string names = join(
      map_range(ArrayRef(near).take_front(3),
                [](const BlockFormat *other) { return other->name.str(); }),
      ", ");
  std::string kind = isTable ? "tables of " : "weights in ";
  return createStringError(
      what + ": " + exporter.name() + " has no " + kind + format.name +
      (near.empty() ? std::string(" nor in any other format: give none")
                    : "; nearest that it has: " + names));
}

} // namespace pare::exporting
