//===- ImageOption.h - The --image option -----------------------*- C++ -*-===//
//
//   --image [INPUT=][WIDTHxHEIGHT][,KEY…]
//
// INPUT may be left out where the model has one input, WIDTHxHEIGHT where the
// model fixes them (pictures keep their own size where it does not). Keys:
//
//   mean=M or mean=M:M:M   per channel, of pixel values divided by 255 (0)
//   std=S or std=S:S:S     the same (1): a pixel p becomes (p / 255 - M) / S
//   layout=nchw|nhwc       (what fits the input's shape)
//   rgb, bgr, gray         order of channels (rgb, or gray for one channel)
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_IMAGEOPTION_H
#define PARE_TOOLS_IMAGEOPTION_H

#include "backends/emit/ModelInfo.h"
#include "frontend/ir/NN.h"

namespace pare::tools {

/// Parses one --image option against the inputs of `entry`: what it leaves out
/// is filled in, what contradicts the input's shape is an error of one line.
llvm::Expected<emit::ImageInput> parseImage(llvm::StringRef text,
                                            mlir::func::FuncOp entry);

} // namespace pare::tools

#endif
