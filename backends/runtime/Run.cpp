//===- Run.cpp - `run` ----------------------------------------------------===//
#include "backends/runtime/Modules.h"
#include "backends/runtime/Npy.h"
#include "backends/runtime/Session.h"
#include "backends/runtime/Zip.h"

#include <stdlib.h>
#include <unistd.h>

using namespace pare::rt;

namespace {

class Run {
public:
  Run(Program &program, const Args &args) : session(program), args(args) {}
  ~Run() { free(given); }

  bool run();
  Session session;

private:
  bool loadInputs();
  bool loadArgument(const char *argument);
  bool loadFile(int32_t input, const char *path);
  bool loadArchive(Str file, const char *path);
  bool loadArray(uint32_t input, Str file, const char *path);
  bool loadPicture(uint32_t input, Str file, const char *path);
  bool checkAllGiven();
  bool markGiven(uint32_t input);
  bool runProbed(const char *path);
  bool writeOutputs(const char *path);
  bool report(const char *path, uint64_t nanos);

  /// "'path' <cause>": false.
  bool failFile(const char *path, const Message &cause) {
    session.error.start().put('\'').put(path).put("' ").put(cause.c_str());
    return false;
  }

  const Args &args;
  bool *given = nullptr;
};

bool isPicture(Str file) {
  return file.startsWith("\x89PNG") || file.startsWith("\xff\xd8\xff");
}

bool isArchive(Str file) { return file.startsWith("PK"); }

bool Run::loadArray(uint32_t input, Str file, const char *path) {
  const PareTensorInfo &info = session.model.inputs[input];
  NpyView view;
  Message cause;
  if (!parseNpy(file, view, cause))
    return failFile(path, cause);
  if (view.tensor.dtype != info.dtype) {
    session.error.start()
        .put("input '")
        .put(info.name)
        .put("': '")
        .put(path)
        .put("' holds ")
        .put(pare_dtype_name(view.tensor.dtype))
        .put(", expected ")
        .put(pare_dtype_name(info.dtype));
    return false;
  }
  PareTensor &tensor = session.inputs[input];
  if (view.tensor.rank != info.rank) {
    session.error.start()
        .put("input '")
        .put(info.name)
        .put("': '")
        .put(path)
        .put("' has ")
        .num(view.tensor.rank)
        .put(" axes, expected ")
        .num(info.rank);
    return false;
  }
  if (!session.allocateInput(input, view.tensor.dims))
    return false;
  copyNpy(view, tensor.data);
  return true;
}

bool Run::loadPicture(uint32_t input, Str file, const char *path) {
  const PareModel &model = session.model;
  const PareTensorInfo &info = model.inputs[input];
  const PareImageInfo *image = nullptr;
  for (uint32_t i = 0; i < model.num_images; ++i)
    if (model.images[i].input == input)
      image = &model.images[i];
  if (!image || !&pare_module_image) {
    session.error.start().put("input '").put(info.name).put(
        "' takes .npy or .npz; to give it pictures, compile the model "
        "with --image");
    return false;
  }
  Message cause;
  int64_t width = image->width, height = image->height;
  if (!width || !height) {
    int64_t ownWidth, ownHeight;
    if (!pare_module_image.size(file, ownWidth, ownHeight, cause))
      return failFile(path, cause);
    width = width ? width : ownWidth;
    height = height ? height : ownHeight;
  }
  if (info.rank < 3 || info.rank > 4 ||
      (info.dtype != PARE_F32 && info.dtype != PARE_U8)) {
    session.error.start().put("input '").put(info.name).put(
        "' does not have the shape and type of a picture");
    return false;
  }
  int64_t dims[4] = {1};
  int64_t *at = dims + (info.rank == 4);
  int64_t channels = image->channels;
  at[0] = image->nchw ? channels : height;
  at[1] = image->nchw ? height : width;
  at[2] = image->nchw ? width : channels;
  if (!session.allocateInput(input, dims))
    return false;
  return pare_module_image.load(file, *image, width, height, info.dtype,
                                session.inputs[input].data, cause) ||
         failFile(path, cause);
}

bool Run::loadArchive(Str file, const char *path) {
  ZipReader archive;
  Message cause;
  if (!archive.open(file, cause))
    return failFile(path, cause);
  while (archive.remaining()) {
    ZipEntry entry;
    Bytes member;
    if (!archive.next(entry, cause))
      return failFile(path, cause);
    Str name = entry.name;
    if (name.endsWith(".npy"))
      name.size -= 4;
    int32_t input = session.findInput(name);
    if (input < 0) {
      Writer &line = session.error.start();
      line.put('\'').put(path).put("' holds '").put(name);
      line.put("', which is no input; the inputs are ");
      session.putInputs(line);
      return false;
    }
    if (!unpack(entry, member, cause))
      return failFile(path, cause);
    if (!markGiven(uint32_t(input)) ||
        !loadArray(uint32_t(input), member.str(), path))
      return false;
  }
  return true;
}

bool Run::markGiven(uint32_t input) {
  if (given[input]) {
    session.error.start()
        .put("input '")
        .put(session.model.inputs[input].name)
        .put("' is given twice");
    return false;
  }
  given[input] = true;
  return true;
}

bool Run::loadFile(int32_t input, const char *path) {
  Bytes bytes;
  if (!readFile(path, bytes, session.error))
    return false;
  Str file = bytes.str();
  if (isArchive(file)) {
    if (input < 0)
      return loadArchive(file, path);
    session.error.start().put("'").put(path).put(
        "' is a .npz with names of its own: give it without NAME=");
    return false;
  }
  if (input < 0 && session.model.num_inputs == 1)
    input = 0;
  if (input < 0) {
    Writer &line = session.error.start();
    line.put("--input ")
        .put(path)
        .put(": say which, as NAME=FILE; the inputs are ");
    session.putInputs(line);
    return false;
  }
  if (!markGiven(uint32_t(input)))
    return false;
  return isPicture(file) ? loadPicture(uint32_t(input), file, path)
                         : loadArray(uint32_t(input), file, path);
}

bool Run::loadArgument(const char *argument) {
  // A name may hold `=`, and so may a path: the longest prefix that names an
  // input wins.
  Str text = argument;
  for (uint64_t i = text.size; i-- > 0;)
    if (text.data[i] == '=') {
      int32_t input = session.findInput({text.data, i});
      if (input >= 0)
        return loadFile(input, argument + i + 1);
    }
  uint64_t equals = text.find('=');
  if (equals < text.size && access(argument, F_OK) != 0) {
    Writer &line = session.error.start();
    line.put("no input is called '").put(Str(text.data, equals));
    line.put("'; the inputs are ");
    session.putInputs(line);
    return false;
  }
  return loadFile(-1, argument);
}

bool Run::checkAllGiven() {
  for (uint32_t i = 0; i < session.model.num_inputs; ++i) {
    if (given[i])
      continue;
    Writer &line = session.error.start();
    line.put("input '").put(session.model.inputs[i].name);
    line.put("' is missing; the inputs are ");
    session.putInputs(line);
    return false;
  }
  return true;
}

bool Run::loadInputs() {
  given = static_cast<bool *>(calloc(session.model.num_inputs + 1, 1));
  if (!given) {
    session.error.start().put("out of memory");
    return false;
  }
  for (uint32_t i = 0; i < args.count; ++i) {
    const Args::Item &item = args.items[i];
    if (Str(item.option->name) == "--input" && !loadArgument(item.value))
      return false;
  }
  return checkAllGiven();
}

bool Run::writeOutputs(const char *path) {
  const PareModel &model = session.model;
  Message &error = session.error;
  OutputFile file;
  if (!Str(path).endsWith(".npy")) {
    ZipWriter archive(file);
    if (!file.open(path, error))
      return false;
    for (uint32_t i = 0; i < model.num_outputs; ++i)
      if (!archive.add(model.outputs[i].name, session.outputs[i], error))
        return false;
    return archive.finish(error) && file.commit(error);
  }
  if (model.num_outputs != 1) {
    error.start()
        .put("the model has ")
        .num(model.num_outputs)
        .put(" outputs: write them to a .npz");
    return false;
  }
  char header[kNpyHeaderBytes];
  const PareTensor &tensor = session.outputs[0];
  uint64_t headerBytes = npyHeader(tensor, header);
  return file.open(path, error) && file.write(header, headerBytes, error) &&
         file.write(tensor.data, tensor.bytes, error) && file.commit(error);
}

/// Runs and writes every named intermediate value to a .npz, for `pare diff`.
bool Run::runProbed(const char *path) {
  struct Probe {
    const PareModel &model;
    ZipWriter archive;
    Message &error;
    bool good;
  };
  OutputFile file;
  Probe probe{session.model, ZipWriter(file), session.error, true};
  if (!file.open(path, session.error))
    return false;
  auto record = [](void *user, uint32_t value, const PareTensor *tensor) {
    auto *probe = static_cast<Probe *>(user);
    probe->good =
        probe->good && probe->archive.add(probe->model.values[value].name,
                                          *tensor, probe->error);
  };
  pare_set_probe(session.context, record, &probe);
  bool good = session.run() && probe.good;
  pare_set_probe(session.context, nullptr, nullptr);
  return good && probe.archive.finish(session.error) &&
         file.commit(session.error);
}

/// Up to eight elements.
void putValues(Writer &text, const PareTensor &tensor) {
  uint64_t size = pare_dtype_bytes(tensor.dtype);
  uint64_t count = tensor.bytes / size;
  for (uint64_t i = 0; i < min<uint64_t>(count, 8); ++i) {
    text.put(' ');
    auto read = [&](auto value) {
      memcpy(&value, static_cast<char *>(tensor.data) + i * size,
             sizeof(value));
      return value;
    };
    switch (tensor.dtype) {
    case PARE_F32:
      text.real(read(0.0f));
      break;
    case PARE_F16:
      text.real(halfToFloat(read(uint16_t(0))));
      break;
    case PARE_BF16:
      text.real(bfloatToFloat(read(uint16_t(0))));
      break;
    case PARE_F64:
      text.real(float(read(0.0)));
      break;
    case PARE_I8:
      text.num(read(int8_t(0)));
      break;
    case PARE_I16:
      text.num(read(int16_t(0)));
      break;
    case PARE_U16:
      text.num(read(uint16_t(0)));
      break;
    case PARE_I32:
      text.num(read(int32_t(0)));
      break;
    case PARE_U32:
      text.num(read(uint32_t(0)));
      break;
    case PARE_I64:
      text.num(read(int64_t(0)));
      break;
    case PARE_U64:
      text.unsignedNum(read(uint64_t(0)));
      break;
    default:
      text.num(read(uint8_t(0)));
    }
  }
  if (count > 8)
    text.put(" ...");
}

bool Run::report(const char *path, uint64_t nanos) {
  const PareModel &model = session.model;
  if (path) {
    Message line;
    line.start()
        .put("wrote '")
        .put(path)
        .put("' after ")
        .fixed(double(nanos) * 1e-6, 3)
        .put(" ms on ")
        .num(pare_threads(session.context))
        .put(pare_threads(session.context) == 1 ? " thread" : " threads");
    session.program.say(line.c_str());
  }
  StandardOutput out;
  Writer &text = out.text();
  if (args.has("--json")) {
    text.put("{\"outputs\":[");
    for (uint32_t i = 0; i < model.num_outputs; ++i) {
      const PareTensor &tensor = session.outputs[i];
      text.put(i ? "," : "").put("{\"name\":").json(model.outputs[i].name);
      text.put(",\"dtype\":").json(pare_dtype_name(tensor.dtype));
      text.put(",\"shape\":[");
      for (uint32_t axis = 0; axis < tensor.rank; ++axis)
        text.put(axis ? "," : "").num(tensor.dims[axis]);
      text.put("]}");
    }
    text.put("],\"file\":");
    path ? text.json(path) : text.put("null");
    text.put(",\"milliseconds\":").fixed(double(nanos) * 1e-6, 6).put("}\n");
  } else if (!path) {
    for (uint32_t i = 0; i < model.num_outputs; ++i) {
      const PareTensor &tensor = session.outputs[i];
      text.put(model.outputs[i].name).put(' ');
      text.put(pare_dtype_name(tensor.dtype)).put(' ');
      text.shape(tensor.dims, tensor.rank).put(':');
      putValues(text, tensor);
      text.put('\n');
    }
  }
  return out.finish(session.program) == 0;
}

bool Run::run() {
  int64_t sequences = 1;
  if (!args.number("--sequences", 1, sequences, session.error))
    return false;
  PareOptions options = {};
  options.sequences = uint32_t(sequences);
  if (!session.open(args, options) || !loadInputs() ||
      !session.allocateOutputs())
    return false;
  uint64_t begin = nowNanos();
  const char *probe = args.get("--probe");
  if (!(probe ? runProbed(probe) : session.run()))
    return false;
  uint64_t nanos = nowNanos() - begin;
  const char *path = args.get("--output");
  return (!path || writeOutputs(path)) && report(path, nanos);
}

const Option kOptions[] = {
    {"--input", "NAME=FILE",
     "an input's array (.npy) or picture; NAME= may be left out if there is "
     "one input; a .npz gives all by name"},
    {"--output", "FILE.npz",
     "where the outputs go, under the model's names (default: print them)"},
    PARE_SESSION_OPTIONS,
    {"--probe", "FILE.npz", nullptr},
    {"--sequences", "N", nullptr}, // of a language model
    {"--json", nullptr, "print names, types, shapes and time as JSON"},
    PARE_COMMON_OPTIONS};

} // namespace

const Command pare::rt::kRunCommand = {
    "run",
    "--input NAME=FILE ... [--output FILE.npz]",
    "Runs the model on files.",
    kOptions,
    [](Writer &text, const Program &program) {
      const PareModel &model = program.model;
      text.put("./").put(program.name).put(" run");
      for (uint32_t i = 0; i < model.num_inputs; ++i)
        text.put(" --input ")
            .put(model.inputs[i].name)
            .put("=")
            .put(model.num_images && model.images[0].input == i ? "photo.png"
                                                                : "x.npy");
      text.put(" --output out.npz");
    },
    [](Program &program, const Args &args) {
      Run run(program, args);
      if (run.run())
        return 0;
      return run.session.error.empty() ? 1 : program.fail(run.session.error);
    }};
