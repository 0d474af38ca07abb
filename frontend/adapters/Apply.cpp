//===- Apply.cpp - Puts adapters into a model -----------------------------===//
#include "frontend/adapters/Apply.h"
#include "frontend/adapters/Adapter.h"
#include "frontend/adapters/LowRank.h"
#include <map>

using namespace mlir;

namespace pare::adapters {

namespace {

bool isProduct(OpOperand &use) {
  return isa<nn::MatMulOp>(use.getOwner()) && use.getOperandNumber() == 1;
}

bool isLookup(OpOperand &use) {
  auto gather = dyn_cast<nn::GatherOp>(use.getOwner());
  return gather && use.getOperandNumber() == 0 && gather.getAxis() == 0;
}

/// The weight of a product or lookup as it lies in memory.
Orientation getOrientation(OpOperand &use) {
  auto matmul = dyn_cast<nn::MatMulOp>(use.getOwner());
  return matmul && matmul.getTransposeRhs() ? Orientation::OutIn
                                            : Orientation::InOut;
}

/// Rows of transformers' values in the order of the model's tensor.
std::vector<float> orderRows(const Place &place, std::vector<float> values) {
  if (place.rows.empty())
    return values;
  std::vector<float> ordered(values.size());
  size_t width = values.size() / place.rows.size();
  for (auto [row, from] : llvm::enumerate(place.rows))
    std::copy_n(values.begin() + from * int64_t(width), width,
                ordered.begin() + int64_t(row * width));
  return ordered;
}

/// What all adapters do to some uses of a weight.
struct Update {
  std::string tensor, path; ///< in the store; transformers' module
  SmallVector<OpOperand *> uses;
  LowRank change;
};

class Applier {
public:
  Applier(const ImportOptions &options, const Names &names, Model &model)
      : mode(options.adapterMode), names(names), module(*model.module),
        store(*model.weights), builder(module.getContext()) {
    module.walk(
        [&](nn::ParamOp param) { params[param.getWeight()].push_back(param); });
  }

  llvm::Error replace(const Adapter &adapter);
  llvm::Error add(const Adapter &adapter);
  llvm::Error addPrompt(const Adapter &adapter, int64_t &promptTokens);
  void finish();

private:
  SmallVector<OpOperand *> findUses(StringRef tensor, Place::Uses which);
  /// The place of an adapter's tensor and its uses there.
  llvm::Expected<std::pair<Place, SmallVector<OpOperand *>>>
  findPlace(const Adapter &adapter, StringRef name);
  llvm::Error add(const Adapter &adapter, const LoraLayer &layer);
  Value createParam(StringRef name, StringRef source);
  Value createParam(const Twine &name, StringRef source,
                    ArrayRef<int64_t> shape, ArrayRef<float> values);
  void setOperands(StringRef tensor, ArrayRef<OpOperand *> uses, Value value);
  bool isMerged(const Update &update);
  void merge(const Update &update);
  void addBeside(const Update &update);
  void eraseUnused(StringRef tensor);
  Value createInteger(Location loc, int64_t value);
  void selectPrompt(nn::GatherOp lookup, Value prompt);

  AdapterMode mode;
  const Names &names;
  ModuleOp module;
  WeightStore &store;
  OpBuilder builder;
  llvm::StringMap<SmallVector<nn::ParamOp>> params;
  /// By tensor and first use, which tells tied tables' two kinds apart.
  std::map<std::pair<std::string, bool>, Update> updates;
  /// Tensors that were replaced: the new ones' names.
  std::map<std::pair<std::string, Place::Uses>, std::string> replaced;
};

SmallVector<OpOperand *> Applier::findUses(StringRef tensor,
                                           Place::Uses which) {
  SmallVector<OpOperand *> uses;
  auto addUses = [&](Value value) {
    for (OpOperand &use : value.getUses())
      if (!isa<nn::CastOp>(use.getOwner()) &&
          (which == Place::Uses::All ||
           (which == Place::Uses::Lookups ? isLookup(use) : isProduct(use))))
        uses.push_back(&use);
  };
  for (nn::ParamOp param : params.lookup(tensor)) {
    addUses(param);
    for (Operation *user : param->getUsers())
      if (auto cast = dyn_cast<nn::CastOp>(user))
        addUses(cast);
  }
  return uses;
}

llvm::Expected<std::pair<Place, SmallVector<OpOperand *>>>
Applier::findPlace(const Adapter &adapter, StringRef name) {
  std::optional<Place> place = names.find(name);
  SmallVector<OpOperand *> uses;
  if (place) {
    auto it = replaced.find({place->tensor, place->uses});
    if (it != replaced.end())
      place->tensor = it->second;
    uses = findUses(place->tensor, place->uses);
  }
  if (uses.empty())
    return llvm::createStringError(adapter.folder + ": adapts '" + name +
                                   "', which is not in the model");
  return std::pair(std::move(*place), std::move(uses));
}

/// A weight of the store as a value, where the entry begins.
Value Applier::createParam(StringRef name, StringRef source) {
  func::FuncOp entry = nn::getEntry(module);
  Location loc = nn::getNamedLoc(name, module.getContext());
  RankedTensorType type = store.get(name).type;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(entry);
  nn::WeightOp::create(
      builder, loc, builder.getStringAttr(name), TypeAttr::get(type),
      source.empty() ? StringAttr() : builder.getStringAttr(source),
      StringAttr(), StringAttr());
  builder.setInsertionPointToStart(&entry.front());
  auto param = nn::ParamOp::create(builder, loc, type, name);
  params[name].push_back(param);
  if (type.getElementType().isF32())
    return param;
  return nn::CastOp::create(builder, loc, param, builder.getF32Type());
}

Value Applier::createParam(const Twine &name, StringRef source,
                           ArrayRef<int64_t> shape, ArrayRef<float> values) {
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  return createParam(store.addOwned(name.str(), type, values), source);
}

void Applier::setOperands(StringRef tensor, ArrayRef<OpOperand *> uses,
                          Value value) {
  for (OpOperand *use : uses)
    use->set(value);
  eraseUnused(tensor);
}

/// Forgets a weight whose last use went.
void Applier::eraseUnused(StringRef tensor) {
  auto it = params.find(tensor);
  if (it == params.end())
    return;
  for (nn::ParamOp param : it->second)
    for (Operation *user : llvm::make_early_inc_range(param->getUsers()))
      if (isa<nn::CastOp>(user) && user->use_empty())
        user->erase();
  if (!llvm::all_of(it->second,
                    [](nn::ParamOp param) { return param->use_empty(); }))
    return;
  for (nn::ParamOp param : it->second)
    param.erase();
  module.lookupSymbol<nn::WeightOp>(tensor).erase();
  params.erase(it);
  store.erase(tensor);
}

//===----------------------------------------------------------------------===//
// Tensors that replace the model's
//===----------------------------------------------------------------------===//

llvm::Error Applier::replace(const Adapter &adapter) {
  for (const auto &[name, tensor] : adapter.whole) {
    auto found = findPlace(adapter, name);
    if (!found)
      return found.takeError();
    auto &[place, uses] = *found;
    auto refuse = [&](const Twine &what) {
      return llvm::createStringError(adapter.folder + ": '" + name + "' " +
                                     what);
    };
    if (!place.whyNotWhole.empty())
      return refuse("replaces the model's, which is not supported: " +
                    place.whyNotWhole);
    RankedTensorType type = store.get(place.tensor).type;
    if (type.getShape() != tensor.type.getShape())
      return refuse("has shape " + printShape(tensor.type.getShape()) +
                    ", the model's has " + printShape(type.getShape()));
    llvm::Expected<std::vector<float>> values = toF32(tensor);
    if (!values)
      return values.takeError();
    std::vector<float> ordered = orderRows(place, std::move(*values));
    for (float &value : ordered)
      value += place.offset;
    Value param = createParam(place.tensor + ".adapted", place.tensor,
                              type.getShape(), ordered);
    replaced[{names.find(name)->tensor, place.uses}] =
        nn::getWeight(param).getSymName().str();
    setOperands(place.tensor, uses, param);
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Low-rank updates
//===----------------------------------------------------------------------===//

llvm::Error Applier::add(const Adapter &adapter, const LoraLayer &layer) {
  auto found = findPlace(adapter, layer.path + ".weight");
  if (!found)
    return found.takeError();
  auto &[place, uses] = *found;
  auto refuse = [&](const Twine &what) {
    return llvm::createStringError(adapter.folder + ": '" + layer.path + "' " +
                                   what);
  };
  if (!llvm::all_of(uses, [&](OpOperand *use) {
        return layer.isEmbedding ? isLookup(*use) : isProduct(*use);
      }))
    return refuse(layer.isEmbedding ? "is no embedding in the model"
                                    : "is no linear layer in the model");
  Orientation orientation = getOrientation(*uses.front());
  const TensorData &weight = store.get(place.tensor);
  ArrayRef<int64_t> shape = weight.type.getShape();
  if (shape.size() != 2)
    return refuse("is no matrix in the model");
  bool byRow = orientation == Orientation::OutIn;
  int64_t in = shape[byRow ? 1 : 0], out = shape[byRow ? 0 : 1];
  ArrayRef<int64_t> shapeA = layer.a.type.getShape(),
                    shapeB = layer.b.type.getShape();
  if (shapeA[1] != in || shapeB[0] != out)
    return refuse("is adapted by " + printShape(shapeB) + " and " +
                  printShape(shapeA) + ", but takes " + Twine(in) +
                  " and gives " + Twine(out) + " in the model");
  Update &update = updates[{place.tensor, isLookup(*uses.front())}];
  if (update.uses.empty())
    update = {place.tensor, layer.path, uses, {in, out}};

  llvm::Expected<std::vector<float>> a = toF32(layer.a);
  if (!a)
    return a.takeError();
  auto read = [&](const safetensors::Tensor &tensor)
      -> llvm::Expected<std::vector<float>> {
    llvm::Expected<std::vector<float>> values = toF32(tensor);
    if (!values)
      return values;
    return orderRows(place, std::move(*values));
  };
  llvm::Expected<std::vector<float>> b = read(layer.b);
  if (!b)
    return b.takeError();
  if (!layer.magnitude) {
    update.change.add(*a, *b, layer.scale);
    return llvm::Error::success();
  }
  llvm::Expected<std::vector<float>> magnitude = read(*layer.magnitude);
  if (!magnitude)
    return magnitude.takeError();
  update.change.addScaled(*a, *b, layer.scale, *magnitude, weight.toF32(),
                          orientation);
  return llvm::Error::success();
}

llvm::Error Applier::add(const Adapter &adapter) {
  for (const LoraLayer &layer : adapter.layers)
    if (llvm::Error error = add(adapter, layer))
      return error;
  return llvm::Error::success();
}

/// Blocks keep their bits, and a tensor with other uses is not copied.
bool Applier::isMerged(const Update &update) {
  if (mode != AdapterMode::Auto)
    return mode == AdapterMode::Merge;
  return !store.get(update.tensor).storage &&
         findUses(update.tensor, Place::Uses::All).size() == update.uses.size();
}

void Applier::merge(const Update &update) {
  const TensorData &weight = store.get(update.tensor);
  SmallVector<int64_t> shape(weight.type.getShape());
  std::vector<float> values = weight.toF32();
  update.change.merge(values, getOrientation(*update.uses.front()));
  setOperands(
      update.tensor, update.uses,
      createParam(update.tensor + ".adapted", update.tensor, shape, values));
}

/// y = d W x + B (A x), or rows of tables likewise.
void Applier::addBeside(const Update &update) {
  const LowRank &change = update.change;
  bool isTable = isLookup(*update.uses.front());
  std::vector<float> first = change.a;
  SmallVector<int64_t> shapeA{change.rank, change.in};
  if (isTable) {
    for (int64_t i = 0; i < change.in; ++i)
      for (int64_t k = 0; k < change.rank; ++k)
        first[i * change.rank + k] = change.a[k * change.in + i];
    std::swap(shapeA[0], shapeA[1]);
  }
  Value a = createParam(update.path + ".lora_A", "", shapeA, first);
  Value b = createParam(update.path + ".lora_B", "", {change.rank, change.out},
                        change.b);
  Value d = change.d.empty() ? Value()
                             : createParam(update.path + ".lora_magnitude", "",
                                           {change.out}, change.d);
  for (OpOperand *use : update.uses) {
    Operation *op = use->getOwner();
    Location loc = op->getLoc(), locA = a.getLoc(), locB = b.getLoc();
    // The sum is what the source calls by the name of the product.
    op->setLoc(nn::getNamedLoc(update.path + ".base", module.getContext()));
    builder.setInsertionPointAfter(op);
    Value y = op->getResult(0), x = op->getOperand(isTable ? 1 : 0);
    Value inner =
        isTable ? Value(nn::GatherOp::create(builder, locA, a, x, int64_t(0)))
                : Value(nn::MatMulOp::create(builder, locA, x, a,
                                             /*transpose_rhs=*/true));
    Value more = nn::MatMulOp::create(builder, locB, inner, b,
                                      /*transpose_rhs=*/false);
    SmallPtrSet<Operation *, 2> own;
    Value scaled = y;
    if (d) {
      scaled =
          nn::BinaryOp::create(builder, d.getLoc(), nn::BinaryKind::mul, y, d);
      own.insert(scaled.getDefiningOp());
    }
    Value sum =
        nn::BinaryOp::create(builder, loc, nn::BinaryKind::add, scaled, more);
    own.insert(sum.getDefiningOp());
    y.replaceAllUsesExcept(sum, own);
  }
}

//===----------------------------------------------------------------------===//
// Vectors before a sequence
//===----------------------------------------------------------------------===//

Value Applier::createInteger(Location loc, int64_t value) {
  auto type = RankedTensorType::get({}, builder.getI32Type());
  return nn::ConstantOp::create(builder, loc, type,
                                DenseElementsAttr::get(type, int32_t(value)));
}

/// Rows of `prompt` for tokens beyond the table, which has those before.
void Applier::selectPrompt(nn::GatherOp lookup, Value prompt) {
  Location loc = prompt.getLoc();
  Value tokens = lookup.getIndices(), rows = lookup.getResult();
  int64_t size =
      cast<RankedTensorType>(lookup.getData().getType()).getDimSize(0);
  builder.setInsertionPoint(lookup);
  auto binary = [&](nn::BinaryKind kind, Value x, Value y) -> Value {
    return nn::BinaryOp::create(builder, loc, kind, x, y);
  };
  Value end = createInteger(loc, size);
  lookup.getIndicesMutable().assign(
      binary(nn::BinaryKind::min, tokens, createInteger(loc, size - 1)));
  builder.setInsertionPointAfter(lookup);
  Value own = nn::GatherOp::create(
      builder, loc, prompt,
      binary(nn::BinaryKind::max, binary(nn::BinaryKind::sub, tokens, end),
             createInteger(loc, 0)),
      int64_t(0));
  nn::Shape column = nn::getShape(tokens.getType());
  column.push_back(nn::constant(1, module.getContext()));
  Value isWord = nn::ReshapeOp::create(
      builder, loc, nn::getTensorType(column, builder.getI1Type()),
      binary(nn::BinaryKind::less, tokens, end));
  Value all = nn::SelectOp::create(builder, loc, isWord, rows, own);
  rows.replaceAllUsesExcept(all, all.getDefiningOp());
}

llvm::Error Applier::addPrompt(const Adapter &adapter, int64_t &promptTokens) {
  auto refuse = [&](const Twine &what) {
    return llvm::createStringError(adapter.folder + ": " + what);
  };
  std::optional<Names::TokenTable> table = names.getTokenTable();
  if (!table)
    return refuse("prompts of vectors are for language models");
  if (promptTokens)
    return refuse("another adapter has a prompt of vectors already");
  auto it = replaced.find({table->tensor, Place::Uses::Lookups});
  if (it == replaced.end())
    it = replaced.find({table->tensor, Place::Uses::All});
  SmallVector<OpOperand *> uses = findUses(
      it == replaced.end() ? table->tensor : it->second, Place::Uses::Lookups);
  assert(uses.size() == 1 && "a language model looks its tokens up once");
  auto lookup = cast<nn::GatherOp>(uses.front()->getOwner());
  int64_t width =
      cast<RankedTensorType>(lookup.getData().getType()).getDimSize(1);
  ArrayRef<int64_t> shape = adapter.prompt->type.getShape();
  if (shape[1] != width)
    return refuse("'prompt_embeddings' has rows of " + Twine(shape[1]) +
                  " numbers, the model's tokens have " + Twine(width));
  if (shape[0] >= table->context)
    return refuse("a prompt of " + Twine(shape[0]) +
                  " vectors fills the context of " + Twine(table->context) +
                  " positions");
  llvm::Expected<std::vector<float>> values = toF32(*adapter.prompt);
  if (!values)
    return values.takeError();
  for (float &value : *values)
    value *= table->scale;
  selectPrompt(lookup, createParam("prompt_embeddings", "", shape, *values));
  promptTokens = shape[0];
  return llvm::Error::success();
}

void Applier::finish() {
  for (auto &[key, update] : updates)
    isMerged(update) ? merge(update) : addBeside(update);
}

} // namespace

llvm::Error applyAdapters(const ImportOptions &options, const Names &names,
                          Model &model, int64_t &promptTokens) {
  promptTokens = 0;
  if (options.adapters.empty())
    return llvm::Error::success();
  std::vector<Adapter> adapters;
  for (const std::string &folder : options.adapters) {
    llvm::Expected<Adapter> adapter =
        readAdapter(folder, *model.module->getContext());
    if (!adapter)
      return adapter.takeError();
    adapters.push_back(std::move(*adapter));
  }
  Applier applier(options, names, model);
  for (const Adapter &adapter : adapters)
    if (llvm::Error error = applier.replace(adapter))
      return error;
  for (const Adapter &adapter : adapters)
    if (llvm::Error error = applier.add(adapter))
      return error;
  for (const Adapter &adapter : adapters)
    if (adapter.prompt)
      if (llvm::Error error = applier.addPrompt(adapter, promptTokens))
        return error;
  applier.finish();
  return llvm::Error::success();
}

} // namespace pare::adapters
