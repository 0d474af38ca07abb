//===- LanguageModel.h - Folders of decoder language models -----*- C++ -*-===//
#ifndef PARE_FRONTEND_SAFETENSORS_LANGUAGEMODEL_H
#define PARE_FRONTEND_SAFETENSORS_LANGUAGEMODEL_H

#include "frontend/safetensors/Architecture.h"

namespace pare::safetensors {

/// Builds `model` from a folder's config.json and tensors. Reads of the folder:
/// tokenizer.json (or tokenizer.model), tokenizer_config.json,
/// chat_template.jinja, generation_config.json. Without a
/// tokenizer there is a warning, and the artifact gives logits only.
llvm::Error importLanguageModel(llvm::StringRef folder, const Config &config,
                                const Tensors &tensors,
                                const ImportOptions &options,
                                GraphBuilder &builder, Model &model);

/// What of a config no graph is built for.
llvm::Expected<std::vector<Unsupported>>
findUnsupportedLanguageModel(const Config &config);

} // namespace pare::safetensors

#endif
