//===- Builder.cpp - The graph of a decoder language model ----------------===//
#include "frontend/decoder/Builder.h"
#include "frontend/decoder/AdapterNames.h"
#include "frontend/decoder/Rope.h"

using namespace mlir;

namespace pare::decoder {

llvm::Expected<std::string> TensorSource::loadExperts(const TensorName &tensor,
                                                      ArrayRef<int64_t> shape,
                                                      WeightStore &store) {
  TensorName one = tensor;
  bool hasOne = false;
  for (one.expert = 0; one.expert < shape[0] && !hasOne; ++one.expert)
    hasOne = find(one).has_value();
  if (find(tensor) || !hasOne)
    return load(tensor, shape);
  std::vector<std::string> parts;
  for (one.expert = 0; one.expert < shape[0]; ++one.expert) {
    llvm::Expected<std::string> part = load(one, shape.drop_front());
    if (!part)
      return part.takeError();
    parts.push_back(*part);
  }
  if (find(one))
    return llvm::createStringError(
        "tensors like '" + parts[0] + "' are there for more than the " +
        llvm::Twine(shape[0]) + " experts of the model's configuration");
  // The expert's number is the last in all naming schemes.
  std::string name = parts[0];
  name.replace(name.rfind(".0."), 3, ".*.");
  if (llvm::Error error = store.stack(name, parts))
    return std::move(error);
  return name;
}

namespace {

/// Cosines and sines of the rows' angles, [tokens, dims / 2] each.
struct Rotation {
  Value cos, sin;
};

static Type getElementType(CacheType cache, OpBuilder &builder) {
  switch (cache) {
  case CacheType::F16:
    break;
  case CacheType::F32:
    return builder.getF32Type();
  case CacheType::I8:
    return builder.getI8Type();
  }
  return builder.getF16Type();
}

class Builder {
public:
  Builder(const DecoderConfig &config, int64_t context, CacheType cache,
          TensorSource &source, GraphBuilder &graph)
      : config(config), context(context), source(source), graph(graph),
        cacheType(getElementType(cache, graph.getBuilder())) {}

  llvm::Expected<OwningOpRef<ModuleOp>> build();

private:
  // Tensors.
  Value load(const TensorName &tensor, ArrayRef<int64_t> shape);
  Value load(Role role, ArrayRef<int64_t> shape) {
    return load({role, layer}, shape);
  }
  Value param(llvm::Expected<std::string> name);
  Value loadVector(const Twine &name, ArrayRef<float> values);

  // Parts of a layer.
  Value norm(Value x, Role role, int64_t size);
  Value project(Value x, Role role, int64_t in, int64_t out, bool hasBias);
  Value cut(Value x, int64_t first, int64_t size);
  Value splitHeads(Value x, int64_t heads);
  Rotation rotate(const Rope &rope, StringRef name);
  Value attention(Value x);
  Value activate(Value x);
  Value feedForward(Value x);
  Value mixture(Value x);
  void buildLayer();
  Value logits(Value x);

  Value unary(nn::UnaryKind kind, Value x) {
    return graph.create<nn::UnaryOp>(loc, kind, x, FloatAttr(), FloatAttr());
  }
  Value binary(nn::BinaryKind kind, Value x, Value y) {
    return graph.create<nn::BinaryOp>(loc, kind, x, y);
  }
  Value scale(Value x, double factor) {
    return factor == 1 ? x
                       : binary(nn::BinaryKind::mul, x,
                                graph.createScalar(loc, float(factor)));
  }
  Value cap(Value x, double limit) {
    return limit == 0
               ? x
               : scale(unary(nn::UnaryKind::tanh, scale(x, 1 / limit)), limit);
  }
  Value pickOutputs(Value x) {
    return graph.create<nn::GatherOp>(loc, x, outputs, int64_t(0));
  }
  /// Sets the location of ops: what they make, in the source's own terms.
  void name(Role role) { name(getName(role)); }
  void name(StringRef part) {
    std::string text = layer < 0 ? "" : "layer." + std::to_string(layer) + ".";
    loc = nn::getNamedLoc(text + part.str(), graph.getContext());
  }

  const DecoderConfig &config;
  int64_t context;
  TensorSource &source;
  GraphBuilder &graph;
  Type cacheType;

  Location loc = graph.getBuilder().getUnknownLoc();
  int64_t layer = -1; ///< -1: outside of layers
  Value tokens, positions, sequences, outputs;
  Rotation rotation, localRotation;
  Value hidden; ///< the residual stream, [tokens, hidden]
};

Value Builder::load(const TensorName &tensor, ArrayRef<int64_t> shape) {
  if (graph.hasFailed())
    return {};
  Value value = param(source.load(tensor, shape));
  // Norms, biases and embeddings may be stored in 16 bits.
  Type f32 = graph.getBuilder().getF32Type();
  if (value && getElementTypeOrSelf(value.getType()) != f32)
    value = graph.create<nn::CastOp>(value.getLoc(), value, f32);
  return value;
}

Value Builder::param(llvm::Expected<std::string> name) {
  return name ? graph.createParam(*name)
              : graph.fail(llvm::toString(name.takeError()));
}

Value Builder::loadVector(const Twine &name, ArrayRef<float> values) {
  auto type = RankedTensorType::get({int64_t(values.size())},
                                    graph.getBuilder().getF32Type());
  return graph.createConstant(nn::getNamedLoc(name.str(), graph.getContext()),
                              DenseElementsAttr::get(type, values));
}

Value Builder::norm(Value x, Role role, int64_t size) {
  name(role);
  Value weight = load(role, {size});
  FloatAttr epsilon =
      graph.getBuilder().getF32FloatAttr(float(config.normEpsilon));
  if (config.normOffset != 0)
    weight = binary(nn::BinaryKind::add, weight,
                    graph.createScalar(loc, float(config.normOffset)));
  bool isHead = role == Role::QueryNorm || role == Role::KeyNorm;
  if (config.norm == NormKind::Rms || isHead)
    return graph.create<nn::RmsNormOp>(loc, x, weight, epsilon);
  Value bias = load({role, layer, -1, /*isBias=*/true}, {size});
  return graph.create<nn::LayerNormOp>(loc, x, weight, bias, epsilon);
}

Value Builder::project(Value x, Role role, int64_t in, int64_t out,
                       bool hasBias) {
  name(role);
  bool isTransposed = config.hasTransposedWeights && layer >= 0;
  Value weight = isTransposed ? load(role, {in, out}) : load(role, {out, in});
  Value y = graph.create<nn::MatMulOp>(loc, x, weight,
                                       /*transpose_rhs=*/!isTransposed);
  if (hasBias)
    y = binary(nn::BinaryKind::add, y,
               load({role, layer, -1, /*isBias=*/true}, {out}));
  return y;
}

/// Columns [first, first + size) of the last axis.
Value Builder::cut(Value x, int64_t first, int64_t size) {
  if (graph.hasFailed())
    return {};
  nn::Shape shape = nn::getShape(x.getType()),
            starts(shape.size(), graph.constantDim(0));
  shape.back() = graph.constantDim(size);
  starts.back() = graph.constantDim(first);
  return graph.createTyped<nn::SliceOp>(
      loc, nn::getTensorType(shape, getElementTypeOrSelf(x.getType())), x,
      nn::getMap(starts, graph.getContext()),
      SmallVector<int64_t>(shape.size(), 1));
}

Value Builder::splitHeads(Value x, int64_t heads) {
  if (graph.hasFailed())
    return {};
  return graph.createReshape(loc, x,
                             {nn::getShape(x.getType())[0],
                              graph.constantDim(heads),
                              graph.constantDim(config.headDim)});
}

/// Angles are products in f32, as transformers computes them.
Rotation Builder::rotate(const Rope &rope, StringRef name) {
  std::optional<Role> role;
  if (rope.scaling == RopeScaling::Divisors)
    role = Role::RopeDivisors;
  else if (rope.scaling == RopeScaling::LongRope && rope.shortDivisors.empty())
    role = context > rope.originalContext ? Role::RopeLongDivisors
                                          : Role::RopeShortDivisors;
  std::vector<float> divisors;
  if (role)
    if (Value tensor = load(*role, {rope.dims / 2}))
      divisors =
          graph.getStore().get(nn::getWeight(tensor).getSymName()).toF32();
  if (graph.hasFailed())
    return {};
  RopeFrequencies frequencies = getRopeFrequencies(rope, context, divisors);
  loc = nn::getNamedLoc(name, graph.getContext());
  Value column = graph.createReshape(
      loc, positions,
      {nn::getShape(positions.getType())[0], graph.constantDim(1)});
  Value angles = binary(
      nn::BinaryKind::mul,
      graph.create<nn::CastOp>(loc, column, graph.getBuilder().getF32Type()),
      loadVector(name + ".frequencies", frequencies.inverse));
  double factor = frequencies.attentionFactor;
  return {scale(unary(nn::UnaryKind::cos, angles), factor),
          scale(unary(nn::UnaryKind::sin, angles), factor)};
}

/// Keys and values go to the layer's cache; queries read it.
Value Builder::attention(Value x) {
  int64_t heads = config.heads, kvHeads = config.kvHeads, size = config.headDim,
          hiddenSize = config.hidden;
  Value q, k, v;
  if (config.qkv == QkvLayout::Separate) {
    bool bias = config.hasQkvBias;
    q = project(x, Role::Query, hiddenSize, heads * size, bias);
    k = project(x, Role::Key, hiddenSize, kvHeads * size, bias);
    v = project(x, Role::Value, hiddenSize, kvHeads * size, bias);
    q = splitHeads(q, heads);
    k = splitHeads(k, kvHeads);
    v = splitHeads(v, kvHeads);
  } else {
    Value qkv = project(x, Role::Qkv, hiddenSize, (heads + 2 * kvHeads) * size,
                        config.hasQkvBias);
    if (config.qkv == QkvLayout::PerHead) {
      if (graph.hasFailed())
        return {};
      Value perHead = graph.createReshape(loc, qkv,
                                          {nn::getShape(x.getType())[0],
                                           graph.constantDim(heads),
                                           graph.constantDim(3 * size)});
      q = cut(perHead, 0, size);
      k = cut(perHead, size, size);
      v = cut(perHead, 2 * size, size);
    } else {
      q = splitHeads(cut(qkv, 0, heads * size), heads);
      k = splitHeads(cut(qkv, heads * size, kvHeads * size), kvHeads);
      v = splitHeads(cut(qkv, (heads + kvHeads) * size, kvHeads * size),
                     kvHeads);
    }
  }
  if (config.hasQkNorm) {
    q = norm(q, Role::QueryNorm, size);
    k = norm(k, Role::KeyNorm, size);
  }
  const Layer &own = config.layers[layer];
  if (own.hasRope) {
    bool isLocal = own.window > 0 && config.hasLocalRope;
    const Rotation &r = isLocal ? localRotation : rotation;
    bool interleaved = config.rope.style == RopeStyle::Interleaved;
    name(Role::Query);
    q = graph.create<nn::RopeOp>(loc, q, r.cos, r.sin, interleaved);
    name(Role::Key);
    k = graph.create<nn::RopeOp>(loc, k, r.cos, r.sin, interleaved);
  }
  name(Role::AttentionOutput);
  if (graph.hasFailed())
    return {};
  // A ring holds a window before each of the rows of a run.
  int64_t capacity = context;
  if (own.window > 0)
    capacity = std::min(context, own.window + maxRows);
  std::string cache = "cache." + std::to_string(layer);
  graph.createCache(cache, kvHeads, size, capacity, cacheType);
  nn::CacheAppendOp::create(graph.getBuilder(), loc, cache, k, v, positions,
                            sequences);
  double queryScale =
      config.queryScale != 0 ? config.queryScale : 1 / std::sqrt(double(size));
  Value seen = graph.create<nn::CachedAttentionOp>(
      loc, cache, q, positions, sequences, llvm::APFloat(float(queryScale)),
      uint64_t(own.window), llvm::APFloat(float(config.attentionSoftCap)));
  if (graph.hasFailed())
    return {};
  seen = graph.createReshape(
      loc, seen,
      {nn::getShape(x.getType())[0], graph.constantDim(heads * size)});
  return project(seen, Role::AttentionOutput, heads * size, hiddenSize,
                 config.hasOutputBias);
}

Value Builder::activate(Value x) {
  switch (config.activation) {
  case Activation::Silu:
    return unary(nn::UnaryKind::silu, x);
  case Activation::Gelu:
    return unary(nn::UnaryKind::gelu, x);
  case Activation::GeluTanh:
    return unary(nn::UnaryKind::gelu_tanh, x);
  case Activation::Relu:
    return unary(nn::UnaryKind::relu, x);
  }
  llvm_unreachable("an activation without a function");
}

Value Builder::feedForward(Value x) {
  if (config.layers[layer].isSparse)
    return mixture(x);
  int64_t in = config.hidden, width = config.intermediate;
  bool bias = config.hasFfnBias;
  Value gate, up;
  if (config.hasFusedGateUp) {
    Value both = project(x, Role::GateUp, in, 2 * width, bias);
    gate = cut(both, 0, width);
    up = cut(both, width, width);
  } else {
    if (config.isGated)
      gate = project(x, Role::Gate, in, width, bias);
    up = project(x, Role::Up, in, width, bias);
  }
  Value inner =
      gate ? binary(nn::BinaryKind::mul, activate(gate), up) : activate(up);
  return project(inner, Role::Down, width, in, bias);
}

/// The router's best experts of each row, by their shares.
Value Builder::mixture(Value x) {
  const Experts &experts = config.experts;
  Value logits = project(x, Role::Router, config.hidden, experts.count, false);
  name("experts");
  Value shares = graph.create<nn::RouteOp, 2>(loc, logits, experts.used,
                                              experts.normalize);
  if (graph.hasFailed())
    return {};
  name("expert order");
  Value order = graph.create<nn::GroupByExpertOp, 2>(
      loc, shares.getDefiningOp()->getResult(1), experts.count);
  auto multiply = [&](Value rows, Role role, int64_t in, int64_t out) {
    name(role);
    if (graph.hasFailed())
      return Value();
    Value weights = param(source.loadExperts(
        {role, layer}, {experts.count, out, in}, graph.getStore()));
    return graph.create<nn::ExpertMatMulOp>(
        loc, rows, weights, order, order.getDefiningOp()->getResult(1));
  };
  int64_t in = config.hidden, width = experts.intermediate;
  Value gate = multiply(x, Role::ExpertGate, in, width);
  Value up = multiply(x, Role::ExpertUp, in, width);
  Value inner = binary(nn::BinaryKind::mul, activate(gate), up);
  Value y = multiply(inner, Role::ExpertDown, width, in);
  if (graph.hasFailed())
    return {};
  nn::Shape perSlot = nn::getShape(shares.getType());
  perSlot.push_back(graph.constantDim(1));
  y = binary(nn::BinaryKind::mul, y, graph.createReshape(loc, shares, perSlot));
  name("mixture");
  y = graph.create<nn::ReduceOp>(loc, nn::ReduceKind::sum, y,
                                 ArrayRef<int64_t>{1}, /*keep_dims=*/false);
  name("mixture output"); // of what adds it to the stream
  return y;
}

void Builder::buildLayer() {
  Value normed = norm(hidden, Role::AttentionNorm, config.hidden);
  Value attended = attention(normed);
  if (config.hasPostNorms)
    attended = norm(attended, Role::PostAttentionNorm, config.hidden);
  if (config.hasParallelResidual) {
    Value added = feedForward(norm(hidden, Role::FfnNorm, config.hidden));
    hidden = binary(nn::BinaryKind::add,
                    binary(nn::BinaryKind::add, hidden, attended), added);
    return;
  }
  hidden = binary(nn::BinaryKind::add, hidden, attended);
  // Beyond the last attention only rows whose logits are wanted matter.
  if (layer + 1 == int64_t(config.layers.size()))
    hidden = pickOutputs(hidden);
  Value added = feedForward(norm(hidden, Role::FfnNorm, config.hidden));
  if (config.hasPostNorms)
    added = norm(added, Role::PostFfnNorm, config.hidden);
  hidden = binary(nn::BinaryKind::add, hidden, added);
}

Value Builder::logits(Value x) {
  x = norm(x, Role::OutputNorm, config.hidden);
  Role role = config.hasTiedEmbeddings ? Role::TokenEmbedding : Role::Output;
  Value result = project(x, role, config.hidden, config.vocabulary, false);
  loc = nn::getNamedLoc("logits", graph.getContext());
  return cap(result, config.finalSoftCap);
}

llvm::Expected<OwningOpRef<ModuleOp>> Builder::build() {
  Type i32 = graph.getBuilder().getI32Type();
  nn::Dim rows = graph.getSymbol("tokens", 1, maxRows),
          wanted = graph.getSymbol("outputs", 1, maxOutputs);
  RankedTensorType perRow = nn::getTensorType({rows}, i32);
  tokens = graph.addInput("tokens", perRow);
  positions = graph.addInput("positions", perRow);
  sequences = graph.addInput("sequences", perRow);
  outputs = graph.addInput("outputs", nn::getTensorType({wanted}, i32));

  name(Role::TokenEmbedding);
  Value table = load(Role::TokenEmbedding, {config.vocabulary, config.hidden});
  hidden = graph.create<nn::GatherOp>(loc, table, tokens, int64_t(0));
  hidden = scale(hidden, config.embeddingScale);
  if (config.hasPositionEmbeddings) {
    name(Role::PositionEmbedding);
    Value learned =
        load(Role::PositionEmbedding, {config.context, config.hidden});
    hidden =
        binary(nn::BinaryKind::add, hidden,
               graph.create<nn::GatherOp>(loc, learned, positions, int64_t(0)));
  }
  bool hasRope =
      llvm::any_of(config.layers, [](const Layer &l) { return l.hasRope; });
  if (hasRope)
    rotation = rotate(config.rope, "rope");
  if (hasRope && config.hasLocalRope)
    localRotation = rotate(config.localRope, "local_rope");
  for (layer = 0; layer < int64_t(config.layers.size()); ++layer)
    buildLayer();
  layer = -1;
  if (config.hasParallelResidual)
    hidden = pickOutputs(hidden);
  return graph.finish({logits(hidden)}, {"logits"});
}

} // namespace

/// What of a source the graph does not use, but for copies of tied embeddings
/// and the divisors of contexts of another length.
static std::vector<std::string> findUnused(const DecoderConfig &config,
                                           const TensorSource &source) {
  std::vector<std::string> unused = source.findUnused();
  llvm::erase_if(unused, [&](StringRef text) {
    std::optional<TensorName> name =
        parseTensorName(text, source.getNaming(), config.architecture);
    return name && ((name->role == Role::Output && config.hasTiedEmbeddings) ||
                    name->role == Role::RopeLongDivisors ||
                    name->role == Role::RopeShortDivisors);
  });
  return unused;
}

llvm::Error importDecoder(const DecoderConfig &config,
                          const ImportOptions &options, TensorSource &source,
                          GraphBuilder &builder, Model &model) {
  if (!options.shapes.empty())
    return llvm::createStringError(
        "--shape: a language model's inputs have shapes of their own; "
        "--context bounds the positions");
  int64_t context = options.context ? options.context : config.context;
  if (context > config.context)
    return llvm::createStringError("--context " + llvm::Twine(context) +
                                   ": the model was made for " +
                                   llvm::Twine(config.context) + " positions");
  auto module =
      Builder(config, context, options.cache, source, builder).build();
  if (!module)
    return module.takeError();
  model.module = std::move(*module);
  model.warnings = builder.takeWarnings();
  if (auto warning = warnOfUnused(source.getPath(), findUnused(config, source)))
    model.warnings.push_back(*warning);
  int64_t promptTokens;
  if (llvm::Error error = adapters::applyAdapters(
          options, AdapterNames(config, source, context), model, promptTokens))
    return error;
  model.decoder.emplace();
  model.decoder->promptTokens = promptTokens;
  model.decoder->context = context;
  model.decoder->vocabulary = config.vocabulary;
  return llvm::Error::success();
}

} // namespace pare::decoder
