//===- Adapter.cpp - Adapters that PEFT saved -----------------------------===//
#include "frontend/adapters/Adapter.h"
#include "frontend/Json.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Regex.h"
#include <cmath>
#include <map>

using namespace mlir;

namespace pare::adapters {

namespace {

/// Options of LoraConfig that change what the tensors mean.
constexpr StringLiteral unsupportedOptions[] = {"layer_replication",
                                                "lora_bias",
                                                "alora_invocation_tokens",
                                                "trainable_token_indices",
                                                "target_parameters",
                                                "use_qalora",
                                                "arrow_config",
                                                "use_bdlora"};

/// Initializations that leave the base model with other weights.
constexpr StringLiteral unsupportedInits[] = {"pissa", "olora", "corda",
                                              "loftq", "lora_ga"};

/// Whether an option is set: neither null, false nor empty.
bool isSet(const llvm::json::Value *value) {
  if (!value || value->getAsNull())
    return false;
  if (std::optional<bool> flag = value->getAsBoolean())
    return *flag;
  if (const llvm::json::Array *array = value->getAsArray())
    return !array->empty();
  if (const llvm::json::Object *object = value->getAsObject())
    return !object->empty();
  return true;
}

/// What the parts of a tensor's name say it is.
enum class Part { A, B, EmbeddingA, EmbeddingB, Magnitude };

struct Suffix {
  StringLiteral text;
  Part part;
};
constexpr Suffix suffixes[] = {
    {".lora_A.weight", Part::A},
    {".lora_B.weight", Part::B},
    {".lora_embedding_A", Part::EmbeddingA},
    {".lora_embedding_B", Part::EmbeddingB},
    {".lora_magnitude_vector", Part::Magnitude},
    {".lora_magnitude_vector.weight", Part::Magnitude}};

void cutOut(std::string &text, StringRef part) {
  if (size_t at = StringRef(text).find(part); at != StringRef::npos)
    text.erase(at, part.size());
}

/// Reads one folder.
class Reader {
public:
  Reader(StringRef folder, llvm::json::Object config)
      : folder(folder),
        configPath(safetensors::joinPath(folder, "adapter_config.json")),
        config(std::move(config)) {}

  llvm::Error checkConfig() const;
  llvm::Error checkLoraConfig() const;
  bool isPrompt() const {
    StringRef type = config.getString("peft_type").value_or("");
    return type == "PROMPT_TUNING" || type == "P_TUNING";
  }
  llvm::Expected<Adapter> read(const safetensors::Tensors &tensors);

private:
  struct Parts {
    std::optional<safetensors::Tensor> a, b, magnitude;
    bool isEmbedding = false;
  };

  llvm::Error fail(const Twine &what) const {
    return llvm::createStringError(configPath + ": " + what);
  }
  llvm::Error add(StringRef name, const safetensors::Tensor &tensor,
                  Adapter &adapter);
  llvm::Error checkPrompt(const Adapter &adapter) const;
  llvm::Expected<LoraLayer> makeLayer(StringRef path, Parts &parts) const;
  llvm::Expected<double> findPattern(StringRef key, StringRef path,
                                     double fallback) const;
  llvm::Expected<double> getScale(StringRef path, int64_t rank) const;

  StringRef folder;
  std::string configPath;
  llvm::json::Object config;
  std::map<std::string, Parts> layers;
};

llvm::Error Reader::checkConfig() const {
  StringRef type = config.getString("peft_type").value_or("");
  if (type != "LORA" && !isPrompt())
    return fail("not supported: peft_type '" + type +
                "' (known are LORA, PROMPT_TUNING and P_TUNING)");
  if (!isPrompt())
    return checkLoraConfig();
  int64_t parts = config.getInteger("num_transformer_submodules").value_or(1);
  return parts == 1 ? llvm::Error::success()
                    : fail("not supported: 'num_transformer_submodules' " +
                           Twine(parts));
}

llvm::Error Reader::checkLoraConfig() const {
  for (StringRef option : unsupportedOptions)
    if (isSet(config.get(option)))
      return fail("not supported: '" + option + "'");
  StringRef init = config.getString("init_lora_weights").value_or("");
  for (StringRef name : unsupportedInits)
    if (init.starts_with_insensitive(name))
      return fail("init_lora_weights '" + init +
                  "' stands for a base model with other weights; save the "
                  "adapter converted to plain LoRA "
                  "(path_initial_model_for_weight_conversion)");
  for (StringRef key : {"r", "lora_alpha"}) {
    std::optional<double> number = config.getNumber(key);
    if (!number || !std::isfinite(*number) || (key == "r" && *number < 1))
      return fail("'" + key + "' must be a " +
                  (key == "r" ? "positive number" : "number"));
  }
  for (StringRef key : {"rank_pattern", "alpha_pattern"})
    if (isSet(config.get(key)) && !config.getObject(key))
      return fail("'" + key + "' must be an object");
  return llvm::Error::success();
}

/// The value of the pattern that matches a module. JSON objects have no order
/// here, so patterns that contradict each other are refused.
llvm::Expected<double> Reader::findPattern(StringRef key, StringRef path,
                                           double fallback) const {
  const llvm::json::Object *patterns = config.getObject(key);
  std::optional<double> found;
  if (!patterns)
    return fallback;
  for (const auto &[pattern, value] : *patterns) {
    llvm::Expected<bool> matches = matchesPattern(pattern, path);
    if (!matches)
      return fail("'" + key + "': " + llvm::toString(matches.takeError()));
    if (!*matches)
      continue;
    std::optional<double> number = value.getAsNumber();
    if (!number || !std::isfinite(*number))
      return fail("'" + key + "': the value of '" + StringRef(pattern) +
                  "' must be a number");
    if (found && *found != *number)
      return fail("'" + key + "' has several values for '" + path + "'");
    found = number;
  }
  return found.value_or(fallback);
}

/// alpha / r, or alpha / √r (rsLoRA, Kalajdzievski 2023, arXiv 2312.03732).
llvm::Expected<double> Reader::getScale(StringRef path, int64_t rank) const {
  llvm::Expected<double> expected =
      findPattern("rank_pattern", path, *config.getNumber("r"));
  if (!expected)
    return expected.takeError();
  if (*expected != double(rank))
    return fail("'" + path + "' should have rank " + Twine(int64_t(*expected)) +
                ", but its tensors have " + Twine(rank));
  llvm::Expected<double> alpha =
      findPattern("alpha_pattern", path, *config.getNumber("lora_alpha"));
  if (!alpha)
    return alpha.takeError();
  bool isStabilized = isSet(config.get("use_rslora"));
  return *alpha / (isStabilized ? std::sqrt(double(rank)) : double(rank));
}

llvm::Error Reader::add(StringRef name, const safetensors::Tensor &tensor,
                        Adapter &adapter) {
  auto floating = dyn_cast<FloatType>(tensor.type.getElementType());
  if (!floating || floating.getWidth() < 16)
    return llvm::createStringError(folder + ": tensor '" + name +
                                   "' must hold f32, f16 or bf16 numbers");
  if (isPrompt() && name == "prompt_embeddings") {
    adapter.prompt = tensor;
    return llvm::Error::success();
  }
  StringRef path = name;
  path.consume_front("base_model.model.");
  for (const Suffix &suffix : suffixes) {
    if (!path.consume_back(suffix.text))
      continue;
    Parts &parts = layers[path.str()];
    bool isEmbedding =
        suffix.part == Part::EmbeddingA || suffix.part == Part::EmbeddingB;
    bool isA = suffix.part == Part::A || suffix.part == Part::EmbeddingA;
    std::optional<safetensors::Tensor> &part = suffix.part == Part::Magnitude
                                                   ? parts.magnitude
                                               : isA ? parts.a
                                                     : parts.b;
    if (part)
      return llvm::createStringError(folder + ": '" + path +
                                     "' is adapted twice");
    part = tensor;
    parts.isEmbedding |= isEmbedding;
    return llvm::Error::success();
  }
  if (path.contains("lora_") || path.contains("trainable_tokens_"))
    return llvm::createStringError(folder + ": tensor '" + name +
                                   "' is of no kind that is known");
  // Names of the wrappers that PEFT puts around modules.
  std::string own = path.str();
  cutOut(own, ".modules_to_save");
  cutOut(own, ".base_layer");
  adapter.whole.push_back({own, tensor});
  return llvm::Error::success();
}

llvm::Expected<LoraLayer> Reader::makeLayer(StringRef path,
                                            Parts &parts) const {
  auto refuse = [&](const Twine &what) {
    return llvm::createStringError(folder + ": '" + path + "' " + what);
  };
  if (!parts.a || !parts.b)
    return refuse(parts.a ? "has lora_A without lora_B"
                          : "has lora_B without lora_A");
  ArrayRef<int64_t> a = parts.a->type.getShape(), b = parts.b->type.getShape();
  if (a.size() != 2 || b.size() != 2 || a[0] != b[1] || a[0] < 1)
    return refuse("has lora_A and lora_B of shapes that do not multiply");
  if (parts.magnitude && parts.isEmbedding)
    return refuse("is an embedding with lora_magnitude_vector, which is not "
                  "supported");
  if (parts.magnitude && parts.magnitude->type.getNumElements() != b[0])
    return refuse("has a lora_magnitude_vector of another size than lora_B");
  llvm::Expected<double> scale = getScale(path, a[0]);
  if (!scale)
    return scale.takeError();
  return LoraLayer{
      path.str(),        std::move(*parts.a),        std::move(*parts.b),
      parts.isEmbedding, std::move(parts.magnitude), *scale};
}

llvm::Error Reader::checkPrompt(const Adapter &adapter) const {
  auto refuse = [&](const Twine &what) {
    return llvm::createStringError(folder + ": " + what);
  };
  if (!adapter.prompt)
    return refuse("tensor 'prompt_embeddings' is missing");
  if (!adapter.whole.empty() || !layers.empty())
    return refuse("has tensors beside 'prompt_embeddings', which are not "
                  "supported");
  ArrayRef<int64_t> shape = adapter.prompt->type.getShape();
  std::optional<int64_t> count = config.getInteger("num_virtual_tokens");
  if (shape.size() != 2 || shape[0] < 1 || count != shape[0])
    return refuse("'prompt_embeddings' must have a row for each of "
                  "'num_virtual_tokens'");
  return llvm::Error::success();
}

llvm::Expected<Adapter> Reader::read(const safetensors::Tensors &tensors) {
  Adapter adapter;
  adapter.folder = folder.str();
  std::vector<StringRef> names(tensors.keys().begin(), tensors.keys().end());
  llvm::sort(names);
  for (StringRef name : names)
    if (llvm::Error error = add(name, tensors.find(name)->getValue(), adapter))
      return std::move(error);
  if (isPrompt()) {
    if (llvm::Error error = checkPrompt(adapter))
      return std::move(error);
    return std::move(adapter);
  }
  for (auto &[path, parts] : layers) {
    llvm::Expected<LoraLayer> layer = makeLayer(path, parts);
    if (!layer)
      return layer.takeError();
    adapter.layers.push_back(std::move(*layer));
  }
  if (adapter.layers.empty() && adapter.whole.empty())
    return llvm::createStringError(folder + ": the adapter has no tensors");
  return std::move(adapter);
}

} // namespace

llvm::Expected<bool> matchesPattern(StringRef pattern, StringRef path) {
  // Python's shorthands in POSIX's extended syntax.
  std::string text = "^(.*\\.)?(";
  for (size_t i = 0; i < pattern.size(); ++i) {
    StringRef rest = pattern.drop_front(i);
    if (rest.starts_with("(?:")) {
      text += '(';
      i += 2;
    } else if (rest.starts_with("(?")) {
      return llvm::createStringError("the pattern '" + pattern +
                                     "' is not understood");
    } else if (rest.starts_with("\\d") || rest.starts_with("\\w")) {
      text += rest[1] == 'd' ? "[0-9]" : "[A-Za-z0-9_]";
      ++i;
    } else if (rest.front() == '\\' && rest.size() > 1) {
      text += rest.take_front(2);
      ++i;
    } else {
      text += rest.front();
    }
  }
  llvm::Regex regex(text + ")$");
  std::string reason;
  if (!regex.isValid(reason))
    return llvm::createStringError("the pattern '" + pattern +
                                   "' is not understood: " + reason);
  return regex.match(path);
}

llvm::Expected<std::vector<float>> toF32(const safetensors::Tensor &tensor) {
  llvm::Expected<ArrayRef<uint8_t>> bytes =
      tensor.file->range(tensor.offset, tensor.size, "a tensor");
  if (!bytes)
    return bytes.takeError();
  return TensorData{tensor.type, *bytes}.toF32();
}

llvm::Expected<Adapter> readAdapter(StringRef folder, MLIRContext &context) {
  if (!llvm::sys::fs::is_directory(folder))
    return llvm::createStringError(
        folder + ": not a folder; --adapter takes one with "
                 "adapter_config.json and adapter_model.safetensors");
  llvm::Expected<llvm::json::Object> config =
      readJsonObject(safetensors::joinPath(folder, "adapter_config.json"));
  if (!config)
    return config.takeError();
  Reader reader(folder, std::move(*config));
  if (llvm::Error error = reader.checkConfig())
    return std::move(error);
  std::string file = safetensors::joinPath(folder, "adapter_model.safetensors");
  if (!llvm::sys::fs::exists(file) &&
      llvm::sys::fs::exists(safetensors::joinPath(folder, "adapter_model.bin")))
    return llvm::createStringError(
        folder + ": adapter_model.bin is not read; save the adapter with "
                 "safe_serialization=True");
  safetensors::Tensors tensors;
  if (llvm::Error error = safetensors::readFile(file, context, tensors))
    return std::move(error);
  return reader.read(tensors);
}

} // namespace pare::adapters
