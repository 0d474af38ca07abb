//===- Bert.cpp - BERT-family encoders ------------------------------------===//
//
// Devlin et al. 2018; the layout of tensors and configs is transformers'.
//
//===----------------------------------------------------------------------===//
#include "frontend/safetensors/Architecture.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace pare::safetensors {
namespace {

/// Tensor names of one family; `{0}` is the layer.
struct Names {
  StringLiteral layer, query, key, value, attentionOutput, attentionNorm,
      intermediate, output, outputNorm;
};

constexpr Names bertNames = {
    "encoder.layer.{0}.",     "attention.self.query",
    "attention.self.key",     "attention.self.value",
    "attention.output.dense", "attention.output.LayerNorm",
    "intermediate.dense",     "output.dense",
    "output.LayerNorm"};
constexpr Names distilBertNames = {"transformer.layer.{0}.",
                                   "attention.q_lin",
                                   "attention.k_lin",
                                   "attention.v_lin",
                                   "attention.out_lin",
                                   "sa_layer_norm",
                                   "ffn.lin1",
                                   "ffn.lin2",
                                   "output_layer_norm"};

bool isRoberta(StringRef type) {
  return type == "roberta" || type == "xlm-roberta" || type == "camembert";
}

std::optional<nn::UnaryKind> getActivation(StringRef name) {
  return llvm::StringSwitch<std::optional<nn::UnaryKind>>(name)
      .Case("gelu", nn::UnaryKind::gelu)
      .Cases({"gelu_new", "gelu_pytorch_tanh"}, nn::UnaryKind::gelu_tanh)
      .Case("relu", nn::UnaryKind::relu)
      .Cases({"silu", "swish"}, nn::UnaryKind::silu)
      .Case("tanh", nn::UnaryKind::tanh)
      .Default(std::nullopt);
}

/// The sizes of a model, checked for plausibility.
struct Sizes {
  int64_t hidden, layers, heads, intermediate, positions, vocabulary, types;
  int64_t positionOffset; ///< first position id
  float epsilon;
  nn::UnaryKind activation;
  const Names *names;
};

llvm::Expected<Sizes> readSizes(const Config &config) {
  std::string type = config.getString({"model_type"}, "");
  bool distil = type == "distilbert";
  Sizes s{};
  constexpr int64_t maxWidth = 1 << 20, maxRows = 1 << 28, maxLayers = 10'000;
  struct Field {
    int64_t &value;
    StringRef key, distilKey;
    int64_t max;
  };
  const Field fields[] = {
      {s.hidden, "hidden_size", "dim", maxWidth},
      {s.layers, "num_hidden_layers", "n_layers", maxLayers},
      {s.heads, "num_attention_heads", "n_heads", maxWidth},
      {s.intermediate, "intermediate_size", "hidden_dim", maxWidth},
      {s.positions, "max_position_embeddings", "max_position_embeddings",
       maxRows},
      {s.vocabulary, "vocab_size", "vocab_size", maxRows},
      {s.types, "type_vocab_size", "", maxWidth}};
  for (const Field &field : fields) {
    StringRef key = distil ? field.distilKey : field.key;
    if (key.empty())
      continue;
    llvm::Expected<int64_t> value = config.getInteger({key}, 1, field.max);
    if (!value)
      return value.takeError();
    field.value = *value;
  }
  if (s.hidden % s.heads != 0)
    return llvm::createStringError(
        config.path() + ": hidden_size " + Twine(s.hidden) +
        " is not a multiple of num_attention_heads " + Twine(s.heads));
  s.positionOffset =
      isRoberta(type) ? config.getInteger("pad_token_id", 1) + 1 : 0;
  if (s.positionOffset < 0 || s.positionOffset >= s.positions)
    return llvm::createStringError(config.path() +
                                   ": pad_token_id leaves no positions");
  s.epsilon = float(config.getNumber("layer_norm_eps", 1e-12));
  s.activation =
      *getActivation(config.getString({"hidden_act", "activation"}, "gelu"));
  s.names = distil ? &distilBertNames : &bertNames;
  return s;
}

class Builder {
public:
  Builder(const Source &source, const Sizes &sizes, GraphBuilder &graph)
      : source_(source), sizes_(sizes), graph_(graph) {}

  llvm::Expected<OwningOpRef<ModuleOp>> build(int64_t &maxTokens);

private:
  nn::Dim dim(int64_t size) { return graph_.constantDim(size); }
  Location loc(const Twine &name) {
    return nn::getNamedLoc(name.str(), graph_.getContext());
  }

  bool findPrefix();
  llvm::Error addInputs(int64_t maxTokens);
  /// The dimensions of one input as its shape option gives them.
  llvm::Expected<nn::Shape> readShapeOption(StringRef input, StringRef text,
                                            int64_t maxTokens);
  Value weight(StringRef name, ArrayRef<int64_t> shape);
  Value linear(StringRef name, Value x, int64_t inputs, int64_t outputs);
  Value layerNorm(StringRef name, Value x);
  Value add(Location loc, Value a, Value b) {
    return graph_.create<nn::BinaryOp>(loc, nn::BinaryKind::add, a, b);
  }
  Value embed();
  Value buildMask();
  Value attend(StringRef layer, Value x, Value mask);
  Value buildLayer(int64_t index, Value x, Value mask);

  const Source &source_;
  const Sizes &sizes_;
  GraphBuilder &graph_;
  std::string prefix_;
  nn::Shape tokens_; ///< [batch, sequence]
  Value ids_, mask_, types_;
};

bool Builder::findPrefix() {
  for (StringRef prefix : encoderPrefixes)
    if (source_.tensors.contains(
            (prefix + "embeddings.word_embeddings.weight").str())) {
      prefix_ = prefix.str();
      return true;
    }
  return false;
}

llvm::Expected<nn::Shape>
Builder::readShapeOption(StringRef input, StringRef text, int64_t maxTokens) {
  llvm::Expected<std::vector<DimSpec>> specs = parseShapeSpec(text, input);
  if (!specs)
    return specs.takeError();
  if (specs->size() != 2)
    return llvm::createStringError("shape of input '" + input + "': '" + text +
                                   "' must have two dimensions, batch and "
                                   "sequence");
  nn::Shape shape;
  for (auto [axis, spec] : llvm::enumerate(*specs)) {
    if (axis == 1 && std::max(spec.size.value_or(0), spec.max) > maxTokens)
      return llvm::createStringError("shape of input '" + input + "': '" +
                                     text + "' is longer than the model's " +
                                     Twine(maxTokens) + " tokens");
    StringRef name = !spec.name.empty() ? StringRef(spec.name)
                     : axis == 0        ? "batch"
                                        : "sequence";
    shape.push_back(spec.size ? dim(*spec.size)
                              : graph_.getSymbol(name, spec.min, spec.max));
  }
  return shape;
}

llvm::Error Builder::addInputs(int64_t maxTokens) {
  SmallVector<StringRef> inputs{"input_ids", "attention_mask"};
  if (sizes_.types > 0)
    inputs.push_back("token_type_ids");
  for (const auto &[input, text] : source_.options.shapes) {
    if (!llvm::is_contained(inputs, input))
      return llvm::createStringError("the model has no input '" + input +
                                     "'; its inputs are " +
                                     llvm::join(inputs, ", "));
    llvm::Expected<nn::Shape> shape = readShapeOption(input, text, maxTokens);
    if (!shape)
      return shape.takeError();
    if (!tokens_.empty() && tokens_ != *shape)
      return llvm::createStringError(
          "shape of input '" + input + "': '" + text +
          "' differs from another input's; all inputs have the same shape");
    tokens_ = *shape;
  }
  if (tokens_.empty())
    tokens_ = {graph_.getSymbol("batch", 0, 0),
               graph_.getSymbol("sequence", 0, 0)};
  int64_t dimMax = source_.options.defaultDimMax;
  for (auto [axis, size] : llvm::enumerate(tokens_))
    if (auto symbol = dyn_cast<AffineSymbolExpr>(size)) {
      int64_t fallback = axis == 0 ? 64 : maxTokens;
      graph_.setDefaultBounds(symbol.getPosition(), 1,
                              dimMax ? std::min(dimMax, fallback) : fallback);
    }
  auto type = nn::getTensorType(tokens_, graph_.getBuilder().getI64Type());
  ids_ = graph_.addInput("input_ids", type);
  mask_ = graph_.addInput("attention_mask", type);
  if (sizes_.types > 0)
    types_ = graph_.addInput("token_type_ids", type);
  return llvm::Error::success();
}

Value Builder::weight(StringRef name, ArrayRef<int64_t> shape) {
  if (graph_.hasFailed())
    return {};
  std::string full = prefix_ + name.str();
  auto it = source_.tensors.find(full);
  // Checkpoints converted from TensorFlow call a LayerNorm's parameters gamma
  // and beta.
  if (it == source_.tensors.end() && name.contains("LayerNorm.")) {
    auto [stem, parameter] = StringRef(full).rsplit('.');
    it = source_.tensors.find(
        (stem + (parameter == "weight" ? ".gamma" : ".beta")).str());
  }
  if (it == source_.tensors.end())
    return graph_.fail("tensor '" + full +
                       "', which config.json asks for, is missing");
  const Tensor &tensor = it->getValue();
  auto print = [](ArrayRef<int64_t> sizes) {
    return "[" +
           llvm::join(
               llvm::map_range(
                   sizes, [](int64_t size) { return std::to_string(size); }),
               ", ") +
           "]";
  };
  if (tensor.type.getShape() != shape)
    return graph_.fail("tensor '" + it->getKey() + "' has the shape " +
                       print(tensor.type.getShape()) +
                       ", but config.json asks for " + print(shape));
  auto element = dyn_cast<FloatType>(tensor.type.getElementType());
  if (!element || element.getWidth() < 16)
    return graph_.fail("tensor '" + it->getKey() +
                       "' must hold f32, f16 or bf16 numbers");
  WeightStore &store = graph_.getStore();
  if (!store.contains(it->getKey()))
    if (llvm::Error error = store.addView(
            it->getKey(), tensor.type, tensor.file, tensor.offset, tensor.size))
      return graph_.fail(llvm::toString(std::move(error)));
  Value param = graph_.createParam(it->getKey());
  if (element.isF32())
    return param;
  return graph_.create<nn::CastOp>(loc(it->getKey()), param,
                                   graph_.getBuilder().getF32Type());
}

/// x · Wᵀ + b with W [outputs, inputs].
Value Builder::linear(StringRef name, Value x, int64_t inputs,
                      int64_t outputs) {
  Value product = graph_.create<nn::MatMulOp>(
      loc(name + ".matmul"), x,
      weight((name + ".weight").str(), {outputs, inputs}),
      /*transpose_rhs=*/true);
  return add(loc(name), product, weight((name + ".bias").str(), {outputs}));
}

Value Builder::layerNorm(StringRef name, Value x) {
  return graph_.create<nn::LayerNormOp>(
      loc(name), x, weight((name + ".weight").str(), {sizes_.hidden}),
      weight((name + ".bias").str(), {sizes_.hidden}),
      llvm::APFloat(sizes_.epsilon));
}

Value Builder::embed() {
  const int64_t hidden = sizes_.hidden;
  auto lookUp = [&](StringRef table, int64_t rows, Value indices) {
    return graph_.create<nn::GatherOp>(
        loc(table), weight((table + ".weight").str(), {rows, hidden}), indices,
        /*axis=*/0);
  };
  Value x = lookUp("embeddings.word_embeddings", sizes_.vocabulary, ids_);
  if (types_)
    x = add(loc("embeddings.token_types"), x,
            lookUp("embeddings.token_type_embeddings", sizes_.types, types_));
  Value table = weight("embeddings.position_embeddings.weight",
                       {sizes_.positions, hidden});
  AffineMap starts =
      nn::getMap({dim(sizes_.positionOffset), dim(0)}, graph_.getContext());
  Value positions = graph_.createTyped<nn::SliceOp>(
      loc("embeddings.position_embeddings"),
      nn::getTensorType({tokens_[1], dim(hidden)},
                        graph_.getBuilder().getF32Type()),
      table, starts, ArrayRef<int64_t>{1, 1});
  return layerNorm("embeddings.LayerNorm",
                   add(loc("embeddings.sum"), x, positions));
}

/// (1 - mask) * -1e9 as [batch, 1, 1, sequence]: added to scores, it leaves
/// masked keys no weight.
Value Builder::buildMask() {
  Location at = loc("attention_mask");
  Value keep =
      graph_.create<nn::CastOp>(at, mask_, graph_.getBuilder().getF32Type());
  Value drop = graph_.create<nn::BinaryOp>(at, nn::BinaryKind::sub,
                                           graph_.createScalar(at, 1.0f), keep);
  Value bias = graph_.create<nn::BinaryOp>(at, nn::BinaryKind::mul, drop,
                                           graph_.createScalar(at, -1e9f));
  return graph_.createReshape(at, bias,
                              {tokens_[0], dim(1), dim(1), tokens_[1]});
}

Value Builder::attend(StringRef layer, Value x, Value mask) {
  const int64_t hidden = sizes_.hidden, headSize = hidden / sizes_.heads;
  auto project = [&](StringRef part) {
    std::string name = (layer + part).str();
    return graph_.createReshape(
        loc(name + ".heads"), linear(name, x, hidden, hidden),
        {tokens_[0], tokens_[1], dim(sizes_.heads), dim(headSize)});
  };
  Value query = project(sizes_.names->query), key = project(sizes_.names->key),
        value = project(sizes_.names->value);
  float scale = 1.0f / std::sqrt(float(headSize));
  Value context = graph_.create<nn::AttentionOp>(
      loc(layer + "attention"), query, key, value, mask, llvm::APFloat(scale),
      /*causal=*/false);
  return graph_.createReshape(loc(layer + "attention.context"), context,
                              {tokens_[0], tokens_[1], dim(hidden)});
}

Value Builder::buildLayer(int64_t index, Value x, Value mask) {
  const Names &names = *sizes_.names;
  std::string layer = llvm::formatv(names.layer.data(), index).str();
  auto inLayer = [&](StringRef name) { return layer + name.str(); };
  Value attended = linear(inLayer(names.attentionOutput),
                          attend(layer, x, mask), sizes_.hidden, sizes_.hidden);
  x = layerNorm(inLayer(names.attentionNorm),
                add(loc(inLayer("attention.residual")), attended, x));
  Value inner =
      graph_.create<nn::UnaryOp>(loc(inLayer("activation")), sizes_.activation,
                                 linear(inLayer(names.intermediate), x,
                                        sizes_.hidden, sizes_.intermediate),
                                 FloatAttr(), FloatAttr());
  Value outer =
      linear(inLayer(names.output), inner, sizes_.intermediate, sizes_.hidden);
  return layerNorm(inLayer(names.outputNorm),
                   add(loc(inLayer("output.residual")), outer, x));
}

llvm::Expected<OwningOpRef<ModuleOp>> Builder::build(int64_t &maxTokens) {
  if (!findPrefix())
    return llvm::createStringError(
        source_.config.path() +
        ": no tensor is named '…embeddings.word_embeddings.weight'; the "
        "tensors are not those of the model_type that it names");
  maxTokens = sizes_.positions - sizes_.positionOffset;
  if (source_.maxTokens > 0)
    maxTokens = std::min(maxTokens, source_.maxTokens);
  if (llvm::Error error = addInputs(maxTokens))
    return error;
  Value x = embed(), mask = buildMask();
  for (int64_t i = 0; i < sizes_.layers; ++i)
    x = buildLayer(i, x, mask);
  return graph_.finish({x}, {"last_hidden_state"});
}

class BertArchitecture : public Architecture {
public:
  bool handles(StringRef type) const override {
    return type == "bert" || type == "electra" || type == "distilbert" ||
           isRoberta(type);
  }

  std::vector<Unsupported>
  findUnsupported(const Config &config) const override {
    std::vector<Unsupported> found;
    std::string act = config.getString({"hidden_act", "activation"}, "gelu");
    if (!getActivation(act))
      found.push_back({"hidden_act " + act, 1, "no such activation"});
    std::string position =
        config.getString({"position_embedding_type"}, "absolute");
    if (position != "absolute")
      found.push_back({"position_embedding_type " + position, 1,
                       "only absolute positions"});
    if (int64_t width = config.getInteger("embedding_size", 0);
        width && width != config.getInteger("hidden_size", 0))
      found.push_back({"embedding_size " + std::to_string(width), 1,
                       "differs from hidden_size"});
    return found;
  }

  llvm::Expected<OwningOpRef<ModuleOp>>
  build(const Source &source, GraphBuilder &builder,
        int64_t &maxTokens) const override {
    llvm::Expected<Sizes> sizes = readSizes(source.config);
    if (!sizes)
      return sizes.takeError();
    return Builder(source, *sizes, builder).build(maxTokens);
  }
};

} // namespace

const Architecture &getBertArchitecture() {
  static const BertArchitecture architecture;
  return architecture;
}

} // namespace pare::safetensors
