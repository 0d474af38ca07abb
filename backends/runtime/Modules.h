//===- Modules.h - Parts that only some models need -------------*- C++ -*-===//
//
// The commands refer to these symbols weakly, which takes nothing out of the
// archive. The compiler links a part in by an undefined reference to its
// symbol (`-u pare_module_image`) when the model needs it.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_MODULES_H
#define PARE_BACKENDS_RUNTIME_MODULES_H

#include "backends/runtime/Cli.h"

extern "C" {

/// Pictures as inputs.
typedef struct {
  /// Size of the picture (PNG or JPEG) in `file`; false with the cause.
  bool (*size)(pare::rt::Str file, int64_t &width, int64_t &height,
               pare::rt::Message &error);
  /// Decodes, resizes to width x height and normalises into `out`: `info`'s
  /// channels and layout, float32 or uint8 (then neither scaled nor shifted).
  bool (*load)(pare::rt::Str file, const PareImageInfo &info, int64_t width,
               int64_t height, uint32_t dtype, void *out,
               pare::rt::Message &error);
} PareImageModule;
extern const PareImageModule pare_module_image __attribute__((weak));

/// The `embed` command of sentence encoders.
typedef struct {
  const pare::rt::Command *command;
} PareEmbedModule;
extern const PareEmbedModule pare_module_embed __attribute__((weak));

/// The commands of language models; `bench` takes the place of the general one.
typedef struct {
  const pare::rt::Command *commands[4];
} PareDecoderModule;
extern const PareDecoderModule pare_module_decoder __attribute__((weak));
}

#endif
