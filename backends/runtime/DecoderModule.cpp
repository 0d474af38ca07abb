#include "backends/runtime/DecoderModule.h"

#include "backends/runtime/Modules.h"

using namespace pare::rt;

extern "C" __attribute__((visibility("default")))
const PareDecoderModule pare_module_decoder = {
    {&kGenerateCommand, &kChatCommand, &kPerplexityCommand,
     &kDecoderBenchCommand}};
