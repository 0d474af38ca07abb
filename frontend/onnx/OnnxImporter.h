//===- OnnxImporter.h - ONNX models -----------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_ONNX_ONNXIMPORTER_H
#define PARE_FRONTEND_ONNX_ONNXIMPORTER_H

#include "frontend/Importer.h"

namespace pare {

/// ONNX files, opset 10 to 22, weights inside or as external data.
const Importer &getOnnxImporter();

} // namespace pare

#endif
