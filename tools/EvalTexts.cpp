//===- EvalTexts.cpp - pare eval of language models and encoders ----------===//
#include "tools/Arrays.h"
#include "tools/Eval.h"
#include "tools/data/Tokens.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Threading.h"
#include <cmath>

using namespace llvm;

namespace pare::tools {

static void addThreads(unsigned threads, std::vector<std::string> &arguments) {
  if (threads)
    arguments.push_back("--threads=" + std::to_string(threads));
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

static Expected<int64_t> getVocabulary(const Artifact &artifact,
                                       const TemporaryFolder &folder) {
  Expected<json::Object> info = readInfo(artifact, folder);
  if (!info)
    return info.takeError();
  int64_t size = info->getInteger("vocabulary").value_or(0);
  if (size <= 0)
    return createStringError("'" + artifact.label + "' is no language model");
  return size;
}

static Expected<std::vector<uint8_t>> readBytes(const std::string &path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return createStringError("cannot read '" + path +
                             "': " + buffer.getError().message());
  StringRef bytes = (*buffer)->getBuffer();
  return std::vector<uint8_t>(bytes.bytes_begin(), bytes.bytes_end());
}

/// The tokenizer that an artifact holds.
static Expected<TextTokenizer> openTokenizer(const Artifact &artifact,
                                             const TemporaryFolder &folder) {
  std::string table = folder.file("tokenizer"), chat = folder.file("chat");
  if (Error error = runArtifact(artifact,
                                {"info", "--write-tokenizer", table,
                                 "--write-chat-template", chat, "--quiet"},
                                folder)
                        .takeError())
    return std::move(error);
  Expected<std::vector<uint8_t>> tableBytes = readBytes(table);
  if (!tableBytes)
    return tableBytes.takeError();
  Expected<std::vector<uint8_t>> chatBytes = readBytes(chat);
  if (!chatBytes)
    return chatBytes.takeError();
  return TextTokenizer::open(*tableBytes, *chatBytes, artifact.label);
}

/// The chunks that both sides read.
static Expected<std::vector<std::vector<int32_t>>>
makeChunks(const EvalSubjects &subjects, ArrayRef<Document> documents,
           const EvalOptions &options, int64_t vocabulary,
           const TemporaryFolder &folder, Console &console) {
  Expected<TextTokenizer> tokenizer = openTokenizer(subjects.model, folder);
  if (!tokenizer)
    return tokenizer.takeError();
  Expected<TokenStream> stream =
      encodeAll(documents, *tokenizer, vocabulary, console.listener());
  if (!stream)
    return stream.takeError();
  if (std::optional<std::string> strange = stream->findStrange())
    console.warn(*strange);
  if (subjects.against) {
    Expected<TextTokenizer> other = openTokenizer(*subjects.against, folder);
    if (!other)
      return other.takeError();
    Expected<TokenStream> same =
        encodeAll(documents, *other, vocabulary, console.listener());
    if (!same)
      return same.takeError();
    if (same->tokens != stream->tokens)
      return createStringError("'" + subjects.model.label + "' and '" +
                               subjects.against->label +
                               "' have different tokens for the same text: "
                               "they cannot be compared");
  }
  auto chunks = cutChunks(stream->tokens, options.context,
                          tokenizer->getBegin(), /*keepsRest=*/false);
  if (chunks.empty())
    return createStringError("the texts have " + Twine(stream->tokens.size()) +
                             " tokens, fewer than one chunk of " +
                             Twine(options.context) + "; see --context");
  if (options.tokens)
    chunks.resize(std::min<uint64_t>(
        chunks.size(),
        std::max<uint64_t>(1, options.tokens / options.context)));
  return std::move(chunks);
}

/// Runs `artifact` over the chunks; what comes are rows of logits, one for each
/// position of second halves but the last.
static Expected<ArtifactStream>
startLogits(const Artifact &artifact, const std::string &tokens,
            unsigned threads, const TemporaryFolder &folder, StringRef name) {
  std::vector<std::string> arguments = {"perplexity", "--tokens", tokens,
                                        "--logits", "--quiet"};
  addThreads(threads, arguments);
  return ArtifactStream::start(artifact, arguments, folder, name);
}

static Expected<std::vector<Prediction>>
predict(const EvalSubjects &subjects, ArrayRef<std::vector<int32_t>> chunks,
        int64_t vocabulary, const EvalOptions &options,
        const TemporaryFolder &folder, Console &console) {
  mlir::MLIRContext context;
  uint64_t size = options.context;
  HostTensor tokens(
      mlir::RankedTensorType::get({int64_t(chunks.size()), int64_t(size)},
                                  mlir::IntegerType::get(&context, 32)));
  MutableArrayRef<int32_t> ids = tokens.values<int32_t>();
  for (auto [index, chunk] : enumerate(chunks))
    llvm::copy(chunk, ids.begin() + index * size);
  std::string path = folder.file("tokens.npy");
  if (Error error = writeArray(path, tokens))
    return std::move(error);

  // Two processes at the same time, with half of the machine each: no logits
  // are stored.
  unsigned threads = options.threads;
  if (!threads && subjects.against)
    threads = std::max(1u, hardware_concurrency().compute_thread_count() / 2);
  Expected<ArtifactStream> model =
      startLogits(subjects.model, path, threads, folder, "errors");
  if (!model)
    return model.takeError();
  std::optional<ArtifactStream> against;
  if (subjects.against) {
    Expected<ArtifactStream> started =
        startLogits(*subjects.against, path, threads, folder, "errors.against");
    if (!started)
      return started.takeError();
    against.emplace(std::move(*started));
  }
  std::vector<float> row(vocabulary), other(against ? vocabulary : 0);
  auto asBytes = [](std::vector<float> &values) {
    return MutableArrayRef(reinterpret_cast<char *>(values.data()),
                           values.size() * sizeof(float));
  };
  std::vector<Prediction> predictions;
  const ProgressFn listener = console.listener();
  uint64_t perChunk = size - 1 - size / 2;
  PhaseProgress progress(listener, "evaluate", chunks.size() * perChunk);
  for (const std::vector<int32_t> &chunk : chunks)
    for (uint64_t position = size / 2; position + 1 < size; ++position) {
      if (Error error = model->read(asBytes(row)))
        return std::move(error);
      if (against)
        if (Error error = against->read(asBytes(other)))
          return std::move(error);
      predictions.push_back(measurePrediction(row, other, chunk[position + 1]));
      progress.finish();
    }
  if (Error error = model->finish())
    return std::move(error);
  if (against)
    if (Error error = against->finish())
      return std::move(error);
  return std::move(predictions);
}

Expected<EvalReport> evalLanguage(const EvalSubjects &subjects,
                                  ArrayRef<Document> documents,
                                  const EvalOptions &options,
                                  const TemporaryFolder &folder,
                                  Console &console) {
  Expected<int64_t> vocabulary = getVocabulary(subjects.model, folder);
  if (!vocabulary)
    return vocabulary.takeError();
  if (subjects.against) {
    Expected<int64_t> other = getVocabulary(*subjects.against, folder);
    if (!other)
      return other.takeError();
    if (*other != *vocabulary)
      return createStringError("'" + subjects.model.label + "' has " +
                               Twine(*vocabulary) + " tokens and '" +
                               subjects.against->label + "' " + Twine(*other) +
                               ": they cannot be compared");
  }
  auto chunks =
      makeChunks(subjects, documents, options, *vocabulary, folder, console);
  if (!chunks)
    return chunks.takeError();
  auto predictions =
      predict(subjects, *chunks, *vocabulary, options, folder, console);
  if (!predictions)
    return predictions.takeError();
  LanguageReport r = summarize(*predictions);

  EvalReport report;
  report.json = json::Object{
      {"kind", "language model"},
      {"context", int64_t(options.context)},
      {"chunks", int64_t(chunks->size())},
      {"tokens", int64_t(r.tokens)},
      {"perplexity", toJson(r.perplexity)},
      {"nll", r.loss},
  };
  report.add("perplexity", r.perplexity,
             formatv("{0} tokens, the second halves of {1} chunks of {2}",
                     r.tokens, chunks->size(), options.context)
                 .str());
  if (!subjects.against)
    return std::move(report);
  report.add("perplexity against", r.perplexityAgainst,
             "of " + subjects.against->label);
  report.add("perplexity ratio", r.ratio, "e to the mean difference of losses");
  report.add("KL divergence", r.kl, "mean, nats");
  report.add("KL median", r.klMedian, "");
  report.add("KL 90%", r.kl90, "nine of ten tokens have less");
  report.add("KL 99%", r.kl99, "");
  report.add("KL 99.9%", r.kl999, "");
  report.add("KL largest", r.klMax, "");
  report.add("same top token", r.sameTop, "share of tokens", 100, "%");
  report.add("probability error", r.probability,
             "of the true token, root mean square", 100, "%");
  report.json["perplexity_against"] = toJson(r.perplexityAgainst);
  report.json["nll_against"] = r.lossAgainst;
  report.json["perplexity_ratio"] = toJson(r.ratio);
  json::Object kl = *toJson(r.kl).getAsObject();
  kl["median"] = r.klMedian;
  kl["p90"] = r.kl90;
  kl["p99"] = r.kl99;
  kl["p999"] = r.kl999;
  kl["max"] = r.klMax;
  report.json["kl"] = std::move(kl);
  report.json["same_top"] = toJson(r.sameTop);
  report.json["probability_rms"] = toJson(r.probability);
  return std::move(report);
}

//===----------------------------------------------------------------------===//
// Sentence encoders
//===----------------------------------------------------------------------===//

/// Vectors of the lines of a file.
static Expected<Matrix> embed(const Artifact &artifact,
                              const std::string &lines, size_t count,
                              const EvalOptions &options,
                              const TemporaryFolder &folder) {
  std::string path = folder.file("vectors.npy");
  std::vector<std::string> arguments = {"embed", "--output", path, "--quiet"};
  addThreads(options.threads, arguments);
  if (Error error = runArtifact(artifact, arguments, folder, lines).takeError())
    return std::move(error);
  mlir::MLIRContext context;
  Expected<std::vector<NamedArray>> arrays = readArrays(path, context);
  if (!arrays)
    return arrays.takeError();
  const HostTensor &tensor = arrays->front().tensor;
  if (tensor.shape().size() != 2 || tensor.shape()[0] != int64_t(count))
    return createStringError(artifact.label + ": gives no vector per text");
  Matrix result{tensor.read<float>(), size_t(tensor.shape()[1])};
  if (!all_of(result.values, [](float x) { return std::isfinite(x); }))
    return createStringError(artifact.label +
                             ": some vectors are not of finite numbers");
  return std::move(result);
}

Expected<EvalReport> evalVectors(const EvalSubjects &subjects,
                                 std::vector<Document> documents,
                                 const EvalOptions &options,
                                 const TemporaryFolder &folder,
                                 Console &console) {
  if (!subjects.against)
    return createStringError("'" + subjects.model.label +
                             "' gives vectors, which are measured against "
                             "another model's: say which with --against");
  std::string lines = folder.file("texts");
  std::vector<std::string> texts;
  {
    std::error_code error;
    raw_fd_ostream file(lines, error);
    for (size_t index :
         drawSpread(documents.size(),
                    options.texts ? options.texts : documents.size(), 0)) {
      std::string text = std::move(documents[index].text);
      for (char &c : text) // a line is a text
        c = c == '\n' || c == '\r' ? ' ' : c;
      file << text << "\n";
      texts.push_back(std::move(text));
    }
    file.flush();
    if (error || file.has_error()) {
      file.clear_error();
      return createStringError("cannot write '" + lines + "'");
    }
  }
  const ProgressFn listener = console.listener();
  Matrix sides[2];
  {
    PhaseProgress progress(listener, "embed", 2);
    for (auto [side, artifact] :
         {std::pair(0, &subjects.model), std::pair(1, &*subjects.against)}) {
      Expected<Matrix> vectors =
          embed(*artifact, lines, texts.size(), options, folder);
      if (!vectors)
        return vectors.takeError();
      sides[side] = std::move(*vectors);
      progress.finish();
    }
  }
  if (sides[0].columns != sides[1].columns)
    return createStringError(
        "'" + subjects.model.label + "' gives vectors of " +
        Twine(sides[0].columns) + " numbers and '" + subjects.against->label +
        "' of " + Twine(sides[1].columns) + ": they cannot be compared");
  VectorReport r = compareVectors(sides[0], sides[1]);
  EvalReport report;
  report.json = json::Object{
      {"kind", "sentence encoder"}, {"texts", int64_t(r.rows)},
      {"cosine", toJson(r.cosine)}, {"cosine_p1", r.lowest1},
      {"cosine_worst", r.worst},    {"worst_text", texts[r.worstRow]}};
  StringRef worst = StringRef(texts[r.worstRow]).take_front(60);
  report.add("cosine", r.cosine, formatv("mean of {0} texts", r.rows).str());
  report.add("cosine 1%", r.lowest1, "99 of 100 texts have more");
  report.add("cosine, worst", r.worst, "of \"" + worst.str() + "\"");
  if (r.rankCorrelation) {
    report.add("rank correlation", *r.rankCorrelation,
               "Spearman's, of the similarities of all pairs");
    report.json["rank_correlation"] = *r.rankCorrelation;
  }
  return std::move(report);
}

} // namespace pare::tools
