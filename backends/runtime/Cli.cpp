#include "backends/runtime/Cli.h"

#include <errno.h>
#include <stdlib.h>

using namespace pare::rt;

static void putLine(const Program &program, const char *prefix,
                    const char *message) {
  char buffer[1024];
  Writer text(2, buffer, sizeof(buffer));
  text.put(program.name).put(prefix).put(message).put('\n').flush();
}

int Program::fail(const char *message) const {
  putLine(*this, ": error: ", message);
  return 1;
}

void Program::say(const char *message) const {
  if (!quiet)
    putLine(*this, ": ", message);
}

Args::~Args() { free(items); }

bool Args::parse(const Command &spec, int argc, char **argv, Message &error) {
  command = &spec;
  items = static_cast<Item *>(calloc(size_t(argc) + 1, sizeof(Item)));
  if (!items) {
    error.start().put("out of memory");
    return false;
  }
  bool onlyPositional = false;
  for (int i = 0; i < argc; ++i) {
    Str argument = argv[i];
    if (onlyPositional || !argument.startsWith("-") || argument == "-") {
      if (!spec.takesTexts) {
        error.start()
            .put("unexpected argument '")
            .put(argument)
            .put("'; see ")
            .put(spec.name)
            .put(" --help");
        return false;
      }
      items[count++] = {nullptr, argv[i]};
      continue;
    }
    if (argument == "--") {
      onlyPositional = true;
      continue;
    }
    uint64_t equals = argument.find('=');
    Str name(argument.data, equals);
    if (name == "-h")
      name = "--help";
    const Option *option = spec.options;
    while (option->name && !(name == option->name))
      ++option;
    if (!option->name) {
      error.start()
          .put("unknown option '")
          .put(name)
          .put("'; see ")
          .put(spec.name)
          .put(" --help");
      return false;
    }
    const char *value = "";
    if (option->value) {
      if (equals < argument.size)
        value = argv[i] + equals + 1;
      else if (i + 1 < argc)
        value = argv[++i];
      else {
        error.start()
            .put(option->name)
            .put(" needs a value: ")
            .put(option->value);
        return false;
      }
    } else if (equals < argument.size) {
      error.start().put(option->name).put(" takes no value");
      return false;
    }
    items[count++] = {option, value};
  }
  return true;
}

const char *Args::get(Str name) const {
  for (uint32_t i = count; i-- > 0;)
    if (items[i].option && name == items[i].option->name)
      return items[i].value;
  return nullptr;
}

bool Args::number(Str name, int64_t lowest, int64_t &value,
                  Message &error) const {
  const char *text = get(name);
  if (!text)
    return true;
  int64_t parsed;
  if (!parseInt(text, parsed) || parsed < lowest || parsed > 1000000000) {
    error.start()
        .put(name)
        .put(" is '")
        .put(text)
        .put("', expected a whole number from ")
        .num(lowest);
    return false;
  }
  value = parsed;
  return true;
}

int StandardOutput::finish(const Program &program) {
  if (writer.flush())
    return 0;
  Message error;
  error.start().put("cannot write to standard output: ").put(errnoText(errno));
  return program.fail(error);
}

static int printHelp(Program &program, const Command &command) {
  StandardOutput out;
  Writer &text = out.text();
  text.put("usage: ").put(program.name).put(' ').put(command.name);
  text.put(' ').put(command.arguments).put("\n\n").put(command.summary);
  text.put("\n\n");
  for (const Option *option = command.options; option->name; ++option) {
    if (!option->help)
      continue;
    uint64_t from = text.column();
    text.put("  ").put(option->name);
    if (option->value)
      text.put(' ').put(option->value);
    text.put(' ').pad(from, 24).put(option->help).put('\n');
  }
  if (command.details)
    text.put('\n').put(command.details).put('\n');
  text.put("\nexample:\n  ");
  command.example(text, program);
  text.put('\n');
  return out.finish(program);
}

int pare::rt::runCommand(Program &program, const Command &command, int argc,
                         char **argv) {
  Args args;
  Message error;
  if (!args.parse(command, argc, argv, error))
    return program.fail(error);
  if (args.has("--help"))
    return printHelp(program, command);
  program.quiet = args.has("--quiet");
  return command.run(program, args);
}
