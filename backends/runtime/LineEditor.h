//===- LineEditor.h - A line typed at a terminal ----------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_LINEEDITOR_H
#define PARE_BACKENDS_RUNTIME_LINEEDITOR_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// Is the file a terminal?
bool isTerminal(int fd);

/// Columns of the terminal, or 80.
uint32_t terminalWidth();

/// While one lives, the terminal on standard input gives every key as it is
/// pressed, Ctrl-C too.
class RawTerminal {
public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal &) = delete;
  RawTerminal &operator=(const RawTerminal &) = delete;

private:
  alignas(8) uint8_t before[64]; ///< the kernel's struct termios
  bool changed = false;
};

/// The lines before, oldest first.
class LineHistory {
public:
  LineHistory() = default;
  LineHistory(const LineHistory &) = delete;
  LineHistory &operator=(const LineHistory &) = delete;

  uint64_t size() const { return count; }
  Str line(uint64_t index) const;
  /// Appends a line unless it is the last one again; forgets the oldest beyond
  /// 500. False where memory is short.
  bool add(Str line);
  /// A file of lines; one that is not there is no history.
  void load(const char *path);
  bool save(const char *path, Message &error) const;

private:
  Bytes text; ///< each with a newline
  uint64_t count = 0;
};

/// Edits one line in UTF-8: arrows, Home, End, Delete, Backspace, Ctrl-A, -B,
/// -E, -F, -K, -L, -N, -P, -U, -W. Keys come in as the bytes that a terminal
/// sends; what the line looks like goes out as escape sequences. Long lines
/// scroll sideways.
class LineEditor {
public:
  enum Event {
    None,
    Enter,     ///< line() is whole
    Interrupt, ///< Ctrl-C
    End,       ///< Ctrl-D in an empty line
  };

  explicit LineEditor(const LineHistory &history) : history(history) {}

  /// Starts with an empty line.
  void begin();
  /// Takes one byte. False with nothing changed where memory is short.
  bool feed(uint8_t byte, Event &event);
  Str line() const { return text.str(); }
  uint64_t cursor() const { return at; }
  /// Draws the line after `prompt` on the terminal's current row.
  void draw(Writer &out, Str prompt, uint32_t width) const;

private:
  bool insert(uint8_t byte);
  void erase(uint64_t begin, uint64_t end);
  bool replace(Str with);
  bool recall(bool older);
  bool escape(uint8_t byte);
  uint64_t before(uint64_t position) const;
  uint64_t after(uint64_t position) const;

  const LineHistory &history;
  Bytes text, kept;   ///< the line, and the one typed before history was shown
  uint64_t at = 0;    ///< of the cursor, in bytes
  uint64_t shown = 0; ///< index in the history; its size: the line typed
  uint8_t sequence = 0; ///< 0, or how an escape sequence began
  uint8_t parameter = 0;
};

} // namespace pare::rt

#endif
