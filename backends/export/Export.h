//===- Export.h - Quantized models for other runtimes -----------*- C++ -*-===//
//
// An exporter writes the source again with some of its weights in new formats.
// It goes by the source's own names and copies everything else, so that what
// importing changes need not be undone. A new format costs one file with a
// subclass of Exporter and one line in Export.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_EXPORT_EXPORT_H
#define PARE_BACKENDS_EXPORT_EXPORT_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "passes/calibrate/StaticRanges.h"
#include "passes/quantize/Int8.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <map>

namespace pare::exporting {

/// A matrix of the source in its new format.
struct QuantizedWeight {
  TensorData data; ///< [outputs, inputs] or a table's rows; `storage` is set
  bool isTable = false;      ///< its rows are looked up
  bool isTransposed = false; ///< in the source it is [inputs, outputs]

  const BlockFormat &format() const { return data.storage->format; }
  int64_t rows() const { return data.type.getDimSize(0); }
  int64_t columns() const { return data.type.getDimSize(1); }
  /// Codes and scales, row-major.
  BlockPlanes unpack() const;
};

/// By the source's names.
using QuantizedWeights = std::map<std::string, QuantizedWeight, std::less<>>;

/// The weights of a graph that passes gave a format. Fails where one of them
/// is no longer one tensor of the source: merged, or there twice.
llvm::Expected<QuantizedWeights> collectWeights(mlir::ModuleOp module,
                                                const WeightStore &weights);

/// The scale of each group, in f32: of two levels the product, as
/// BlockFormat's definition has it.
std::vector<float> getGroupScales(const BlockFormat &format,
                                  const BlockPlanes &planes);

/// How the foreign runtime is to compute products.
enum class ProductAccuracy { Default, F32, Int8 };

struct ExportRequest {
  std::string source, output;
  QuantizedWeights weights;
  ProductAccuracy accuracy = ProductAccuracy::Default;
};

/// A source that is written with 8-bit weights, a scale per channel, and 8-bit
/// activations with fixed scales.
class StaticExport {
public:
  virtual ~StaticExport() = default;
  /// Names of the tensors whose ranges count, and of the results of products
  /// whose inputs do (observeRanges).
  virtual llvm::ArrayRef<std::string> tensors() const = 0;
  virtual llvm::ArrayRef<std::string> products() const = 0;
  /// Writes the result, which has its name only when it is whole; its bytes.
  /// `decisions` gets a line for each weight.
  virtual llvm::Expected<uint64_t>
  write(llvm::StringRef output, const StaticObservations &seen,
        std::vector<TensorDecision> &decisions) = 0;
};

class Exporter {
public:
  virtual ~Exporter() = default;
  /// "GGUF", for messages.
  virtual llvm::StringRef name() const = 0;
  /// What runs the result, for people.
  virtual llvm::StringRef runner() const = 0;
  /// Whether it writes this output from sources of the importer `format`.
  virtual bool takesOutput(llvm::StringRef output) const = 0;
  virtual bool takesSource(llvm::StringRef format) const = 0;
  /// Whether the runner has weights of this meaning, exactly.
  virtual bool supports(const BlockFormat &format, bool isTable) const = 0;
  /// The format that tables of looked-up rows get where none was asked for; a
  /// name of BlockFormat.h, or "keep".
  virtual llvm::StringRef getTableFormat() const { return "keep"; }
  /// What of the source at this path cannot be written, before any work.
  virtual llvm::Error checkSource(llvm::StringRef path) const {
    return llvm::Error::success();
  }
  /// Writes the result, which has its name only when it is whole; its bytes.
  virtual llvm::Expected<uint64_t>
  write(const ExportRequest &request) const = 0;
  /// Weights that match `keepFloat` stay as they are. Null: the format has no
  /// such scales.
  virtual llvm::Expected<std::unique_ptr<StaticExport>>
  openStatic(llvm::StringRef source,
             llvm::ArrayRef<llvm::GlobPattern> keepFloat) const {
    return nullptr;
  }
};

/// The exporter for a source of the importer `format`; an error says which
/// outputs there are.
llvm::Expected<const Exporter *> findExporter(llvm::StringRef format,
                                              llvm::StringRef output);

/// Writes a file, which is replaced only when all is written.
llvm::Error writeFile(llvm::StringRef path,
                      llvm::function_ref<void(llvm::raw_ostream &)> write);

/// Fails with one line after `what` where `exporter` has no such format; it
/// names the nearest, by bits per weight, that it has.
llvm::Error checkFormat(const Exporter &exporter, const BlockFormat &format,
                        bool isTable, const llvm::Twine &what);

/// ONNX files with QuantizeLinear and DequantizeLinear around products and
/// convolutions.
llvm::Expected<std::unique_ptr<StaticExport>>
openOnnxStatic(llvm::StringRef source,
               llvm::ArrayRef<llvm::GlobPattern> keepFloat);

const Exporter &getGgufExporter();
const Exporter &getOnnxExporter();
const Exporter &getCompressedTensorsExporter();

} // namespace pare::exporting

#endif
