//===- SentencePieceFile.cpp - .model files -------------------------------===//
//
// A ModelProto of sentencepiece_model.proto in protobuf's wire format
// (https://protobuf.dev/programming-guides/encoding).
//
//===----------------------------------------------------------------------===//
#include "frontend/Json.h"
#include "frontend/tokenizer/SentencePiece.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/ADT/Twine.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

/// A field of a message: a number, or bytes.
struct Field {
  uint32_t number = 0;
  bool isBytes = false;
  uint64_t value = 0;
  StringRef bytes;
};

/// Walks the fields of one message.
class Fields {
public:
  explicit Fields(StringRef message) : rest(message) {}

  /// The next field, or false at the end and where the message is damaged.
  bool next(Field &field) {
    if (rest.empty() || bad)
      return false;
    const uint64_t key = varint();
    field = {};
    field.number = uint32_t(key >> 3);
    switch (key & 7) {
    case 0:
      field.value = varint();
      break;
    case 1:
      field.value = fixed(8);
      break;
    case 2: {
      const uint64_t size = varint();
      if (size > rest.size())
        bad = true;
      field.isBytes = true;
      field.bytes = rest.take_front(bad ? 0 : size);
      rest = rest.drop_front(field.bytes.size());
      break;
    }
    case 5:
      field.value = fixed(4);
      break;
    default:
      bad = true;
    }
    return !bad;
  }
  bool damaged() const { return bad; }

private:
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest.empty())
        break;
      const uint8_t byte = uint8_t(rest.front());
      rest = rest.drop_front();
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80)
        return value;
    }
    bad = true;
    return 0;
  }
  uint64_t fixed(unsigned size) {
    if (rest.size() < size) {
      bad = true;
      return 0;
    }
    const uint64_t value = size == 4 ? support::endian::read32le(rest.data())
                                     : support::endian::read64le(rest.data());
    rest = rest.drop_front(size);
    return value;
  }

  StringRef rest;
  bool bad = false;
};

bool readPiece(StringRef message, SentencePieceModel::Piece &piece) {
  Fields fields(message);
  for (Field f; fields.next(f);) {
    if (f.number == 1 && f.isBytes)
      piece.text = f.bytes.str();
    else if (f.number == 2 && !f.isBytes)
      piece.score = llvm::bit_cast<float>(uint32_t(f.value));
    else if (f.number == 3 && !f.isBytes)
      piece.type = int(std::min<uint64_t>(f.value, 99));
  }
  return !fields.damaged();
}

/// TrainerSpec, of which the file keeps what encoding needs. `kind`: its
/// model_type.
bool readTrainer(StringRef message, SentencePieceModel &model, uint64_t &kind) {
  Fields fields(message);
  auto id = [](const Field &f) { return int64_t(int32_t(uint32_t(f.value))); };
  for (Field f; fields.next(f);) {
    if (f.number == 3 && !f.isBytes)
      kind = f.value;
    else if (f.number == 24 && !f.isBytes)
      model.suffix = f.value;
    else if (f.number == 35 && !f.isBytes)
      model.byteFallback = f.value;
    else if (f.number == 41 && !f.isBytes)
      model.bos = id(f);
    else if (f.number == 42 && !f.isBytes)
      model.eos = id(f);
    else if (f.number == 43 && !f.isBytes)
      model.pad = id(f);
    else if (f.number == 44 && f.isBytes)
      model.unknownText = f.bytes.str();
  }
  return !fields.damaged();
}

bool readNormalizer(StringRef message, SentencePieceModel &model) {
  Fields fields(message);
  for (Field f; fields.next(f);) {
    if (f.number == 2 && f.isBytes)
      model.charsmap = f.bytes.str();
    else if (f.number == 3 && !f.isBytes)
      model.addPrefix = f.value;
    else if (f.number == 4 && !f.isBytes)
      model.removeExtra = f.value;
    else if (f.number == 5 && !f.isBytes)
      model.escape = f.value;
  }
  return !fields.damaged();
}

/// add_bos_token and add_eos_token of tokenizer_config.json.
Error readFraming(StringRef config, StringRef path, SentencePieceModel &model) {
  if (config.empty())
    return Error::success();
  Expected<json::Value> root = parseJson(config, path);
  if (!root)
    return root.takeError();
  const json::Object *object = root->getAsObject();
  if (!object)
    return tokenizerError(path, "not a JSON object");
  for (auto [key, flag] : {std::pair("add_bos_token", &model.addBos),
                           std::pair("add_eos_token", &model.addEos)}) {
    const json::Value *value = object->get(key);
    if (!value || value->getAsNull())
      continue;
    if (!value->getAsBoolean())
      return tokenizerError(path, Twine(key) + ": not true or false");
    *flag = *value->getAsBoolean();
  }
  return Error::success();
}

} // namespace

Expected<Description> readSentencePiece(StringRef file, StringRef path,
                                        StringRef config,
                                        StringRef configPath) {
  SentencePieceModel model;
  uint64_t kind = 1;
  Fields fields(file);
  for (Field f; fields.next(f);) {
    bool good = true;
    if (f.number == 1 && f.isBytes) {
      model.pieces.emplace_back();
      good = readPiece(f.bytes, model.pieces.back());
    } else if (f.number == 2 && f.isBytes) {
      good = readTrainer(f.bytes, model, kind);
    } else if (f.number == 3 && f.isBytes) {
      good = readNormalizer(f.bytes, model);
    }
    if (!good)
      return tokenizerError(path, "damaged at byte " +
                                      Twine(f.bytes.data() - file.data()) +
                                      "; is this a sentencepiece model?");
  }
  if (fields.damaged() || model.pieces.empty())
    return tokenizerError(path,
                          model.pieces.empty()
                              ? "has no pieces; is this a sentencepiece model?"
                              : "cut or damaged behind piece " +
                                    Twine(model.pieces.size() - 1));
  if (kind != 1 && kind != 2)
    return tokenizerError(path, "trainer_spec.model_type: " + Twine(kind) +
                                    " is not supported; supported: unigram, "
                                    "BPE");
  model.isUnigram = kind == 1;
  if (Error error = readFraming(config, configPath, model))
    return std::move(error);
  if (llvm::none_of(model.pieces, [](auto &piece) {
        return piece.type == SentencePieceModel::Unknown;
      }))
    return tokenizerError(path, "pieces: none is the unknown one");
  return describe(model, path, "pieces");
}

} // namespace pare::tokenizer
