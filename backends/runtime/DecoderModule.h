//===- DecoderModule.h - Commands of language models ------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_DECODERMODULE_H
#define PARE_BACKENDS_RUNTIME_DECODERMODULE_H

#include "backends/runtime/Cli.h"

namespace pare::rt {

extern const Command kGenerateCommand, kChatCommand, kPerplexityCommand,
    kDecoderBenchCommand;

} // namespace pare::rt

#endif
