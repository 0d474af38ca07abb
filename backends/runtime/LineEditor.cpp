#include "backends/runtime/LineEditor.h"

#include "backends/runtime/Output.h"

#include <asm/termbits.h>
#include <sys/ioctl.h>

using namespace pare::rt;

//===----------------------------------------------------------------------===//
// The terminal
//===----------------------------------------------------------------------===//

bool pare::rt::isTerminal(int fd) {
  struct termios settings;
  return ioctl(fd, TCGETS, &settings) == 0;
}

uint32_t pare::rt::terminalWidth() {
  struct winsize size;
  return ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

RawTerminal::RawTerminal() {
  struct termios settings;
  static_assert(sizeof(settings) <= sizeof(before));
  if (ioctl(0, TCGETS, &settings))
    return;
  memcpy(before, &settings, sizeof(settings));
  settings.c_iflag &= ~tcflag_t(ICRNL | INLCR | IXON);
  settings.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  changed = ioctl(0, TCSETSW, &settings) == 0;
}

RawTerminal::~RawTerminal() {
  if (changed)
    ioctl(0, TCSETSW, before);
}

//===----------------------------------------------------------------------===//
// History
//===----------------------------------------------------------------------===//

Str LineHistory::line(uint64_t index) const {
  Str rest = text.str();
  for (; index > 0; --index)
    rest = rest.drop(rest.find('\n') + 1);
  return rest.take(rest.find('\n'));
}

bool LineHistory::add(Str line) {
  constexpr uint64_t kMost = 500;
  if (line.size == 0 || (count && this->line(count - 1) == line))
    return true;
  if (count == kMost) {
    uint64_t first = text.str().find('\n') + 1;
    memmove(text.data, text.data + first, text.size - first);
    text.size -= first;
    --count;
  }
  if (!text.reserve(text.size + line.size + 1))
    return false;
  text.append(line.data, line.size);
  text.append("\n", 1);
  ++count;
  return true;
}

void LineHistory::load(const char *path) {
  Bytes file;
  Message ignored;
  if (!readFile(path, file, ignored))
    return;
  for (Str rest = file.str(); rest.size;) {
    Str line = rest.take(rest.find('\n'));
    rest = rest.drop(min(line.size + 1, rest.size));
    bool isText = true;
    for (uint64_t i = 0; i < line.size; ++i)
      isText &= uint8_t(line.data[i]) >= ' ' && line.data[i] != 127;
    if (isText && !add(line))
      return;
  }
}

bool LineHistory::save(const char *path, Message &error) const {
  OutputFile file;
  return file.open(path, error, 0600) &&
         file.write(text.data, text.size, error) && file.commit(error);
}

//===----------------------------------------------------------------------===//
// Editing
//===----------------------------------------------------------------------===//

namespace {

bool continues(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/// The character at text[at], and the bytes it takes.
uint32_t characterAt(Str text, uint64_t at, uint64_t &size) {
  uint8_t lead = uint8_t(text.data[at]);
  uint32_t c = lead < 0x80   ? lead
               : lead < 0xe0 ? lead & 31u
               : lead < 0xf0 ? lead & 15u
                             : lead & 7u;
  size = 1;
  while (lead >= 0xc0 && size < 4 && at + size < text.size &&
         continues(uint8_t(text.data[at + size])))
    c = c << 6 | (uint8_t(text.data[at + size++]) & 63u);
  return c;
}

/// Columns of a character: 0 for those that combine with the one before, 2 for
/// wide ones (the blocks of Unicode's East Asian Width, roughly).
uint32_t widthOf(uint32_t c) {
  struct Range {
    uint32_t first, last;
  };
  static const Range none[] = {{0x300, 0x36f},   {0x1ab0, 0x1aff},
                               {0x200b, 0x200f}, {0x20d0, 0x20ff},
                               {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}};
  static const Range wide[] = {
      {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
      {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
      {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
      {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
  for (const Range &range : none)
    if (c >= range.first && c <= range.last)
      return 0;
  for (const Range &range : wide)
    if (c >= range.first && c <= range.last)
      return 2;
  return 1;
}

uint64_t columnsOf(Str text) {
  uint64_t columns = 0, size;
  for (uint64_t at = 0; at < text.size; at += size)
    columns += widthOf(characterAt(text, at, size));
  return columns;
}

} // namespace

void LineEditor::begin() {
  text.size = kept.size = 0;
  at = 0;
  shown = history.size();
  sequence = 0;
}

uint64_t LineEditor::before(uint64_t position) const {
  if (position == 0)
    return 0;
  do
    --position;
  while (position > 0 && continues(text.data[position]));
  return position;
}

uint64_t LineEditor::after(uint64_t position) const {
  if (position < text.size)
    do
      ++position;
    while (position < text.size && continues(text.data[position]));
  return position;
}

bool LineEditor::insert(uint8_t byte) {
  if (!text.resize(text.size + 1))
    return false;
  memmove(text.data + at + 1, text.data + at, text.size - 1 - at);
  text.data[at++] = byte;
  return true;
}

void LineEditor::erase(uint64_t begin, uint64_t end) {
  memmove(text.data + begin, text.data + end, text.size - end);
  text.size -= end - begin;
  at = begin;
}

bool LineEditor::replace(Str with) {
  if (!text.resize(with.size))
    return false;
  memcpy(text.data, with.data, with.size);
  at = text.size;
  return true;
}

bool LineEditor::recall(bool older) {
  if (older ? shown == 0 : shown == history.size())
    return true;
  if (shown == history.size()) {
    if (!kept.resize(text.size))
      return false;
    memcpy(kept.data, text.data, text.size);
  }
  shown = older ? shown - 1 : shown + 1;
  return replace(shown == history.size() ? kept.str() : history.line(shown));
}

/// The bytes after ESC: "[A", "[3~", "[1;5C", "OH".
bool LineEditor::escape(uint8_t byte) {
  if (sequence == 27) {
    sequence = byte == '[' || byte == 'O' ? byte : 0;
    parameter = 0;
    return true;
  }
  if ((byte >= '0' && byte <= '9') || byte == ';') {
    if (byte != ';')
      parameter = uint8_t(byte - '0');
    return true;
  }
  sequence = 0;
  switch (byte) {
  case 'A':
    return recall(/*older=*/true);
  case 'B':
    return recall(/*older=*/false);
  case 'C':
    at = after(at);
    break;
  case 'D':
    at = before(at);
    break;
  case 'H':
    at = 0;
    break;
  case 'F':
    at = text.size;
    break;
  case '~':
    if (parameter == 1 || parameter == 7)
      at = 0;
    else if (parameter == 4 || parameter == 8)
      at = text.size;
    else if (parameter == 3)
      erase(at, after(at));
    break;
  }
  return true;
}

bool LineEditor::feed(uint8_t byte, Event &event) {
  event = None;
  if (sequence)
    return escape(byte);
  auto control = [](char letter) { return uint8_t(letter - '@'); };
  if (byte == control('C')) {
    event = Interrupt;
  } else if (byte == control('D')) {
    if (text.size == 0)
      event = End;
    else if (at < text.size)
      erase(at, after(at));
  } else if (byte == '\r' || byte == '\n') {
    event = Enter;
  } else if (byte == 27) {
    sequence = byte;
  } else if (byte == 127 || byte == control('H')) {
    erase(before(at), at);
  } else if (byte == control('A')) {
    at = 0;
  } else if (byte == control('E')) {
    at = text.size;
  } else if (byte == control('B')) {
    at = before(at);
  } else if (byte == control('F')) {
    at = after(at);
  } else if (byte == control('P')) {
    return recall(/*older=*/true);
  } else if (byte == control('N')) {
    return recall(/*older=*/false);
  } else if (byte == control('K')) {
    text.size = at;
  } else if (byte == control('U')) {
    erase(0, at);
  } else if (byte == control('W')) {
    uint64_t begin = at;
    while (begin > 0 && text.data[begin - 1] == ' ')
      --begin;
    while (begin > 0 && text.data[begin - 1] != ' ')
      --begin;
    erase(begin, at);
  } else if (byte == '\t' || byte >= ' ') {
    return insert(byte == '\t' ? uint8_t(' ') : byte);
  }
  return true;
}

void LineEditor::draw(Writer &out, Str prompt, uint32_t width) const {
  uint64_t promptColumns = columnsOf(prompt);
  uint64_t room = width > promptColumns + 8 ? width - promptColumns - 1 : 8;
  // The first character that leaves the cursor on the row.
  uint64_t first = 0, size;
  uint64_t cursorColumn = columnsOf(text.str().take(at));
  while (cursorColumn > room) {
    cursorColumn -= widthOf(characterAt(text.str(), first, size));
    first += size;
  }
  uint64_t last = first, columns = 0;
  while (last < text.size) {
    uint32_t wide = widthOf(characterAt(text.str(), last, size));
    if (columns + wide > room)
      break;
    columns += wide;
    last += size;
  }
  out.put('\r').put(prompt).put(text.str().take(last).drop(first));
  out.put("\x1b[K\r");
  if (uint64_t column = promptColumns + cursorColumn)
    out.put("\x1b[").unsignedNum(column).put('C');
}
