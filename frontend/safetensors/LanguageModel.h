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

/// Fails where config.json does not describe a model that a graph can be built
/// of.
llvm::Error checkLanguageModel(const Config &config);

} // namespace pare::safetensors

#endif
