"""Prompts of pare-chat against those of `transformers` or, where that is not
installed, of Jinja itself in the environment that `transformers` makes.

usage: chat_oracle.py PARE_CHAT TEMPLATE…
"""

import json
import struct
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

from chat_conversations import conversations

NOW = 1753876543  # 2025-07-30 11:55:43 UTC


def _frozen_now(format):
    return datetime.fromtimestamp(NOW, timezone.utc).strftime(format)


def environment():
    """As transformers.utils.chat_template_utils has it."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

        def _render(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = _frozen_now
    return env


def alias_reasoning(message):
    names = ("reasoning_content", "thinking", "reasoning")
    reasoning = next((message[name] for name in names if message.get(name) is not None), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


def renderer(source):
    """A function from a conversation to its prompt."""
    try:
        from transformers.utils import chat_template_utils
    except ImportError:
        template = environment().from_string(source)

        def render(c):
            return template.render(
                messages=[alias_reasoning(m) for m in c["messages"]],
                tools=c.get("tools"),
                documents=None,
                add_generation_prompt=c["add_generation_prompt"],
                **c["variables"],
            )

    else:
        template = chat_template_utils._compile_jinja_template(source)
        template.globals["strftime_now"] = _frozen_now

        def render(c):
            return chat_template_utils.render_jinja_template(
                [c["messages"]],
                tools=c.get("tools"),
                chat_template=source,
                add_generation_prompt=c["add_generation_prompt"],
                **c["variables"],
            )[0][0]

    return render


def request(c):
    variables = dict(c["variables"])
    bos, eos = variables.pop("bos_token", None), variables.pop("eos_token", None)
    options = "p" * c["add_generation_prompt"] + "b" * (bos is not None) + "e" * (eos is not None) + str(NOW)
    texts = [
        json.dumps(c["messages"], ensure_ascii=False),
        json.dumps(c["tools"]) if c.get("tools") is not None else "",
        json.dumps(variables) if variables else "",
        bos or "",
        eos or "",
        options,
    ]
    return b"".join(struct.pack("<I", len(t)) + t for t in (text.encode() for text in texts))


def prompts(tool, path, requests):
    """What pare-chat gives for each conversation: a prompt, or None and why."""
    run = subprocess.run([tool, path], input=b"".join(map(request, requests)), capture_output=True)
    if run.returncode:
        return [(None, run.stderr.decode().strip())] * len(requests)
    output, answers = run.stdout, []
    for _ in requests:
        (size,) = struct.unpack_from("<I", output)
        text, output = output[4 : 4 + size].decode(), output[4 + size :]
        answers.append((None, text[1:]) if text.startswith("\0") else (text, ""))
    return answers


def compare(tool, path, requests):
    """How many prompts are equal, how many both refuse; the differences."""
    equal, refused, different = 0, 0, []
    answers = prompts(tool, path, requests)
    try:
        render = renderer(path.read_text())
    except Exception as error:  # a template that Jinja refuses
        cause = error

        def render(c):
            raise cause

    for c, (actual, why) in zip(requests, answers):
        try:
            expected = render(c)
        except Exception as error:  # whatever a template may raise
            expected, why = None, repr(error)
        if actual != expected:
            different.append(f"\n  {c['name']}:\n    expected {expected!r}\n    actual   {actual!r} {why}")
        elif actual is None:
            refused += 1
        else:
            equal += 1
        if "\n" in why and actual is None:
            different.append(f"\n  {c['name']}: more than one line of error: {why!r}")
    return equal, refused, different


if __name__ == "__main__":
    for name in sys.argv[2:]:
        equal, refused, different = compare(sys.argv[1], Path(name), list(conversations()))
        print(f"{name}: {equal} equal, {refused} refused by both, {len(different)} different", *different)
