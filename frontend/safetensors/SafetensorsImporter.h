//===- SafetensorsImporter.h - safetensors with config.json -----*- C++ -*-===//
#ifndef PARE_FRONTEND_SAFETENSORS_SAFETENSORSIMPORTER_H
#define PARE_FRONTEND_SAFETENSORS_SAFETENSORSIMPORTER_H

#include "frontend/Importer.h"

namespace pare {

/// Folders with config.json, .safetensors files, and sentence-transformers
/// folders (modules.json), whose pooling and tokenizer become Model::encoder.
const Importer &getSafetensorsImporter();

} // namespace pare

#endif
