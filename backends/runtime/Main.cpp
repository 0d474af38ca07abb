//===- Main.cpp - The program around a model ------------------------------===//
#include "backends/runtime/Cli.h"

#include "backends/runtime/Context.h"
#include "backends/runtime/Cpu.h"
#include "backends/runtime/Modules.h"

using namespace pare::rt;

static const Command *findCommand(Str name) {
  static const Command *const commands[] = {&kInfoCommand, &kRunCommand,
                                            &kBenchCommand};
  if (&pare_module_decoder && pare_model.decoder)
    for (const Command *command : pare_module_decoder.commands)
      if (name == command->name)
        return command;
  for (const Command *command : commands)
    if (name == command->name)
      return command;
  if (&pare_module_embed && pare_model.encoder &&
      name == pare_module_embed.command->name)
    return pare_module_embed.command;
  return nullptr;
}

static int printUsage(Program &program) {
  StandardOutput out;
  Writer &text = out.text();
  text.put("usage: ").put(program.name).put(" COMMAND [options]\n\n");
  text.put(program.model.name).put(", compiled by pare for ");
  text.put(program.model.target).put(".\n\n");
  static const char *const names[] = {
      "generate", "chat", "perplexity", "embed", "run", "bench", "info"};
  for (const char *name : names)
    if (const Command *command = findCommand(name)) {
      uint64_t from = text.column();
      text.put("  ").put(name).pad(from, 14).put(command->summary).put('\n');
    }
  text.put("\n  COMMAND --help   options and an example\n"
           "  --version        version of the runtime\n");
  return out.finish(program);
}

int main(int argc, char **argv) {
  const char *name = argc ? argv[0] : "model";
  for (const char *at = name; *at; ++at)
    if (*at == '/')
      name = at + 1;
  Program program{pare_model, name};

  Str first = argc > 1 ? argv[1] : "--help";
  if (first == "help" && argc > 2) {
    if (const Command *command = findCommand(argv[2])) {
      char help[] = "--help";
      char *arguments[] = {help};
      return runCommand(program, *command, 1, arguments);
    }
    first = argv[2];
  } else if (first == "help" || first == "--help" || first == "-h") {
    return printUsage(program);
  } else if (first == "--version") {
    StandardOutput out;
    out.text().put("pare runtime " PARE_VERSION "\n");
    return out.finish(program);
  }
  const Command *command = findCommand(first);
  Message error;
  if (!command) {
    error.start().put("unknown command '").put(first).put("'; see --help");
    return program.fail(error);
  }
  // Even the shape function may use the target's instructions.
  bool wantsHelp =
      argc > 2 && (Str(argv[2]) == "--help" || Str(argv[2]) == "-h");
  if (const char *feature = missingFeature(pare_model.features, cpuFeatures());
      feature && !wantsHelp) {
    putMissingFeature(error.start(), pare_model, feature);
    return program.fail(error);
  }
  return runCommand(program, *command, argc - 2, argv + 2);
}
