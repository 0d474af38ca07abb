//===- Calibration.h - The --calibrate option -------------------*- C++ -*-===//
#ifndef PARE_TOOLS_CALIBRATION_H
#define PARE_TOOLS_CALIBRATION_H

#include "backends/emit/ModelInfo.h"
#include "frontend/Progress.h"
#include "frontend/ir/NN.h"
#include "passes/reference/HostTensor.h"

namespace pare::tools {

using Sample = std::vector<HostTensor>; ///< one tensor per input of the entry

/// Reads calibration samples. Each of `paths` is a folder (all its files in
/// name order), a .npz (one sample: all inputs by name) or, for a model with
/// one input, a .npy or picture; pictures are prepared as --image says. Where
/// the input's first axis is fixed and the array's is a multiple of it, each
/// part is a sample. Errors name the file; `listener` hears of files.
llvm::Expected<std::vector<Sample>>
readCalibration(llvm::ArrayRef<std::string> paths, mlir::func::FuncOp entry,
                llvm::ArrayRef<emit::ImageInput> images,
                const ProgressFn &listener = nullptr);

} // namespace pare::tools

#endif
