//===- Eval.h - How good a model is on data ---------------------*- C++ -*-===//
//
// `pare eval` measures an artifact, alone or against another one, by one of
// these. Each gives the same figures for people and as JSON.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_EVAL_H
#define PARE_TOOLS_EVAL_H

#include "tools/Artifact.h"
#include "tools/Metrics.h"
#include "tools/Report.h"
#include "tools/data/Documents.h"

namespace pare::tools {

struct EvalOptions {
  uint64_t context = 512; ///< tokens of a chunk
  uint64_t tokens = 0;    ///< of all chunks; 0: the whole text
  uint64_t texts = 1000;  ///< of a sentence encoder; 0: all
  std::string labels;     ///< file; "": what the data has
  /// Of each side. 0: the artifact's own number, or half of the machine's where
  /// both run at the same time.
  unsigned threads = 0;
};

/// The two sides; without a second one only what needs none is measured.
struct EvalSubjects {
  Artifact model;
  std::optional<Artifact> against;
};

/// Figures in the order of their importance.
struct EvalReport {
  struct Row {
    std::string figure, value, error, meaning;
  };
  std::vector<Row> rows;
  llvm::json::Object json;

  void add(llvm::StringRef figure, const Estimate &estimate,
           llvm::StringRef meaning, double scale = 1,
           llvm::StringRef unit = "");
  void add(llvm::StringRef figure, double value, llvm::StringRef meaning);
};

/// {"value": …, "error": …}; null for what is not finite.
llvm::json::Value toJson(const Estimate &estimate);

/// Language models: perplexity, and against another one the divergence of its
/// predictions. Both read the tokens of the same chunks.
llvm::Expected<EvalReport> evalLanguage(const EvalSubjects &subjects,
                                        llvm::ArrayRef<Document> documents,
                                        const EvalOptions &options,
                                        const TemporaryFolder &folder,
                                        Console &console);

/// Sentence encoders: their vectors (`embed`) of texts.
llvm::Expected<EvalReport> evalVectors(const EvalSubjects &subjects,
                                       std::vector<Document> documents,
                                       const EvalOptions &options,
                                       const TemporaryFolder &folder,
                                       Console &console);

/// Any model on arrays and pictures: its outputs, and their classes where the
/// data have labels.
llvm::Expected<EvalReport>
evalArrays(const EvalSubjects &subjects, llvm::ArrayRef<DataFile> files,
           const EvalOptions &options, mlir::MLIRContext &context,
           const TemporaryFolder &folder, Console &console);

} // namespace pare::tools

#endif
