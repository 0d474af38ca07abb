//===- Importer.h - From files to a graph -----------------------*- C++ -*-===//
//
// The registry of formats. A new format costs one file with a subclass of
// Importer and one line in Importer.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_IMPORTER_H
#define PARE_FRONTEND_IMPORTER_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>
#include <optional>

namespace pare {

/// What turns text into a model's inputs and its output into one vector.
struct EncoderInfo {
  std::vector<uint8_t>
      tokenizer; ///< serialized table (frontend/tokenizer/Format.h)
  enum class Pooling { None, Mean, Cls, Max } pooling = Pooling::None;
  bool normalize = false;
  int64_t maxTokens = 0;
};

/// What a language model's artifact generates text with.
struct DecoderInfo {
  std::vector<uint8_t> tokenizer;    ///< as EncoderInfo's; empty: none
  std::vector<uint8_t> chatTemplate; ///< serialized; empty: none
  int64_t context = 0, vocabulary = 0;
  /// Tokens from `vocabulary` on that begin every sequence, not the
  /// tokenizer's.
  int64_t promptTokens = 0;
  std::vector<int32_t> stops; ///< tokens that end a text
  /// What the model's authors advise (generation_config.json); 0: not said.
  float temperature = 0, topP = 0, minP = 0, repetitionPenalty = 0;
  uint32_t topK = 0;
};

/// An imported model.
struct Model {
  mlir::OwningOpRef<mlir::ModuleOp> module; ///< nn graph, entry `@main`
  std::shared_ptr<WeightStore> weights;
  std::string name;   ///< for people: the file's or folder's stem
  std::string format; ///< "onnx", "safetensors", "gguf"
  std::optional<EncoderInfo> encoder;
  std::optional<DecoderInfo> decoder;
  std::vector<std::string> warnings; ///< one line each
};

/// Elements of a language model's cache of keys and values.
enum class CacheType { F16, F32, I8 };

/// How adapters come into a model.
enum class AdapterMode {
  Auto,   ///< Merge where the weight is float and nothing else uses it
  Merge,  ///< in the weight, which becomes f32
  Beside, ///< as ops of their own: the weight keeps its bits
};

struct ImportOptions {
  /// Fixed shapes or symbolic ones, per input name: `1x3x48x320`; a part that
  /// is a name with bounds, `batch:1..16`, stays dynamic. Inputs not listed
  /// keep the model's own shape; its unknown dimensions become symbols.
  std::map<std::string, std::string> shapes;
  /// Upper bound of dynamic dimensions that no shape option bounds.
  int64_t defaultDimMax = 0; ///< 0: the importer's own default per kind
  /// Positions that a language model's sequences have at most; 0: as trained.
  int64_t context = 0;
  CacheType cache = CacheType::F16;
  std::vector<std::string> adapters; ///< folders that PEFT saved
  AdapterMode adapterMode = AdapterMode::Auto;
};

/// One unsupported thing of a model, for `inspect` and for the error that
/// lists all of them at once.
struct Unsupported {
  std::string op; ///< "NonMaxSuppression"
  unsigned count;
  std::string why; ///< "no such nn op", or what of it is unsupported
};

/// What a file holds, for `inspect`.
struct FileContents {
  std::string format;  ///< "GGUF version 3"
  std::string summary; ///< the model in one line; empty where it is unknown
  std::vector<std::pair<std::string, std::string>> metadata; ///< key, value
  struct Tensor {
    std::string name, type;
    std::vector<int64_t> shape;
    uint64_t elements, bytes;
  };
  std::vector<Tensor> tensors;
};

class Importer {
public:
  virtual ~Importer() = default;
  virtual llvm::StringRef name() const = 0;
  /// Looks at name and first bytes only.
  virtual bool recognizes(llvm::StringRef path) const = 0;
  virtual llvm::Expected<Model> import(llvm::StringRef path,
                                       const ImportOptions &options,
                                       mlir::MLIRContext &context) const = 0;
  /// What import would refuse, without building a graph.
  virtual llvm::Expected<std::vector<Unsupported>>
  findUnsupported(llvm::StringRef path) const = 0;
  /// What the file holds, where the format has metadata and tensors to show
  /// beside the graph.
  virtual llvm::Expected<std::optional<FileContents>>
  describe(llvm::StringRef path) const {
    return std::nullopt;
  }
};

/// One line that lists everything unsupported of a model.
llvm::Error makeUnsupportedError(llvm::StringRef path,
                                 llvm::ArrayRef<Unsupported> unsupported);

/// A warning of tensors that the graph does not use, with their number and the
/// first names: a model that ignores some is likely another model. Buffers that
/// graphs compute for themselves (rotary frequencies, masks, position ids) do
/// not count; nullopt where nothing is left.
std::optional<std::string> warnOfUnused(llvm::StringRef path,
                                        std::vector<std::string> unused);

/// "1x3x48x320"; empty for a scalar.
std::string printShape(llvm::ArrayRef<int64_t> shape);

/// The same text or error on one line: names in damaged files may hold
/// anything.
std::string onOneLine(llvm::StringRef text);
llvm::Error onOneLine(llvm::Error error);

/// Model::name of a path: its stem.
std::string getModelName(llvm::StringRef path);

/// The importer of a file or folder; an error names the formats known.
llvm::Expected<const Importer *> findImporter(llvm::StringRef path);

} // namespace pare

#endif
