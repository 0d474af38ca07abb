//===- ChatTest.cpp - Templates that are damaged or never end -------------===//
//
// What good templates give is compared with Jinja in tests/e2e/test_chat.py.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/Chat.h"
#include "frontend/chat/Template.h"

#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace pare;

namespace {

std::vector<uint8_t> compiled(llvm::StringRef source) {
  auto table = chat::compileTemplate(source, "t.jinja");
  if (table)
    return *table;
  ADD_FAILURE() << llvm::toString(table.takeError());
  return {};
}

std::string compileError(llvm::StringRef source) {
  auto table = chat::compileTemplate(source, "t.jinja");
  return table ? "" : llvm::toString(table.takeError());
}

/// The prompt, or the error behind "error: ".
std::string render(const std::vector<uint8_t> &table,
                   const char *messages = "[]", const char *tools = "",
                   const char *variables = "") {
  rt::ChatTemplate chat;
  if (!chat.open(table.data(), table.size()))
    return "not open";
  rt::ChatInput input;
  input.messages = messages;
  input.tools = tools;
  input.variables = variables;
  rt::Bytes out;
  rt::Message error;
  if (!chat.render(input, out, error))
    return std::string("error: ") + error.c_str();
  return {out.str().data, out.size};
}

std::string renderSource(llvm::StringRef source) {
  return render(compiled(source));
}

const char sample[] =
    "{% macro m(a, b=2) %}{{ a ~ b }}{% endmacro %}"
    "{% set ns = namespace(n=0) %}{% for m_ in messages if m_.role != 'x' %}"
    "{% set ns.n = ns.n + 1 %}{{ loop.index }}{{ m_.content | trim | upper }}"
    "{% if m_.content[1:] in 'abc' and 1 < 2 < 3 %}{{ m(1, b=m_) }}{% endif %}"
    "{{ (tools or []) | map(attribute='name') | join(',') }}"
    "{% endfor %}{% set x %}{{ messages | tojson(indent=2) }}{% endset %}"
    "{{ x.split('\\n')[::-1] }}{{ ns.n }}";
const char messages[] = R"([{"role": "user", "content": " hi "},
  {"role": "x", "content": "no"}, {"role": "assistant", "content": "\u00e9!"}])";

} // namespace

TEST(Chat, Renders) {
  EXPECT_EQ(
      render(compiled("{{ messages[0].content }}|{{ tools[0].a }}|{{ v }}"),
             R"([{"content": "\ud83d\ude00"}])", R"([{"a": 1.50}])",
             R"({"v": [null, true]})"),
      "\xf0\x9f\x98\x80|1.5|[None, True]");
}

TEST(Chat, VariablesOfTheModelGoFirst) {
  auto table = chat::compileTemplate(
      "{{ bos_token }}{{ eos_token }}{% set bos_token = 2 %}{{ bos_token }}",
      "t.jinja", {{"bos_token", "<s>"}});
  ASSERT_TRUE(bool(table));
  EXPECT_EQ(render(*table, "[]", "", R"({"bos_token": 1, "eos_token": "e"})"),
            "<s>e2");
}

TEST(Chat, EqualTemplatesGiveEqualBytes) {
  EXPECT_EQ(compiled(sample), compiled(sample));
}

TEST(Chat, ErrorsOfTemplatesListWhatIsUnknown) {
  EXPECT_EQ(compileError("{{ a | foo }}\n{% bar %}{% endbar %}\n"
                         "{{ a is baz }}{{ a | foo }}{{ a.qux() }}"
                         "{{ a | map('quux') }}"),
            "t.jinja: chat template: not supported: filter 'foo' (line 1), "
            "tag 'bar' (line 2), test 'baz' (line 3), filter 'foo' (line 3), "
            "method 'qux' (line 3), filter 'quux' (line 3)");
  EXPECT_EQ(compileError("a\n{% if x %}b"),
            "t.jinja: chat template: line 2: 'endif' is missing");
  EXPECT_EQ(compileError("{% break %}"),
            "t.jinja: chat template: line 1: break and continue need a loop "
            "around them");
  EXPECT_EQ(compileError("{{ 99999999999999999999 }}"),
            "t.jinja: chat template: line 1: the number "
            "'99999999999999999999' is too large");
}

TEST(Chat, DeepTemplatesAreRefused) {
  for (const char *open :
       {"{{ (", "{{ [", "{{ not ", "{{ -", "{{ a if b else ", "{% if a %}",
        "{{ a[", "{{ {1:", "{% for (", "{{ a|b(", "{{ f("}) {
    std::string source = open;
    for (int i = 0; i < 20000; ++i)
      source += source.substr(3, std::strlen(open) - 3);
    EXPECT_NE(compileError(source), "") << open;
  }
  std::string chain = "{{ 1";
  for (int i = 0; i < 20000; ++i)
    chain += " + 1";
  EXPECT_NE(compileError(chain + " }}"), "");
}

TEST(Chat, TemplatesThatNeverEndAreStopped) {
  const std::string never = " does not come to an end";
  const char *const loops =
      "{% for a in range(99999) %}{% for b in range(99999) %}"
      "{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
  EXPECT_EQ(renderSource(loops), "error: chat template, line 1:" + never);
  EXPECT_EQ(renderSource("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
            "error: chat template, line 1: macros call each other too deeply");
  EXPECT_EQ(renderSource("{% set s = 'x' * 99999 %}{% for a in range(99999) %}"
                         "{{ s }}{% endfor %}"),
            "error: chat template, line 1: the text is too long");
  EXPECT_EQ(renderSource("{% set ns = namespace(s='xxxxxxxx') %}\n"
                         "{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}"
                         "{% endfor %}"),
            "error: chat template, line 2: the text is too long");
  EXPECT_EQ(renderSource("{% set ns = namespace(l=[1]) %}"
                         "{% for a in range(99) %}{% set ns.l = ns.l + ns.l %}"
                         "{% endfor %}"),
            "error: chat template, line 1: needs too much memory");
  EXPECT_EQ(renderSource("{% set ns = namespace(l=[1]) %}"
                         "{% for a in range(999) %}{% set ns.l = [ns.l] %}"
                         "{% endfor %}{{ ns.l }}"),
            "error: chat template, line 1: values are nested too deeply");
}

TEST(Chat, ErrorsOfRenderingAreOneLine) {
  EXPECT_EQ(renderSource("a\n{{ raise_exception('no\nway') }}"),
            "error: chat template, line 2: no way");
  EXPECT_EQ(render(compiled("x"), "{}"),
            "error: messages are not a list of objects");
  EXPECT_EQ(render(compiled("x"), "[1]"),
            "error: messages are not a list of objects");
  EXPECT_EQ(render(compiled("x"), "[{]"),
            "error: messages: JSON, byte 2: expected a key in quotes");
  EXPECT_EQ(render(compiled("x"), "[]", "1"), "error: tools are not a list");
  EXPECT_EQ(render(compiled("x"), "[]", "", "[]"),
            "error: template variables are not an object");
}

TEST(Chat, MessagesCannotReplaceWhatTheCallerSays) {
  EXPECT_EQ(render(compiled("{{ messages | length }}"), "[]", "",
                   R"({"messages": [1, 2]})"),
            "0");
}

TEST(Chat, CutTablesDoNotOpen) {
  const std::vector<uint8_t> table = compiled(sample);
  rt::ChatTemplate chat;
  for (size_t n = 0; n < table.size(); ++n)
    EXPECT_FALSE(chat.open(table.data(), n));
  EXPECT_TRUE(chat.open(table.data(), table.size()));
}

TEST(Chat, DamagedTablesAreSafe) {
  const std::vector<uint8_t> table = compiled(sample);
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    std::vector<uint8_t> damaged = table;
    for (unsigned k = 0; k <= random() % 3; ++k)
      damaged[random() % damaged.size()] ^= uint8_t(1u << random() % 8);
    EXPECT_NE(render(damaged, messages), "error: ");
  }
}
