//===- GgufImporter.h - GGUF models -----------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_GGUFIMPORTER_H
#define PARE_FRONTEND_GGUF_GGUFIMPORTER_H

#include "frontend/Importer.h"

namespace pare {

/// GGUF files, their shards and parts, and folders with one such model.
const Importer &getGgufImporter();

} // namespace pare

#endif
