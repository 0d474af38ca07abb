//===- TextSamples.cpp - Tokens as a model's inputs -----------------------===//
#include "tools/data/TextSamples.h"
#include "backends/runtime/Tokenizer.h"
#include <numeric>

using namespace llvm;

namespace pare::tools {

static mlir::RankedTensorType getType(mlir::BlockArgument arg) {
  return mlir::cast<mlir::RankedTensorType>(arg.getType());
}

static mlir::BlockArgument findInput(mlir::func::FuncOp entry, StringRef name) {
  for (mlir::BlockArgument arg : entry.getArguments())
    if (nn::getValueName(arg) == name)
      return arg;
  return nullptr;
}

DimBounds getBounds(mlir::func::FuncOp entry, nn::Dim dim) {
  if (std::optional<int64_t> size = nn::getConstant(dim))
    return {*size, *size};
  auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim);
  auto minima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMinAttr);
  auto maxima = entry->getAttrOfType<mlir::DenseI64ArrayAttr>(nn::kDimMaxAttr);
  if (!symbol || !minima || !maxima ||
      symbol.getPosition() >= std::min(minima.size(), maxima.size()))
    return {1, INT64_MAX};
  return {minima[symbol.getPosition()], maxima[symbol.getPosition()]};
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

Expected<uint64_t> getMaxChunk(mlir::func::FuncOp entry,
                               const DecoderInfo &decoder) {
  mlir::BlockArgument tokens = findInput(entry, "tokens");
  if (!tokens || getType(tokens).getRank() != 1 || entry.getNumArguments() != 4)
    return createStringError("the graph does not take tokens of a text");
  int64_t most = getBounds(entry, nn::getShape(getType(tokens))[0]).high;
  if (decoder.context)
    most = std::min(most, decoder.context);
  if (most - decoder.promptTokens < 2)
    return createStringError(
        "the model's prompt tokens leave no room for text");
  return uint64_t(most - decoder.promptTokens);
}

Sample makeDecoderSample(mlir::func::FuncOp entry, const DecoderInfo &decoder,
                         ArrayRef<int32_t> tokens, uint64_t outputs) {
  std::vector<int64_t> ids(decoder.promptTokens);
  std::iota(ids.begin(), ids.end(), decoder.vocabulary);
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  auto count = int64_t(ids.size());
  auto wanted = std::clamp<int64_t>(outputs, 1, int64_t(tokens.size()));
  Sample sample;
  for (mlir::BlockArgument arg : entry.getArguments()) {
    StringRef name = nn::getValueName(arg);
    std::vector<int64_t> values(name == "outputs" ? wanted : count);
    if (name == "tokens")
      values = ids;
    else if (name == "positions")
      std::iota(values.begin(), values.end(), 0);
    else if (name == "outputs")
      for (int64_t i = 0; i < wanted; ++i)
        values[i] = decoder.promptTokens +
                    (i + 1) * int64_t(tokens.size()) / wanted - 1;
    sample.emplace_back(
        mlir::RankedTensorType::get({int64_t(values.size())},
                                    getType(arg).getElementType()),
        ArrayRef<int64_t>(values));
  }
  return sample;
}

//===----------------------------------------------------------------------===//
// Sentence encoders
//===----------------------------------------------------------------------===//

Expected<EncoderShape> getEncoderShape(mlir::func::FuncOp entry,
                                       const EncoderInfo &encoder) {
  mlir::BlockArgument ids = findInput(entry, "input_ids");
  if (!ids || getType(ids).getRank() != 2)
    return createStringError(
        "the model's token ids are not of shape [batch, tokens]");
  for (mlir::BlockArgument arg : entry.getArguments()) {
    StringRef name = nn::getValueName(arg);
    if (name != "input_ids" && name != "attention_mask" &&
        name != "token_type_ids")
      return createStringError("texts do not give the model's input '" + name +
                               "': give .npz files with all inputs");
  }
  nn::Shape shape = nn::getShape(getType(ids));
  EncoderShape result{getBounds(entry, shape[0]), getBounds(entry, shape[1]),
                      0};
  constexpr int64_t longest = 1 << 20; // where nothing bounds it
  result.maxTokens = uint64_t(std::min(result.length.high, longest));
  if (encoder.maxTokens)
    result.maxTokens = std::min(result.maxTokens, uint64_t(encoder.maxTokens));
  return result;
}

Sample makeEncoderSample(mlir::func::FuncOp entry, const EncoderShape &shape,
                         ArrayRef<std::vector<int32_t>> texts,
                         const TextTokenizer &tokenizer) {
  const PareTokenizerConfig &config = *tokenizer.getTable().config;
  int64_t batch = std::max<int64_t>(shape.batch.low, texts.size()),
          length = std::max<int64_t>(shape.length.low, 1);
  for (const std::vector<int32_t> &text : texts)
    length = std::max<int64_t>(length, text.size());
  Sample sample;
  for (mlir::BlockArgument arg : entry.getArguments()) {
    StringRef name = nn::getValueName(arg);
    std::vector<int64_t> values;
    for (int64_t b = 0; b < batch; ++b) {
      const std::vector<int32_t> &text =
          texts[std::min<size_t>(b, texts.size() - 1)];
      auto tokens = int64_t(text.size());
      int64_t first = config.pad_left ? length - tokens : 0;
      for (int64_t t = 0; t < length; ++t) {
        bool inText = t >= first && t < first + tokens;
        int64_t value = 0;
        if (name == "input_ids")
          value = inText ? text[t - first] : std::max(config.pad_id, 0);
        else if (name == "attention_mask")
          value = inText;
        else if (!inText)
          value = config.pad_type_id;
        values.push_back(value);
      }
    }
    sample.emplace_back(mlir::RankedTensorType::get(
                            {batch, length}, getType(arg).getElementType()),
                        ArrayRef<int64_t>(values));
  }
  return sample;
}

} // namespace pare::tools
