//===- Info.cpp - `info` --------------------------------------------------===//
#include "backends/runtime/Cli.h"

#include "backends/runtime/Context.h"
#include "backends/runtime/Output.h"
#include "backends/runtime/Sha256.h"

using namespace pare::rt;

static void putHex(Writer &text, const uint8_t digest[32]) {
  for (int i = 0; i < 32; ++i)
    text.put("0123456789abcdef"[digest[i] >> 4])
        .put("0123456789abcdef"[digest[i] & 15]);
}

static void putTensors(Writer &text, const PareModel &model, const char *title,
                       const PareTensorInfo *infos, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t from = text.column();
    text.put(i ? "" : title).pad(from, 10).put(infos[i].name).put("  ");
    text.put(pare_dtype_name(infos[i].dtype)).put(' ');
    putShape(text, model, infos[i]);
    text.put('\n');
  }
}

static void putTensorsJson(Writer &text, const PareModel &model,
                           const PareTensorInfo *infos, uint32_t count) {
  text.put('[');
  for (uint32_t i = 0; i < count; ++i) {
    text.put(i ? "," : "").put("{\"name\":").json(infos[i].name);
    text.put(",\"dtype\":").json(pare_dtype_name(infos[i].dtype));
    text.put(",\"shape\":[");
    for (uint32_t axis = 0; axis < infos[i].rank; ++axis) {
      text.put(axis ? "," : "");
      int64_t dim = infos[i].dims[axis];
      if (dim >= 0)
        text.num(dim);
      else if (const PareDimInfo *symbol = dimOfSlot(model, dim))
        text.json(symbol->name);
      else
        text.put("null");
    }
    text.put("]}");
  }
  text.put(']');
}

/// Steps whose kernel is a shared library's.
static uint32_t countLibrarySteps(const PareModel &model) {
  uint32_t count = 0;
  for (uint32_t s = 0; s < model.num_steps; ++s)
    count += model.steps[s].state != nullptr;
  return count;
}

/// Bytes that one more position takes in the caches of all layers, while no
/// layer's window is full.
static uint64_t cacheBytesPerToken(const PareDecoderInfo &decoder) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < decoder.num_regions; ++i)
    bytes += decoder.regions[i].block_bytes / decoder.regions[i].block_rows;
  return bytes;
}

static void putText(Writer &text, const PareModel &model) {
  text.put("model     ").put(model.name).put('\n');
  text.put("target    ").put(model.target).put('\n');
  putTensors(text, model, "inputs", model.inputs, model.num_inputs);
  putTensors(text, model, "outputs", model.outputs, model.num_outputs);
  for (uint32_t i = 0; i < model.num_dims; ++i)
    text.put(i ? "          " : "dims      ")
        .put(model.dims[i].name)
        .put(" from ")
        .num(model.dims[i].min)
        .put(" to ")
        .num(model.dims[i].max)
        .put('\n');
  for (uint32_t i = 0; i < model.num_images; ++i) {
    const PareImageInfo &image = model.images[i];
    text.put("picture   ")
        .put(model.inputs[image.input].name)
        .put(": PNG or JPEG, ");
    text.num(image.width).put('x').num(image.height);
    text.put(image.bgr ? " bgr" : image.channels == 1 ? " grey" : " rgb");
    text.put(image.nchw ? " nchw\n" : " nhwc\n");
  }
  if (const PareDecoderInfo *decoder = model.decoder) {
    text.put("context   ").num(decoder->context).put(" tokens of ");
    text.num(decoder->vocabulary).put(", ");
    text.unsignedNum(cacheBytesPerToken(*decoder));
    text.put(" bytes of cache each\n");
  }
  text.put("steps     ").num(model.num_steps);
  if (uint32_t steps = countLibrarySteps(model))
    text.put(", ").num(steps).put(
        " of them by oneDNN: needs libdnnl.so.3 and libgomp.so.1 beside this "
        "file, and reorders their weights in memory at the start");
  text.put('\n');
  text.put("weights   ")
      .unsignedNum(model.weights_bytes)
      .put(" bytes, sha256 ");
  putHex(text, model.weights_sha256);
  text.put('\n');
}

static void putJson(Writer &text, const PareModel &model, bool verified) {
  text.put("{\"name\":").json(model.name);
  text.put(",\"target\":").json(model.target);
  text.put(",\"inputs\":");
  putTensorsJson(text, model, model.inputs, model.num_inputs);
  text.put(",\"outputs\":");
  putTensorsJson(text, model, model.outputs, model.num_outputs);
  text.put(",\"dims\":[");
  for (uint32_t i = 0; i < model.num_dims; ++i)
    text.put(i ? "," : "")
        .put("{\"name\":")
        .json(model.dims[i].name)
        .put(",\"min\":")
        .num(model.dims[i].min)
        .put(",\"max\":")
        .num(model.dims[i].max)
        .put('}');
  text.put("],\"steps\":").num(model.num_steps);
  if (const PareDecoderInfo *decoder = model.decoder) {
    text.put(",\"context\":").num(decoder->context);
    text.put(",\"vocabulary\":").num(decoder->vocabulary);
    text.put(",\"cache_bytes\":").unsignedNum(decoder->cache_bytes);
    text.put(",\"cache_bytes_per_token\":");
    text.unsignedNum(cacheBytesPerToken(*decoder));
    text.put(",\"tokenizer_bytes\":").unsignedNum(decoder->tokenizer_bytes);
    text.put(",\"chat_template_bytes\":")
        .unsignedNum(decoder->chat_template_bytes);
  }
  if (const PareEncoderInfo *encoder = model.encoder)
    text.put(",\"encoder_max_tokens\":").unsignedNum(encoder->max_tokens);
  text.put(",\"onednn_steps\":").num(countLibrarySteps(model));
  text.put(",\"weights_bytes\":").unsignedNum(model.weights_bytes);
  text.put(",\"weights_sha256\":\"");
  putHex(text, model.weights_sha256);
  text.put('"');
  if (verified)
    text.put(",\"verified\":true");
  text.put(",\"runtime\":").json(PARE_VERSION);
  if (model.metadata && *model.metadata)
    text.put(",\"metadata\":").put(model.metadata);
  text.put("}\n");
}

/// Writes a table that a language model holds, for `pare eval`. False with one
/// line in `error`.
static bool writeTable(const char *path, const uint8_t *table, uint64_t bytes,
                       Message &error) {
  OutputFile file;
  return file.open(path, error) && file.write(table, bytes, error) &&
         file.commit(error);
}

static int run(Program &program, const Args &args) {
  const PareModel &model = program.model;
  if (const PareDecoderInfo *decoder = model.decoder) {
    Message error;
    const char *tokenizer = args.get("--write-tokenizer"),
               *chat = args.get("--write-chat-template");
    if ((tokenizer && !writeTable(tokenizer, decoder->tokenizer,
                                  decoder->tokenizer_bytes, error)) ||
        (chat && !writeTable(chat, decoder->chat_template,
                             decoder->chat_template_bytes, error)))
      return program.fail(error);
  }
  bool verify = args.has("--verify");
  if (verify) {
    uint8_t digest[32];
    sha256(model.weights, model.weights_bytes, digest);
    if (memcmp(digest, model.weights_sha256, sizeof(digest)) != 0)
      return program.fail("the weights are damaged: their SHA-256 is not the "
                          "one they were compiled with; copy the file again");
    program.say("the weights are as they were compiled");
  }
  StandardOutput out;
  if (args.has("--json"))
    putJson(out.text(), model, verify);
  else
    putText(out.text(), model);
  return out.finish(program);
}

static const Option kOptions[] = {
    {"--verify", nullptr, "check the weights against their SHA-256"},
    {"--json", nullptr,
     "print JSON, with all that is known of the compilation"},
    {"--write-tokenizer", "FILE", nullptr}, // of a language model
    {"--write-chat-template", "FILE", nullptr},
    PARE_COMMON_OPTIONS};

const Command pare::rt::kInfoCommand = {
    "info",
    "[options]",
    "Prints what this model takes, gives and holds.",
    kOptions,
    [](Writer &text, const Program &program) {
      text.put("./").put(program.name).put(" info --verify");
    },
    run};
