#include "backends/runtime/LineEditor.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

using namespace pare::rt;

namespace {

const std::string up = "\x1b[A", down = "\x1b[B", right = "\x1b[C",
                  left = "\x1b[D", home = "\x1b[H", end = "\x1b[F";
std::string control(char letter) { return std::string(1, char(letter - '@')); }

struct Typist {
  LineHistory history;
  LineEditor editor{history};
  LineEditor::Event event = LineEditor::None;

  Typist() { editor.begin(); }
  /// The line after `keys`, with `|` at the cursor.
  std::string type(const std::string &keys) {
    for (char key : keys) {
      EXPECT_TRUE(editor.feed(uint8_t(key), event));
      if (event != LineEditor::None)
        break;
    }
    std::string line(editor.line().data, editor.line().size);
    return line.insert(editor.cursor(), "|");
  }
  std::string drawn(uint32_t width) {
    char buffer[1000];
    Writer out(-1, buffer, sizeof(buffer));
    editor.draw(out, "> ", width);
    return buffer;
  }
};

} // namespace

TEST(LineEditor, MovesAndErases) {
  Typist t;
  EXPECT_EQ(t.type("hello world"), "hello world|");
  EXPECT_EQ(t.type(left + left), "hello wor|ld");
  EXPECT_EQ(t.type("\x7f"), "hello wo|ld");
  EXPECT_EQ(t.type("\x1b[3~"), "hello wo|d");
  EXPECT_EQ(t.type(home + "x"), "x|hello wod");
  EXPECT_EQ(t.type("\x1b[4~y"), "xhello wody|");
  EXPECT_EQ(t.type("\x1b[1~" + right), "x|hello wody");
  EXPECT_EQ(t.type("\x1bOF"), "xhello wody|");
  EXPECT_EQ(t.type("\x1bOH"), "|xhello wody");
  EXPECT_EQ(t.type(control('E')), "xhello wody|");
  EXPECT_EQ(t.type(control('W')), "xhello |");
  EXPECT_EQ(t.type(control('W')), "|");
  EXPECT_EQ(t.type("a b  c" + control('A')), "|a b  c");
  EXPECT_EQ(t.type(control('F') + control('K')), "a|");
  EXPECT_EQ(t.type("bc" + left + control('U')), "|c");
  EXPECT_EQ(t.type(control('B') + control('H')), "|c");
  EXPECT_EQ(t.type(control('D')), "|");
  EXPECT_EQ(t.event, LineEditor::None);
  t.type(control('D'));
  EXPECT_EQ(t.event, LineEditor::End);
  // Keys that mean nothing here.
  EXPECT_EQ(t.type("q\x1b[1;5C\x1b[15~\x1bz\x01"), "|q");
}

TEST(LineEditor, WholeCharacters) {
  Typist t;
  EXPECT_EQ(t.type("aé日🙂"), "aé日🙂|");
  EXPECT_EQ(t.type(left + left), "aé|日🙂");
  EXPECT_EQ(t.type("\x7f"), "a|日🙂");
  EXPECT_EQ(t.type("\x1b[3~"), "a|🙂");
  EXPECT_EQ(t.type("ü" + right), "aü🙂|");
  // Columns: a 1, ü 1, 🙂 2.
  EXPECT_EQ(t.drawn(80), "\r> aü🙂\x1b[K\r\x1b[6C");
  EXPECT_EQ(t.type(left + "e\u0301"), "aüe\u0301|🙂");
  EXPECT_EQ(t.drawn(80), "\r> aüe\u0301🙂\x1b[K\r\x1b[5C");
}

TEST(LineEditor, LongLinesScroll) {
  Typist t;
  t.type("0123456789abcdef");
  EXPECT_EQ(t.drawn(13), "\r> 6789abcdef\x1b[K\r\x1b[12C");
  t.type(home);
  EXPECT_EQ(t.drawn(13), "\r> 0123456789\x1b[K\r\x1b[2C");
}

TEST(LineEditor, History) {
  Typist t;
  for (const char *line : {"one", "two", "two", "three"})
    t.history.add(line);
  EXPECT_EQ(t.history.size(), 3u);
  t.editor.begin();
  EXPECT_EQ(t.type("now"), "now|");
  EXPECT_EQ(t.type(up), "three|");
  EXPECT_EQ(t.type(up + up), "one|");
  EXPECT_EQ(t.type(up), "one|");
  EXPECT_EQ(t.type(control('N') + "!"), "two!|");
  EXPECT_EQ(t.type(down + down + down), "now|");
  EXPECT_EQ(t.type(control('P')), "three|");
  t.type("\r");
  EXPECT_EQ(t.event, LineEditor::Enter);
  t.type(control('C'));
  EXPECT_EQ(t.event, LineEditor::Interrupt);
  for (int i = 0; i < 600; ++i)
    t.history.add(std::to_string(i).c_str());
  EXPECT_EQ(t.history.size(), 500u);
  EXPECT_TRUE(t.history.line(0) == "100");
  EXPECT_TRUE(t.history.line(499) == "599");
}

TEST(LineEditor, HistoryFile) {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("pare-history-" + std::to_string(getpid())))
                         .string();
  LineHistory none;
  none.load(path.c_str());
  EXPECT_EQ(none.size(), 0u);
  LineHistory saved;
  saved.add("grüße");
  saved.add("two words");
  Message error;
  ASSERT_TRUE(saved.save(path.c_str(), error)) << error.c_str();
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms(0600));
  std::ofstream(path, std::ios::app) << "esc\x1b[A\n\nlast";
  LineHistory loaded;
  loaded.load(path.c_str());
  ASSERT_EQ(loaded.size(), 3u);
  EXPECT_TRUE(loaded.line(0) == "grüße");
  EXPECT_TRUE(loaded.line(2) == "last");
  EXPECT_FALSE(saved.save("/none/here", error));
  std::filesystem::remove(path);
}
