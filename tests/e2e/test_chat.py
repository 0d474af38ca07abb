"""Prompts of conversations, against Jinja in the environment of `transformers`."""

import json
from pathlib import Path

import pytest
from chat_conversations import conversations
from chat_oracle import compare, renderer
from chat_snippets import VARIABLES, snippets
from gguf import GGUFReader
from oracle import artifact
from oracle.language_models import SMOLLM2
from oracle.models import BUILD

TOOL = BUILD / "tests" / "unit" / "chat" / "pare-chat"
TEMPLATES = sorted((Path(__file__).parents[1] / "data" / "chat").glob("*.jinja"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_families(path):
    equal, _, different = compare(TOOL, path, list(conversations()))
    assert equal and not different, "".join(different)


@pytest.fixture(scope="module")
def smollm2_template(tmp_path_factory):
    field = GGUFReader(SMOLLM2).fields["tokenizer.chat_template"]
    path = tmp_path_factory.mktemp("smollm2") / "smollm2.jinja"
    path.write_bytes(bytes(field.parts[field.data[0]]))
    return path


def test_template_of_smollm2(smollm2_template):
    equal, _, different = compare(TOOL, smollm2_template, list(conversations()))
    assert equal and not different, "".join(different)


def test_artifact_chats_by_its_template(smollm2_template, tmp_path):
    program = artifact.compile(SMOLLM2, tmp_path / "smollm2")
    render = renderer(smollm2_template.read_text())

    def generate(*arguments):
        run = artifact.call(program, "generate", "--json", "--temperature", 0, "--max-tokens", 8, *arguments)
        answer = json.loads(run.stdout)
        return answer["text"], answer["prompt_tokens"]

    for system in (None, "You are a pirate."):
        messages = [{"role": "user", "content": "Name \"one\" colour,\nplease: é"}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        prompt = render({"messages": messages, "variables": {}, "add_generation_prompt": True})
        flags = ["--chat"] + (["--system", system] if system else [])
        assert generate(*flags, messages[-1]["content"]) == generate(prompt)


@pytest.mark.parametrize("text", list(snippets()))
def test_constructs(text, tmp_path):
    path = tmp_path / "snippet.jinja"
    path.write_text(text)
    request = {"name": text, "messages": [], "variables": VARIABLES, "add_generation_prompt": False}
    _, _, different = compare(TOOL, path, [request])
    assert not different, "".join(different)
