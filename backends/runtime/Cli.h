//===- Cli.h - The command line of an artifact ------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_CLI_H
#define PARE_BACKENDS_RUNTIME_CLI_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// The running program: messages and errors go to standard error under its
/// name, results to standard output.
struct Program {
  const PareModel &model;
  const char *name; ///< argv[0] without folders
  bool quiet = false;

  /// Prints one error line; returns the exit code 1.
  int fail(const char *message) const;
  int fail(const Message &message) const { return fail(message.c_str()); }
  /// Prints one line unless --quiet.
  void say(const char *message) const;
};

struct Option {
  const char *name;  ///< "--threads"
  const char *value; ///< what it takes, "N"; null: a switch
  const char *help;  ///< null: not listed
};

struct Command {
  const char *name, *arguments, *summary;
  const Option *options; ///< ends with a null name
  void (*example)(Writer &, const Program &);
  int (*run)(Program &, const struct Args &);
  bool takesTexts = false;       ///< arguments that are no options
  const char *details = nullptr; ///< paragraphs below the options, or none
};

/// The arguments of one command, checked against its options.
struct Args {
  struct Item {
    const Option *option; ///< null: positional
    const char *value;
  };
  Item *items = nullptr;
  uint32_t count = 0;
  const Command *command = nullptr;

  Args() = default;
  Args(const Args &) = delete;
  Args &operator=(const Args &) = delete;
  ~Args();

  bool parse(const Command &command, int argc, char **argv, Message &error);
  /// The last value given for an option; null if it was not given. A switch
  /// that was given has the value "".
  const char *get(Str option) const;
  bool has(Str option) const { return get(option) != nullptr; }
  /// The number given for an option, in [lowest, 10^9]; `value` is kept where
  /// it was not given.
  bool number(Str option, int64_t lowest, int64_t &value, Message &error) const;
};

/// A buffered standard output; finish() once at the end of a command.
class StandardOutput {
public:
  StandardOutput() : writer(1, buffer, sizeof(buffer)) {}
  Writer &text() { return writer; }
  /// The exit code: 1 with a line on standard error if a write failed.
  int finish(const Program &program);

private:
  char buffer[8192];
  Writer writer;
};

/// Options that every command has.
#define PARE_COMMON_OPTIONS                                                    \
  {"--quiet", nullptr, "no messages on standard error but errors"},            \
      {"--help", nullptr, "this text"}, {                                      \
    nullptr, nullptr, nullptr                                                  \
  }

extern const Command kInfoCommand, kRunCommand, kBenchCommand;

/// Parses and runs one command; `argv` starts behind the command's name.
int runCommand(Program &program, const Command &command, int argc, char **argv);

} // namespace pare::rt

#endif
