//===- Cli.cpp - What all subcommands share -------------------------------===//
#include "tools/Cli.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace llvm;

namespace pare::tools {

void loadDialects(mlir::MLIRContext &context) {
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect,
                      mlir::arith::ArithDialect, mlir::math::MathDialect,
                      mlir::scf::SCFDialect, mlir::cf::ControlFlowDialect,
                      mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
}

std::string getKind(mlir::Operation *op) {
  if (auto unary = mlir::dyn_cast<nn::UnaryOp>(op))
    return stringifyUnaryKind(unary.getKind()).str();
  if (auto binary = mlir::dyn_cast<nn::BinaryOp>(op))
    return stringifyBinaryKind(binary.getKind()).str();
  return op->getName().stripDialect().str();
}

Expected<ImportOptions> parseShapes(ArrayRef<std::string> shapes) {
  ImportOptions options;
  for (StringRef text : shapes) {
    auto [name, shape] = text.split('=');
    if (name.empty() || shape.empty())
      return createStringError(
          "--shape %s: expected NAME=SIZES, as in --shape input=1x3x224x224",
          text.str().c_str());
    if (!options.shapes.insert({name.str(), shape.str()}).second)
      return createStringError("--shape %s: input '%s' has one already",
                               text.str().c_str(), name.str().c_str());
  }
  return options;
}

Expected<Model> importModel(StringRef path, const ImportOptions &options,
                            mlir::MLIRContext &context, Console &console) {
  Expected<const Importer *> importer = findImporter(path);
  if (!importer)
    return importer.takeError();
  Expected<Model> model = (*importer)->import(path, options, context);
  if (!model)
    return model.takeError();
  for (const std::string &warning : model->warnings)
    console.warn(warning);
  for (const WeightStore::NonFinite &tensor : model->weights->findNonFinite())
    console.warn("weight '" + tensor.name + "' has " + Twine(tensor.nan) +
                 " NaN and " + Twine(tensor.inf) + " infinite values");
  return model;
}

} // namespace pare::tools
