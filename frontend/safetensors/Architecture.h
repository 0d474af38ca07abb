//===- Architecture.h - Graphs that config.json describes -------*- C++ -*-===//
//
// A safetensors file holds tensors only; config.json says what computes with
// them. One file per architecture builds that graph.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_SAFETENSORS_ARCHITECTURE_H
#define PARE_FRONTEND_SAFETENSORS_ARCHITECTURE_H

#include "frontend/GraphBuilder.h"
#include "frontend/safetensors/Reader.h"
#include "llvm/Support/JSON.h"

namespace pare::safetensors {

/// config.json with errors that name the key.
class Config {
public:
  Config(std::string path, llvm::json::Object object)
      : path_(std::move(path)), object_(std::move(object)) {}

  llvm::StringRef path() const { return path_; }
  const llvm::json::Object &object() const { return object_; }
  /// The first of `keys` that is there, as an integer in [min, max].
  llvm::Expected<int64_t> getInteger(llvm::ArrayRef<llvm::StringRef> keys,
                                     int64_t min, int64_t max) const;
  double getNumber(llvm::StringRef key, double fallback) const;
  int64_t getInteger(llvm::StringRef key, int64_t fallback) const;
  std::string getString(llvm::ArrayRef<llvm::StringRef> keys,
                        llvm::StringRef fallback) const;

private:
  std::string path_;
  llvm::json::Object object_;
};

/// What an architecture builds from.
struct Source {
  const Config &config;
  const Tensors &tensors;
  const ImportOptions &options;
  /// Tokens per input at most (sentence_bert_config.json); 0: as the model.
  int64_t maxTokens = 0;
};

class Architecture {
public:
  virtual ~Architecture() = default;
  /// Whether config.json's model_type is one of this architecture's.
  virtual bool handles(llvm::StringRef modelType) const = 0;
  /// What of the config it cannot express.
  virtual std::vector<Unsupported> findUnsupported(const Config &) const = 0;
  /// Builds the entry and returns the module; `builder`'s store is empty.
  /// `maxTokens` receives the longest input that the model takes.
  virtual llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  build(const Source &source, GraphBuilder &builder,
        int64_t &maxTokens) const = 0;
};

/// Prefixes that the names of an encoder's tensors may have, by the class that
/// saved it.
inline constexpr llvm::StringLiteral encoderPrefixes[] = {
    "",       "bert.",        "roberta.", "electra.", "distilbert.",
    "model.", "0.auto_model."};

/// BERT and its siblings: RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT.
const Architecture &getBertArchitecture();

/// The architecture of a model type, or null.
const Architecture *findArchitecture(llvm::StringRef modelType);
/// "bert, roberta, …", for messages.
llvm::StringRef getKnownModelTypes();

} // namespace pare::safetensors

#endif
