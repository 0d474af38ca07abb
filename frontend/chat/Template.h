//===- Template.h - Chat templates to the serialized table ------*- C++ -*-===//
#ifndef PARE_FRONTEND_CHAT_TEMPLATE_H
#define PARE_FRONTEND_CHAT_TEMPLATE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pare::chat {

/// Variables that are the same for every conversation: "bos_token" and its
/// text, and other special tokens.
using Variables = std::vector<std::pair<std::string, std::string>>;

/// Compiles a chat template, a Jinja text as tokenizer_config.json or GGUF's
/// tokenizer.chat_template have it, to its table (Format.h). `path` names it
/// in errors, which are one line: what is malformed and in which line, or a
/// list of all filters, tests, methods and tags that are not supported. In the
/// table, `variables` go before what it is rendered with. Equal templates give
/// equal bytes.
llvm::Expected<std::vector<uint8_t>>
compileTemplate(llvm::StringRef source, llvm::StringRef path,
                const Variables &variables = {});

} // namespace pare::chat

#endif
