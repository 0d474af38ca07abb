//===- Eval.cpp - pare eval -----------------------------------------------===//
#include "tools/Eval.h"
#include "tools/BenchDecoder.h"
#include "tools/Cli.h"
#include "tools/CompileFlags.h"
#include "tools/Report.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace pare::tools {

static cl::SubCommand command(
    "eval",
    "Measure how good a model is on data, alone or against another one\n\n"
    "Language models: perplexity, and KL divergence to --against. As in\n"
    "llama.cpp, only the tokens in the second half of each chunk of --context\n"
    "tokens count. Sentence encoders: cosine of vectors. Others: outputs, and\n"
    "accuracy where the data have labels. Models are compiled first, that of\n"
    "--against in f32. More: docs/eval.md\n\n"
    "  pare eval ./smol.q4 --against smol.gguf --data prose.txt:50%-100%\n"
    "  pare eval minilm/ --quantize int8 --against minilm/ --data lines.txt\n"
    "  pare eval ./vit8 --against ./vit --data photos/ --json\n");

static cl::opt<std::string> subject(cl::Positional, cl::Required,
                                    cl::desc("MODEL|ARTIFACT"),
                                    cl::sub(command));
static cl::opt<std::string>
    against("against", cl::value_desc("model|artifact"),
            cl::desc("What is compared with (default: nothing)"),
            cl::sub(command));
static cl::list<std::string>
    data("data", cl::CommaSeparated, cl::value_desc("folder|file,…"),
         cl::desc("Texts, .jsonl, .npz, .npy, pictures; a share of each as "
                  "prose.txt:50%-100% (required)"),
         cl::sub(command));
static cl::opt<uint64_t>
    tokens("tokens", cl::init(0), cl::value_desc("N"),
           cl::desc("Of a language model's text, its first (default: all)"),
           cl::sub(command));
static cl::opt<uint64_t>
    texts("texts", cl::init(EvalOptions().texts), cl::value_desc("N"),
          cl::desc("Of a sentence encoder's, drawn evenly (default: 1000; 0: "
                   "all)"),
          cl::sub(command));
static cl::opt<std::string>
    labels("labels", cl::value_desc("file"),
           cl::desc("Lines of a file's name and the number of its class "
                    "(default: labels.txt beside the data, or a folder per "
                    "class)"),
           cl::sub(command));
static CompileFlags flags(command);
static cl::opt<unsigned> threads("threads", cl::init(0), cl::value_desc("N"),
                                 cl::desc("Threads of each side (default: its "
                                          "own number; half of the machine's "
                                          "where two run together)"),
                                 cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print JSON"), cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but results"),
                           cl::sub(command));

namespace {
struct Options {
  CompileOptions compile; ///< of the subject, if it is a model
  std::string compileFlag;
  std::string against;
  std::vector<std::string> data;
  EvalOptions eval;
  bool json, quiet;
};
} // namespace

static Options getOptions() {
  Options options;
  options.compile = flags.get();
  options.compile.model = subject;
  options.compileFlag = flags.findGiven(/*except=*/"context");
  options.against = against;
  options.data = data;
  if (options.compile.context)
    options.eval.context = options.compile.context;
  options.compile.context = 0; // the model's own
  options.eval.tokens = tokens;
  options.eval.texts = texts;
  options.eval.labels = labels;
  options.eval.threads = threads;
  options.json = json;
  options.quiet = quiet;
  return options;
}

/// The same model as its source has it: in f32, its shapes and pictures as
/// those of the subject.
static CompileOptions makeReference(const Options &options) {
  CompileOptions reference;
  reference.model = options.against;
  reference.target = options.compile.target;
  reference.shapes = options.compile.shapes;
  reference.images = options.compile.images;
  reference.adapters = options.compile.adapters;
  reference.adapterMode = options.compile.adapterMode;
  reference.activations = BlockActivations::F32;
  reference.cache = CacheType::F32;
  return reference;
}

static Expected<EvalSubjects> openSubjects(const Options &options,
                                           const TemporaryFolder &folder,
                                           Console &console) {
  bool compiles = !isArtifact(options.compile.model) ||
                  (!options.against.empty() && !isArtifact(options.against));
  if (!options.compileFlag.empty() && !compiles)
    return createStringError("'" + options.compile.model +
                             "' is compiled already: " + options.compileFlag +
                             " is for models");
  Expected<Artifact> model =
      openArtifact(options.compile, folder, "model", console);
  if (!model)
    return model.takeError();
  EvalSubjects subjects{std::move(*model), std::nullopt};
  if (options.against.empty())
    return std::move(subjects);
  Expected<Artifact> reference =
      openArtifact(makeReference(options), folder, "against", console);
  if (!reference)
    return reference.takeError();
  subjects.against = std::move(*reference);
  return std::move(subjects);
}

/// Whether the artifact that says `info` of itself has the `embed` command.
static bool isEncoder(const json::Object &info) {
  return info.getInteger("encoder_max_tokens").has_value();
}

static Error failData(Error error) {
  return createStringError("--data: " + toString(std::move(error)));
}

static Expected<EvalReport> evalTexts(const EvalSubjects &subjects,
                                      ArrayRef<DataFile> files,
                                      const Options &options,
                                      const TemporaryFolder &folder,
                                      Console &console) {
  Expected<json::Object> info = readInfo(subjects.model, folder);
  if (!info)
    return info.takeError();
  bool language = isLanguageModel(*info), encoder = isEncoder(*info);
  if (!language && !encoder)
    return createStringError(
        "'" + files.front().path + "' is a text, and '" + subjects.model.label +
        "' has no tokenizer: give .npz, .npy, PNG or JPEG files");
  std::vector<Document> documents;
  for (const DataFile &file : files)
    if (Error error = readDocuments(file, /*byLine=*/encoder, documents))
      return failData(std::move(error));
  return language
             ? evalLanguage(subjects, documents, options.eval, folder, console)
             : evalVectors(subjects, std::move(documents), options.eval, folder,
                           console);
}

static Expected<EvalReport>
eval(const Options &options, const TemporaryFolder &folder, Console &console) {
  if (options.data.empty())
    return createStringError("on what? Say so with --data FILE");
  if (options.eval.context < 4)
    return createStringError("--context is too small: 4 at least");
  // What is wrong with them is said before models are compiled.
  Expected<std::vector<DataFile>> files = findDataFiles(options.data);
  if (!files)
    return failData(files.takeError());
  auto isText = [](const DataFile &file) {
    return file.isText() || file.isJsonLines();
  };
  size_t numTexts = count_if(*files, isText);
  if (numTexts && numTexts < files->size())
    return failData(createStringError(
        "'" + find_if(*files, isText)->path +
        "' is a text and others are arrays or pictures: give one kind"));
  std::vector<Document> documents;
  for (const DataFile &file : *files)
    if (Error error = isText(file)
                          ? readDocuments(file, /*byLine=*/false, documents)
                          : Error::success())
      return failData(std::move(error));
  documents.clear();
  Expected<EvalSubjects> subjects = openSubjects(options, folder, console);
  if (!subjects)
    return subjects.takeError();
  mlir::MLIRContext context;
  loadDialects(context);
  return numTexts ? evalTexts(*subjects, *files, options, folder, console)
                  : evalArrays(*subjects, *files, options.eval, context, folder,
                               console);
}

static void printTable(const EvalReport &report) {
  Table table({"figure", "value", "error", "meaning"}, {3});
  for (const EvalReport::Row &row : report.rows)
    table.add({row.figure, row.value, row.error, row.meaning});
  table.print(outs());
}

static int run() {
  // Copied: compiling a model resets every option to its default.
  const Options options = getOptions();
  Console console(options.quiet);
  Expected<TemporaryFolder> folder = TemporaryFolder::create();
  if (!folder)
    return console.fail(folder.takeError());
  Expected<EvalReport> report = eval(options, *folder, console);
  if (!report)
    return console.fail(report.takeError());
  if (!options.json) {
    printTable(*report);
    return 0;
  }
  report->json["model"] = options.compile.model;
  if (!options.against.empty())
    report->json["against"] = options.against;
  outs() << formatv("{0:2}\n", json::Value(std::move(report->json)));
  return 0;
}

Subcommand evalCommand() {
  // The option of models is also how much of a text one sees here.
  if (cl::Option *context = cl::getRegisteredOptions(command).lookup("context"))
    context->setDescription("Tokens of a chunk of a language model's text "
                            "(default: 512)");
  return {&command, run};
}

} // namespace pare::tools
