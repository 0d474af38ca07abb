//===- GraphBuilder.h - Making nn graphs from files -------------*- C++ -*-===//
//
// What every importer needs: the module and its entry point, symbolic
// dimensions, weights by name, and ops whose failed shape inference is a
// user's error with a source name, never an abort.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_GRAPHBUILDER_H
#define PARE_FRONTEND_GRAPHBUILDER_H

#include "frontend/Importer.h"
#include "frontend/ShapeSpec.h"
#include "mlir/IR/Diagnostics.h"

namespace pare {

class GraphBuilder {
public:
  GraphBuilder(mlir::MLIRContext &context, std::shared_ptr<WeightStore> store);

  mlir::MLIRContext *getContext() { return builder_.getContext(); }
  mlir::OpBuilder &getBuilder() { return builder_; }
  WeightStore &getStore() { return *store_; }

  //===--------------------------------------------------------------------===//
  // Errors. The first one stays; after it every create* returns a null value
  // without looking at its operands, so that chains of ops need one check.
  //===--------------------------------------------------------------------===//

  bool hasFailed() const { return !error_.empty(); }
  /// Records an error; returns null so that a caller can return it.
  mlir::Value fail(const llvm::Twine &message);
  llvm::Error takeError();
  /// What is being imported, put before a message: "node 'conv_1' (Conv)".
  void setScope(std::string scope) { scope_ = std::move(scope); }

  //===--------------------------------------------------------------------===//
  // Dimensions and inputs
  //===--------------------------------------------------------------------===//

  /// The symbol of that name, made with these bounds where it is new. Bounds
  /// given later for the same name must agree where both are set (0: unset).
  nn::Dim getSymbol(llvm::StringRef name, int64_t min, int64_t max);
  /// Bounds of symbols whose own are unset.
  void setDefaultBounds(unsigned symbol, int64_t min, int64_t max);
  nn::Dim constantDim(int64_t value) {
    return nn::constant(value, getContext());
  }
  unsigned getNumSymbols() const { return symbols_.size(); }

  /// Least and greatest value of `dim` under the symbols' bounds (saturating;
  /// may be wider than the exact range).
  std::pair<int64_t, int64_t> getRange(nn::Dim dim) const;
  /// Makes sure that `dim` is within [min, max], where need be by narrowing
  /// bounds that the importer chose itself (a warning says so). False where
  /// that cannot be.
  bool constrain(nn::Dim dim, int64_t min, int64_t max);
  /// Whether an expression has the size and constants that shapes have; a
  /// file that leads to others is damaged or hostile.
  static bool isReasonable(nn::Dim dim);
  static bool isReasonable(mlir::RankedTensorType type);
  std::vector<std::string> takeWarnings() { return std::move(warnings_); }

  mlir::Value addInput(llvm::StringRef name, mlir::RankedTensorType type);

  //===--------------------------------------------------------------------===//
  // Values
  //===--------------------------------------------------------------------===//

  /// A tensor of the store as a value (one nn.weight per name).
  mlir::Value createParam(llvm::StringRef name);
  /// Declares a cache (nn.cache) under a new name.
  void createCache(llvm::StringRef name, int64_t heads, int64_t headDim,
                   int64_t capacity, mlir::Type type);
  mlir::Value createConstant(mlir::Location loc, mlir::DenseElementsAttr value);
  /// A rank-0 f32 constant.
  mlir::Value createScalar(mlir::Location loc, float value);

  /// An op whose result types are inferred from `args` (as its build methods
  /// take them, without result types). Returns the first of its `results`.
  template <typename OpT, unsigned results = 1, typename... Args>
  mlir::Value create(mlir::Location loc, Args &&...args) {
    if (hasFailed())
      return {};
    mlir::OperationState state(loc, OpT::getOperationName());
    llvm::SmallVector<mlir::Type> unknown(
        results, mlir::RankedTensorType::get({}, builder_.getI1Type()));
    OpT::build(builder_, state, mlir::TypeRange(unknown),
               std::forward<Args>(args)...);
    state.types.clear();
    return createInferred(state, OpT::inferReturnTypes);
  }

  /// An op with a given result type, verified at once.
  template <typename OpT, typename... Args>
  mlir::Value createTyped(mlir::Location loc, mlir::RankedTensorType type,
                          Args &&...args) {
    if (hasFailed())
      return {};
    mlir::OperationState state(loc, OpT::getOperationName());
    OpT::build(builder_, state, mlir::Type(type), std::forward<Args>(args)...);
    return createVerified(state);
  }

  /// `x` under another shape; fails where the element counts differ.
  mlir::Value createReshape(mlir::Location loc, mlir::Value x,
                            llvm::ArrayRef<nn::Dim> shape);

  //===--------------------------------------------------------------------===//
  // The end
  //===--------------------------------------------------------------------===//

  /// Returns `outputs` under `names`, sets the entry's attributes, verifies.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  finish(llvm::ArrayRef<mlir::Value> outputs,
         llvm::ArrayRef<std::string> names);

private:
  struct Symbol {
    std::string name;
    int64_t min, max;
    bool isChosen; ///< bounds are the importer's, not the user's
  };
  using InferFunction = llvm::LogicalResult (*)(
      mlir::MLIRContext *, std::optional<mlir::Location>, mlir::ValueRange,
      mlir::DictionaryAttr, mlir::OpaqueProperties, mlir::RegionRange,
      llvm::SmallVectorImpl<mlir::Type> &);

  mlir::Value createInferred(mlir::OperationState &state, InferFunction infer);
  mlir::Value createVerified(mlir::OperationState &state);

  std::shared_ptr<WeightStore> store_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  mlir::func::FuncOp entry_;
  mlir::OpBuilder builder_;
  std::vector<Symbol> symbols_;
  std::vector<std::string> inputNames_;
  llvm::StringMap<mlir::Value> params_;
  std::string scope_, error_;
  std::vector<std::string> warnings_;
  mlir::ScopedDiagnosticHandler diagnostics_;
};

} // namespace pare

#endif
