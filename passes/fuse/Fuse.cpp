//===- Fuse.cpp - Groups ops that one kernel computes ---------------------===//
#include "frontend/ir/NN.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_FUSE
#include "passes/Passes.h.inc"

namespace {

constexpr size_t kMaxOps = 16;

using Group = llvm::SetVector<Operation *>;

Group makeGroup(Operation *op) {
  Group group;
  group.insert(op);
  return group;
}

bool isElementwise(Operation *op) {
  return isa<nn::UnaryOp, nn::BinaryOp, nn::SelectOp, nn::CastOp,
             nn::QuantizeOp>(op);
}

bool isProduct(Operation *op) {
  return isa<nn::MatMulOp, nn::ExpertMatMulOp, nn::ConvOp, nn::ConvTransposeOp>(
      op);
}

nn::Shape shapeOf(Operation *op) {
  return nn::getShape(op->getResult(0).getType());
}

class Fuser {
public:
  explicit Fuser(Block &block) : block(block) {
    for (Operation &op : block)
      order[&op] = order.size();
  }

  void run() {
    SmallVector<Operation *> ops;
    for (Operation &op : block.without_terminator())
      ops.push_back(&op);
    // Of two products that meet in one addition, the later one takes it.
    for (Operation *op : llvm::reverse(ops))
      if (isProduct(op))
        addProduct(op);
    for (Operation *op : ops)
      if (isa<nn::LayerNormOp, nn::RmsNormOp>(op))
        addNormalization(op);
    for (Operation *op : ops)
      if (isQuantizedGather(op))
        add(makeGroup(op));
    for (Operation *op : ops)
      if (isElementwise(op) && !claimed.contains(op))
        addElementwise(op);
    for (Operation *op : ops)
      if (isa<nn::DequantizeOp>(op) && !op->use_empty() && !onlyFeedsGroups(op))
        add(makeGroup(op));
    for (Group &group : groups)
      materialize(group);
    sortTopologically(&block);
  }

private:
  static bool isQuantizedGather(Operation *op) {
    auto gather = dyn_cast<nn::GatherOp>(op);
    return gather && gather.getData().getDefiningOp<nn::DequantizeOp>();
  }

  bool onlyFeedsGroups(Operation *op) const {
    return llvm::all_of(op->getUsers(), [&](Operation *user) {
      return claimed.contains(user);
    });
  }

  void add(Group group) {
    claimed.insert(group.begin(), group.end());
    groups.push_back(std::move(group));
  }

  bool canJoin(Operation *op, const nn::Shape &shape) const {
    return op->getBlock() == &block && isElementwise(op) &&
           !claimed.contains(op) && shapeOf(op) == shape;
  }

  /// True if only the results of `last` are used outside the group.
  static bool hasOneExit(const Group &group, Operation *last) {
    return llvm::all_of(group, [&](Operation *op) {
      return op == last || llvm::all_of(op->getUsers(), [&](Operation *user) {
               return group.contains(user);
             });
    });
  }

  /// Takes elementwise users in program order, as far as one value leaves the
  /// group. Values may fan out in between, as in x * sigmoid(x).
  void growForward(Group &group, const nn::Shape &shape) const {
    Group trial = group;
    while (trial.size() < kMaxOps) {
      Operation *next = nullptr;
      for (Operation *op : trial)
        for (Operation *user : op->getUsers())
          if (!trial.contains(user) && canJoin(user, shape) &&
              (!next || order.lookup(user) < order.lookup(next)))
            next = user;
      if (!next)
        return;
      trial.insert(next);
      if (hasOneExit(trial, next))
        group = trial;
    }
  }

  /// Takes elementwise producers that nothing else uses.
  void growBackward(Group &group, const nn::Shape &shape) const {
    for (size_t i = 0; i < group.size() && group.size() < kMaxOps; ++i)
      for (Value operand : group[i]->getOperands()) {
        Operation *op = operand.getDefiningOp();
        if (op && !group.contains(op) && canJoin(op, shape) &&
            llvm::all_of(op->getUsers(),
                         [&](Operation *user) { return group.contains(user); }))
          group.insert(op);
      }
  }

  void addProduct(Operation *anchor) {
    Group group = makeGroup(anchor);
    growForward(group, shapeOf(anchor));
    add(std::move(group));
  }

  /// [residual addition] + normalization + [dynamic quantization]. The sum is a
  /// result too where something else uses it.
  void addNormalization(Operation *anchor) {
    Group group = makeGroup(anchor);
    auto sum = anchor->getOperand(0).getDefiningOp<nn::BinaryOp>();
    if (sum && sum.getKind() == nn::BinaryKind::add &&
        sum.getLhs().getType() == sum.getRhs().getType() &&
        canJoin(sum, shapeOf(anchor)))
      group.insert(sum);
    for (Operation *user : anchor->getUsers())
      if (auto quantize = dyn_cast<nn::DynamicQuantizeOp>(user);
          quantize && !quantize.getGroup()) {
        group.insert(user);
        break;
      }
    add(std::move(group));
  }

  void addElementwise(Operation *op) {
    Group group = makeGroup(op);
    growForward(group, shapeOf(op));
    growBackward(group, shapeOf(op));
    add(std::move(group));
  }

  /// Operands' dequantizations and single numbers belong to each group that
  /// uses them.
  static void addOperandDefinitions(Group &group) {
    SmallVector<Operation *> users(group.begin(), group.end());
    for (Operation *user : users)
      for (Value operand : user->getOperands()) {
        Operation *op = operand.getDefiningOp();
        auto constant = dyn_cast_or_null<nn::ConstantOp>(op);
        if (isa_and_nonnull<nn::DequantizeOp>(op) ||
            (constant && constant.getValue().getNumElements() == 1)) {
          group.insert(op);
          for (Value inner : op->getOperands())
            if (auto zero = inner.getDefiningOp<nn::ConstantOp>();
                zero && zero.getValue().getNumElements() == 1)
              group.insert(zero);
        }
      }
  }

  static StringRef getLabel(Operation *op) {
    if (auto unary = dyn_cast<nn::UnaryOp>(op))
      return stringifyUnaryKind(unary.getKind());
    if (auto binary = dyn_cast<nn::BinaryOp>(op))
      return stringifyBinaryKind(binary.getKind());
    return op->getName().stripDialect();
  }

  void materialize(Group &group) {
    SmallVector<Operation *> own(group.begin(), group.end());
    llvm::sort(own, [&](Operation *a, Operation *b) {
      return order.lookup(a) < order.lookup(b);
    });
    addOperandDefinitions(group);
    SmallVector<Operation *> ops(group.begin(), group.end());
    llvm::sort(ops, [&](Operation *a, Operation *b) {
      return order.lookup(a) < order.lookup(b);
    });

    std::string label;
    llvm::SetVector<Value> inputs, outputs;
    for (Operation *op : ops)
      for (Value operand : op->getOperands())
        if (!group.contains(operand.getDefiningOp()))
          inputs.insert(operand);
    for (Operation *op : own) {
      label += (label.empty() ? "" : "+") + getLabel(op).str();
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) {
              return !group.contains(user);
            }))
          outputs.insert(result);
    }

    OpBuilder builder(own.back());
    auto fused = nn::FusedOp::create(
        builder,
        outputs.empty() ? own.back()->getLoc() : outputs.back().getLoc(),
        TypeRange(outputs.getArrayRef()), label, inputs.getArrayRef());
    Block *body = builder.createBlock(&fused.getBody());
    IRMapping mapping;
    for (Value input : inputs)
      mapping.map(input, body->addArgument(input.getType(), input.getLoc()));
    for (Operation *op : ops)
      builder.clone(*op, mapping);
    SmallVector<Value> yielded;
    for (Value output : outputs)
      yielded.push_back(mapping.lookup(output));
    nn::YieldOp::create(builder, fused.getLoc(), yielded);
    for (auto [output, result] :
         llvm::zip(outputs.takeVector(), fused.getOutputs()))
      output.replaceAllUsesWith(result);
    for (Operation *op : llvm::reverse(own))
      op->erase();
    // What was cloned from outside goes with its last user.
    for (Operation *op : llvm::reverse(ops))
      if (!llvm::is_contained(own, op) && op->use_empty() &&
          !claimed.contains(op))
        op->erase();
  }

  Block &block;
  DenseMap<Operation *, unsigned> order;
  llvm::DenseSet<Operation *> claimed;
  std::vector<Group> groups;
};

struct FusePass : impl::FuseBase<FusePass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Block &block : function.getBody())
        Fuser(block).run();
  }
};

} // namespace

std::unique_ptr<Pass> createFusePass() { return std::make_unique<FusePass>(); }

} // namespace pare
