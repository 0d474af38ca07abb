//===- Trace.h - All named values of one run --------------------*- C++ -*-===//
//
// A model run by the reference interpreter, or an artifact run as a program,
// on given inputs: both give their values under the source's names.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_TRACE_H
#define PARE_TOOLS_TRACE_H

#include "frontend/Importer.h"
#include "tools/Arrays.h"
#include "tools/Artifact.h"
#include "llvm/ADT/MapVector.h"

namespace pare::tools {

/// An input as a model declares it.
struct InputSpec {
  std::string name;
  mlir::Type element;
  nn::Shape shape;
};

/// What a model takes; symbols are numbered over all inputs.
struct Interface {
  std::vector<InputSpec> inputs;
  llvm::SmallVector<std::pair<int64_t, int64_t>> bounds; ///< of symbols
};

struct TracedValue {
  HostTensor tensor;
  std::string op; ///< what made it
};

/// Values by name, in the order of their making.
using Trace =
    llvm::MapVector<std::string, TracedValue, std::map<std::string, unsigned>>;
using Inputs = std::map<std::string, HostTensor>;

/// One side of a comparison.
class Traceable {
public:
  virtual ~Traceable() = default;
  virtual llvm::Expected<Interface> getInterface() = 0;
  virtual llvm::Expected<Trace> run(const Inputs &inputs) = 0;

  /// An artifact or a model file.
  static llvm::Expected<std::unique_ptr<Traceable>>
  open(llvm::StringRef path, const ImportOptions &options,
       mlir::MLIRContext &context, const TemporaryFolder &folder,
       Console &console);
};

/// Inputs for `interface`: those given, and for the rest numbers drawn from
/// `seed`, floats in [-1, 1) and small indices, attention masks of 1 and token
/// types of 0. Dynamic dimensions that no given input fixes are small: 1 along
/// the first axis, 32 along others, or as near as their bounds allow. A
/// language model gets 32 tokens of one sequence.
llvm::Expected<Inputs> makeInputs(const Interface &interface, Inputs given,
                                  uint64_t seed);

} // namespace pare::tools

#endif
