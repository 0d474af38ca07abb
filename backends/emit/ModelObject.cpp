//===- ModelObject.cpp - A program as constant tables
//-----------------------===//
#include "backends/emit/ModelObject.h"
#include "backends/cpu/CacheLayout.h"
#include "backends/cpu/DType.h"
#include "backends/emit/WeightsObject.h"
#include "llvm/IR/IRBuilder.h"

using namespace llvm;
namespace nn = pare::nn;

namespace pare::emit {

namespace {

/// Builds constants whose memory layout is that of the C structs in Abi.h: a
/// literal LLVM struct with natural alignment has it.
class TableBuilder {
public:
  explicit TableBuilder(Module &module)
      : module(module), context(module.getContext()) {}

  Constant *u32(uint32_t v) {
    return ConstantInt::get(Type::getInt32Ty(context), v);
  }
  Constant *i64(int64_t v) {
    return ConstantInt::get(Type::getInt64Ty(context), v, true);
  }
  Constant *f32(float v) {
    return ConstantFP::get(Type::getFloatTy(context), v);
  }
  Constant *null() {
    return ConstantPointerNull::get(PointerType::get(context, 0));
  }
  Constant *record(ArrayRef<Constant *> fields) {
    return ConstantStruct::getAnon(context, fields);
  }

  GlobalVariable *global(Constant *value, const Twine &name) {
    auto *variable =
        new GlobalVariable(module, value->getType(), true,
                           GlobalValue::PrivateLinkage, value, name);
    return variable;
  }
  Constant *text(StringRef value) {
    auto [it, inserted] = texts.try_emplace(value, nullptr);
    if (inserted) {
      GlobalVariable *variable =
          global(ConstantDataArray::getString(context, value), "text");
      variable->setUnnamedAddr(GlobalValue::UnnamedAddr::Global);
      it->second = variable;
    }
    return it->second;
  }
  /// A pointer to the elements; null where there are none.
  Constant *array(ArrayRef<Constant *> elements, const Twine &name) {
    if (elements.empty())
      return null();
    return global(ConstantArray::get(ArrayType::get(elements.front()->getType(),
                                                    elements.size()),
                                     elements),
                  name);
  }
  Constant *bytes(ArrayRef<uint8_t> data, const Twine &name) {
    GlobalVariable *variable =
        global(ConstantDataArray::get(context, data), name);
    variable->setAlignment(Align(PARE_ALIGN));
    return variable;
  }

  Module &module;
  LLVMContext &context;

private:
  StringMap<Constant *> texts;
};

/// Emits `void plan(const int64_t *symbols, int64_t *slots)`.
class PlanEmitter {
public:
  PlanEmitter(Module &module, const Layout &layout)
      : module(module), layout(layout), builder(module.getContext()) {}

  Function *emit() {
    LLVMContext &context = module.getContext();
    auto *pointer = PointerType::get(context, 0);
    auto *type =
        FunctionType::get(Type::getVoidTy(context), {pointer, pointer}, false);
    auto *plan =
        Function::Create(type, GlobalValue::InternalLinkage, "plan", module);
    plan->addFnAttr(Attribute::NoUnwind);
    builder.SetInsertPoint(BasicBlock::Create(context, "entry", plan));
    symbols = plan->getArg(0);
    for (const Slot &slot : layout.slots)
      values.push_back(compute(slot));
    for (auto [index, value] : enumerate(values))
      builder.CreateStore(value,
                          builder.CreateConstGEP1_64(builder.getInt64Ty(),
                                                     plan->getArg(1), index));
    builder.CreateRetVoid();
    return plan;
  }

private:
  Value *compute(const Slot &slot) {
    if (slot.kind == Slot::Expression)
      return compute(slot.expression);
    Value *result = values[slot.operands.front()];
    for (unsigned operand : drop_begin(slot.operands))
      result = slot.kind == Slot::Sum
                   ? builder.CreateAdd(result, values[operand])
                   : builder.CreateBinaryIntrinsic(Intrinsic::smax, result,
                                                   values[operand]);
    return result;
  }

  Value *compute(mlir::AffineExpr e) {
    if (auto constant = mlir::dyn_cast<mlir::AffineConstantExpr>(e))
      return builder.getInt64(constant.getValue());
    if (auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(e))
      return builder.CreateLoad(
          builder.getInt64Ty(),
          builder.CreateConstGEP1_64(builder.getInt64Ty(), symbols,
                                     symbol.getPosition()));
    auto binary = mlir::cast<mlir::AffineBinaryOpExpr>(e);
    Value *lhs = compute(binary.getLHS()), *rhs = compute(binary.getRHS());
    switch (e.getKind()) {
    case mlir::AffineExprKind::Add:
      return builder.CreateAdd(lhs, rhs);
    case mlir::AffineExprKind::Mul:
      return builder.CreateMul(lhs, rhs);
    case mlir::AffineExprKind::FloorDiv:
      return floorDiv(lhs, rhs);
    case mlir::AffineExprKind::CeilDiv:
      return builder.CreateNeg(floorDiv(builder.CreateNeg(lhs), rhs));
    case mlir::AffineExprKind::Mod:
      return builder.CreateSub(lhs, builder.CreateMul(floorDiv(lhs, rhs), rhs));
    default:
      llvm_unreachable("not a shape expression");
    }
  }

  /// Divisors are positive.
  Value *floorDiv(Value *lhs, Value *rhs) {
    Value *quotient = builder.CreateSDiv(lhs, rhs);
    Value *remainder = builder.CreateSub(lhs, builder.CreateMul(quotient, rhs));
    Value *negative = builder.CreateICmpSLT(remainder, builder.getInt64(0));
    return builder.CreateSub(
        quotient, builder.CreateZExt(negative, builder.getInt64Ty()));
  }

  Module &module;
  const Layout &layout;
  IRBuilder<> builder;
  Value *symbols = nullptr;
  std::vector<Value *> values;
};

class ModelBuilder {
public:
  ModelBuilder(Module &module, const cpu::Program &program, Layout layout,
               mlir::ModuleOp graph)
      : tables(module), program(program), layout(std::move(layout)),
        entry(nn::getEntry(graph)) {}

  Error build(const ModelInfo &info, const cpu::Isa &isa,
              const WeightsFacts &weights);

private:
  Expected<Constant *> tensorInfo(StringRef name, mlir::Type type);
  Expected<std::vector<Constant *>> dimInfos();
  Constant *ref(const PareRef &r) {
    return tables.record(
        {tables.u32(r.space), tables.u32(r.offset_slot), tables.i64(r.index)});
  }
  Constant *step(unsigned index);
  Expected<std::vector<Constant *>> imageInfos(const ModelInfo &info);
  Expected<Constant *> encoderInfo(const ModelInfo &info);
  Constant *decoderInfo(const ModelInfo &info);
  int findInput(StringRef name);

  TableBuilder tables;
  const cpu::Program &program;
  Layout layout;
  mlir::func::FuncOp entry;
};

} // namespace

Expected<Constant *> ModelBuilder::tensorInfo(StringRef name, mlir::Type type) {
  auto tensor = mlir::cast<mlir::RankedTensorType>(type);
  std::optional<PareDType> dtype = cpu::getDType(tensor.getElementType());
  if (!dtype || tensor.getRank() > PARE_MAX_RANK)
    return createStringError("'%s' has a type that artifacts cannot exchange: "
                             "at most %d axes of a standard number type",
                             name.str().c_str(), PARE_MAX_RANK);
  std::vector<Constant *> dims(PARE_MAX_RANK, tables.i64(0));
  for (auto [axis, dim] : enumerate(nn::getShape(tensor))) {
    std::optional<int64_t> value = nn::getConstant(dim);
    dims[axis] = tables.i64(value ? *value : -1 - int64_t(layout.slot(dim)));
  }
  Constant *array = ConstantArray::get(
      ArrayType::get(Type::getInt64Ty(tables.context), PARE_MAX_RANK), dims);
  return tables.record({tables.text(name), tables.u32(*dtype),
                        tables.u32(tensor.getRank()), array});
}

Expected<std::vector<Constant *>> ModelBuilder::dimInfos() {
  std::vector<Constant *> result;
  auto names = entry->getAttrOfType<mlir::ArrayAttr>(nn::kDimNamesAttr);
  auto minima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMinAttr);
  auto maxima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMaxAttr);
  for (unsigned symbol = 0, e = names ? names.size() : 0; symbol < e;
       ++symbol) {
    auto expr = mlir::getAffineSymbolExpr(symbol, entry.getContext());
    int64_t input = -1, axis = -1;
    for (auto [index, type] : enumerate(entry.getArgumentTypes()))
      for (auto [position, dim] : enumerate(nn::getShape(type)))
        if (input < 0 && dim == expr) {
          input = index;
          axis = position;
        }
    StringRef name = mlir::cast<mlir::StringAttr>(names[symbol]).getValue();
    if (input < 0)
      return createStringError("dimension '%s' is not a dimension of any "
                               "input: give it a value with --shape",
                               name.str().c_str());
    result.push_back(tables.record(
        {tables.text(name), tables.i64(minima[symbol]),
         tables.i64(maxima[symbol]), tables.u32(input), tables.u32(axis)}));
  }
  return result;
}

Constant *ModelBuilder::step(unsigned index) {
  const cpu::KernelCall &call = program.calls[index];
  const StepLayout &step = layout.steps[index];
  Module &module = tables.module;
  Function *kernel = module.getFunction(call.kernel);
  if (!kernel) {
    auto *pointer = PointerType::get(tables.context, 0);
    auto *type = FunctionType::get(
        Type::getVoidTy(tables.context),
        {pointer, pointer, Type::getInt64Ty(tables.context), pointer}, false);
    kernel = Function::Create(type, GlobalValue::ExternalLinkage, call.kernel,
                              module);
  } else if (!kernel->isDeclaration()) {
    kernel->setLinkage(GlobalValue::InternalLinkage);
  }
  std::vector<Constant *> ptrs, dims;
  for (const PareRef &r : step.ptrs)
    ptrs.push_back(ref(r));
  for (unsigned slot : step.dims)
    dims.push_back(tables.u32(slot));
  Constant *state = tables.null();
  if (!call.state.empty())
    state = cast<Constant>(
        module.getOrInsertGlobal(call.state, Type::getInt8Ty(tables.context)));
  StringRef name =
      call.outputs.empty() ? "" : nn::getValueName(call.outputs.front().value);
  return tables.record({kernel, tables.text(name), tables.text(call.op),
                        tables.text(call.provider), tables.array(ptrs, "refs"),
                        tables.u32(ptrs.size()), tables.u32(call.inputs.size()),
                        tables.array(dims, "dims"), tables.u32(dims.size()),
                        tables.u32(step.grid), tables.u32(step.flops),
                        tables.u32(step.bytes), state});
}

int ModelBuilder::findInput(StringRef name) {
  for (unsigned i = 0; i < entry.getNumArguments(); ++i)
    if (nn::getValueName(entry.getArgument(i)) == name)
      return i;
  return -1;
}

PareImageInfo getImageInfo(const ImageInput &image, uint32_t input) {
  PareImageInfo info = {};
  info.input = input;
  info.width = image.width;
  info.height = image.height;
  info.channels = image.channels;
  info.nchw = image.nchw;
  info.bgr = image.bgr;
  for (unsigned i = 0; i < 4; ++i) {
    info.mean[i] = i < image.mean.size() ? image.mean[i] : 0;
    info.std[i] = i < image.std.size() ? image.std[i] : 1;
  }
  return info;
}

Expected<std::vector<Constant *>>
ModelBuilder::imageInfos(const ModelInfo &info) {
  std::vector<Constant *> result;
  for (const ImageInput &image : info.images) {
    int input = findInput(image.input);
    if (input < 0)
      return createStringError("--image: the model has no input '%s'",
                               image.input.c_str());
    PareImageInfo record = getImageInfo(image, input);
    auto floats = [&](ArrayRef<float> values) {
      return ConstantDataArray::get(tables.context, values);
    };
    result.push_back(
        tables.record({tables.u32(record.input), tables.u32(record.width),
                       tables.u32(record.height), tables.u32(record.channels),
                       tables.u32(record.nchw), tables.u32(record.bgr),
                       floats(record.mean), floats(record.std)}));
  }
  return result;
}

Expected<Constant *> ModelBuilder::encoderInfo(const ModelInfo &info) {
  if (!info.encoder)
    return tables.null();
  const ModelInfo::Encoder &encoder = *info.encoder;
  auto i32 = [&](int v) {
    return ConstantInt::get(Type::getInt32Ty(tables.context), v, true);
  };
  Constant *record = tables.record(
      {tables.bytes(encoder.tokenizer, "tokenizer"),
       tables.i64(encoder.tokenizer.size()), tables.u32(encoder.pooling),
       tables.u32(encoder.normalize), tables.u32(encoder.maxTokens),
       tables.u32(0), i32(findInput("input_ids")),
       i32(findInput("attention_mask")), i32(findInput("token_type_ids"))});
  return static_cast<Constant *>(tables.global(record, "encoder"));
}

Constant *ModelBuilder::decoderInfo(const ModelInfo &info) {
  if (!info.decoder)
    return tables.null();
  const ModelInfo::Decoder &decoder = *info.decoder;
  cpu::CacheLayout caches(entry->getParentOfType<mlir::ModuleOp>());
  std::vector<Constant *> regions, stops;
  for (const PareCacheRegion &region : caches.regions())
    regions.push_back(tables.record(
        {tables.i64(region.offset), tables.u32(region.block_rows),
         tables.u32(region.block_bytes), tables.u32(region.capacity)}));
  for (int32_t stop : decoder.stops)
    stops.push_back(tables.u32(stop));
  Constant *record =
      tables.record({tables.bytes(decoder.tokenizer, "tokenizer"),
                     tables.i64(decoder.tokenizer.size()),
                     decoder.chatTemplate.empty()
                         ? tables.null()
                         : tables.bytes(decoder.chatTemplate, "chat_template"),
                     tables.i64(decoder.chatTemplate.size()),
                     tables.u32(decoder.context),
                     tables.u32(decoder.vocabulary),
                     tables.i64(caches.bytes()),
                     tables.array(regions, "cache_regions"),
                     tables.u32(regions.size()),
                     tables.u32(findInput("tokens")),
                     tables.u32(findInput("positions")),
                     tables.u32(findInput("sequences")),
                     tables.u32(findInput("outputs")),
                     tables.u32(0),
                     tables.u32(stops.size()),
                     tables.array(stops, "stops"),
                     tables.f32(decoder.temperature),
                     tables.f32(decoder.topP),
                     tables.f32(decoder.minP),
                     tables.f32(decoder.repetitionPenalty),
                     tables.u32(decoder.topK),
                     tables.u32(decoder.promptTokens)});
  return tables.global(record, "decoder");
}

Error ModelBuilder::build(const ModelInfo &info, const cpu::Isa &isa,
                          const WeightsFacts &weights) {
  std::vector<Constant *> inputs, outputs, steps, values;
  for (mlir::BlockArgument arg : entry.getArguments()) {
    Expected<Constant *> tensor =
        tensorInfo(nn::getValueName(arg), arg.getType());
    if (!tensor)
      return tensor.takeError();
    inputs.push_back(*tensor);
  }
  for (auto [index, type] : enumerate(entry.getResultTypes())) {
    auto name =
        entry.getResultAttrOfType<mlir::StringAttr>(index, nn::kNameAttr);
    Expected<Constant *> tensor = tensorInfo(
        name ? name.getValue() : "output" + std::to_string(index), type);
    if (!tensor)
      return tensor.takeError();
    outputs.push_back(*tensor);
  }
  Expected<std::vector<Constant *>> dims = dimInfos();
  if (!dims)
    return dims.takeError();
  Expected<std::vector<Constant *>> images = imageInfos(info);
  if (!images)
    return images.takeError();
  Expected<Constant *> encoder = encoderInfo(info);
  if (!encoder)
    return encoder.takeError();
  for (unsigned i = 0; i < program.calls.size(); ++i)
    steps.push_back(step(i));
  for (const ValueLayout &value : layout.values) {
    StringRef name = nn::getValueName(value.value);
    Expected<Constant *> tensor = tensorInfo(name, value.value.getType());
    if (!tensor) { // A code type that no file holds: nothing to probe.
      consumeError(tensor.takeError());
      continue;
    }
    values.push_back(tables.record(
        {tables.text(name), tables.u32(value.step), ref(value.ref), *tensor}));
  }

  std::vector<Constant *> constraints;
  for (const nn::Constraint &constraint : nn::findConstraints(entry))
    constraints.push_back(tables.record({tables.u32(layout.slot(constraint.a)),
                                         tables.u32(layout.slot(constraint.b)),
                                         tables.text(constraint.what)}));
  Function *plan = PlanEmitter(tables.module, layout).emit();
  Constant *data = tables.null();
  if (weights.bytes > 0) {
    auto *external = new GlobalVariable(
        tables.module, Type::getInt8Ty(tables.context), true,
        GlobalValue::ExternalLinkage, nullptr, weights.symbol);
    external->setVisibility(GlobalValue::HiddenVisibility);
    data = external;
  }
  Constant *sha =
      ConstantDataArray::get(tables.context, ArrayRef(weights.sha256));
  auto count = [&](const auto &list) { return tables.u32(list.size()); };
  Constant *model = tables.record({tables.u32(PARE_ABI_VERSION),
                                   tables.u32(isa.cpuBits),
                                   tables.text(info.name),
                                   tables.text(isa.name),
                                   tables.text(info.metadata),
                                   count(inputs),
                                   count(outputs),
                                   count(*dims),
                                   count(steps),
                                   count(values),
                                   count(*images),
                                   tables.array(inputs, "inputs"),
                                   tables.array(outputs, "outputs"),
                                   tables.array(*dims, "dims"),
                                   tables.array(steps, "steps"),
                                   tables.array(values, "values"),
                                   tables.array(*images, "images"),
                                   *encoder,
                                   decoderInfo(info),
                                   data,
                                   tables.i64(weights.bytes),
                                   sha,
                                   plan,
                                   tables.u32(layout.slots.size()),
                                   tables.u32(layout.arenaSlot),
                                   tables.u32(layout.scratchSlot),
                                   tables.u32(info.threads),
                                   count(constraints),
                                   tables.array(constraints, "constraints")});
  GlobalVariable *definition = tables.global(model, "pare_model");
  definition->setLinkage(GlobalValue::ExternalLinkage);
  definition->setName("pare_model");
  return Error::success();
}

Error addModel(Module &kernels, const cpu::Program &program,
               const Layout &layout, mlir::ModuleOp graph,
               const ModelInfo &info, const cpu::Isa &isa,
               const WeightsFacts &weights) {
  return ModelBuilder(kernels, program, layout, graph)
      .build(info, isa, weights);
}

} // namespace pare::emit
