//===- Checkpoint.h - Finished parts of a long run --------------*- C++ -*-===//
//
// Quantizing a large model takes long and makes more bytes than memory may
// hold. What is finished goes to files of a folder, one per weight, and is
// mapped from there: memory is bounded by the largest weight, and a run that
// was stopped is taken up where it was.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_QUANTIZE_CHECKPOINT_H
#define PARE_PASSES_QUANTIZE_CHECKPOINT_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "passes/quantize/encode/Encode.h"
#include "passes/reference/HostTensor.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <array>
#include <functional>

namespace pare {

struct CheckpointOptions {
  std::string folder; ///< made where there is none; empty: keep nothing
  /// What decides a run's bytes beside its graph, weights, samples and options:
  /// the build, and the CPU that runs samples.
  std::function<std::string()> identity = nullptr;
  /// Runs without samples are short: they keep nothing where the weights to
  /// quantize are fewer bytes than these.
  uint64_t fromBytes = 0;
  /// Takes lines for the user.
  std::function<void(const llvm::Twine &)> say = nullptr;
};

/// A hash of what a run's bytes depend on.
using RunKey = std::array<uint8_t, 32>;

/// The inputs of one run of a graph.
using Sample = std::vector<HostTensor>;

/// The key of a run that gives the weights of `module` the formats `formats`
/// says; `identity` as in CheckpointOptions.
RunKey makeRunKey(llvm::StringRef identity, mlir::ModuleOp module,
                  const WeightStore &weights, llvm::StringRef formats,
                  const encode::EncodeOptions &options,
                  llvm::ArrayRef<Sample> samples);

/// A folder of parts, each a file that is whole or absent: it is written under
/// a temporary name, flushed to the disk and renamed. A part says which run it
/// is of and has a hash of its bytes.
class Checkpoint {
public:
  /// Opens or makes the folder; parts of other runs are removed. Fails where
  /// the folder cannot be made or another process works in it.
  static llvm::Expected<std::unique_ptr<Checkpoint>>
  open(const CheckpointOptions &options, const RunKey &key);
  /// Removes the parts in `folder`, and it if nothing else is in there, unless
  /// a run works in it.
  static void discard(llvm::StringRef folder);
  ~Checkpoint();

  llvm::StringRef folder() const { return options.folder; }
  void say(const llvm::Twine &line) const {
    if (options.say)
      options.say(line);
  }

  /// Bytes of a part, mapped; they start at a multiple of 64.
  struct Part {
    std::shared_ptr<MappedFile> file;
    llvm::ArrayRef<uint8_t> bytes() const;
    static uint64_t offset();
  };
  /// The part `name` of this run. One that is damaged is removed, with a line
  /// that says so.
  std::optional<Part> find(llvm::StringRef name) const;
  /// Fails where the disk does; then no part has the name.
  llvm::Expected<Part>
  save(llvm::StringRef name,
       llvm::function_ref<void(llvm::raw_ostream &)> write) const;
  void remove(llvm::StringRef name) const;

private:
  Checkpoint(const CheckpointOptions &options, const RunKey &key, int lock)
      : options(options), key(key), lock(lock) {}
  std::string getPath(llvm::StringRef name) const;

  CheckpointOptions options;
  RunKey key;
  int lock; ///< descriptor of a locked file
};

/// A weight in blocks or of f32, or the part of a checkpoint that has it.
struct EncodedWeight {
  double error = 0;
  double zeros = 0;           ///< share of weights that pruning made 0
  bool hasMoments = false;    ///< whether its method saw inputs
  std::vector<uint8_t> bytes; ///< empty where the part has them
  std::optional<Checkpoint::Part> part = std::nullopt;

  /// Number `index` of the run, of `size` bytes, if it is finished.
  static std::optional<EncodedWeight> find(const Checkpoint &checkpoint,
                                           size_t index, uint64_t size);
  /// Moves the bytes to a part.
  llvm::Error save(const Checkpoint &checkpoint, size_t index);
  /// Adds them to the store as addOwnedBlocks does, or where `storage` is null
  /// as addOwned; they are gone then.
  llvm::Expected<std::string> addTo(WeightStore &store, llvm::StringRef name,
                                    mlir::RankedTensorType type,
                                    const BlockStorage *storage);
};

/// A value of the float model and of the one quantized so far, per sample.
struct Paths {
  std::vector<HostTensor> exact, changed;
};

/// Moves what later layers need of the layers up to `layer` to a part; the
/// tensors become views of it.
llvm::Expected<Checkpoint::Part> saveValues(const Checkpoint &checkpoint,
                                            size_t layer,
                                            llvm::ArrayRef<Paths *> values);
/// The inverse, for `samples` samples: fills `values`, whose elements are of
/// the types `elements`, with views of the part. Nothing where there is none.
std::optional<Checkpoint::Part> loadValues(const Checkpoint &checkpoint,
                                           size_t layer, size_t samples,
                                           llvm::ArrayRef<mlir::Type> elements,
                                           llvm::ArrayRef<Paths *> values);
/// Removes what saveValues wrote.
void removeValues(const Checkpoint &checkpoint, size_t layer);

} // namespace pare

#endif
