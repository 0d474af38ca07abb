"""Prompts of conversations, against Jinja in the environment of `transformers`."""

from pathlib import Path

import pytest
from chat_conversations import conversations
from chat_oracle import compare
from chat_snippets import VARIABLES, snippets
from gguf import GGUFReader
from oracle.language_models import SMOLLM2
from oracle.models import BUILD

TOOL = BUILD / "tests" / "unit" / "chat" / "pare-chat"
TEMPLATES = sorted((Path(__file__).parents[1] / "data" / "chat").glob("*.jinja"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_families(path):
    equal, _, different = compare(TOOL, path, list(conversations()))
    assert equal and not different, "".join(different)


def test_template_of_smollm2(tmp_path):
    field = GGUFReader(SMOLLM2).fields["tokenizer.chat_template"]
    path = tmp_path / "smollm2.jinja"
    path.write_bytes(bytes(field.parts[field.data[0]]))
    equal, _, different = compare(TOOL, path, list(conversations()))
    assert equal and not different, "".join(different)


@pytest.mark.parametrize("text", list(snippets()))
def test_constructs(text, tmp_path):
    path = tmp_path / "snippet.jinja"
    path.write_text(text)
    request = {"name": text, "messages": [], "variables": VARIABLES, "add_generation_prompt": False}
    _, _, different = compare(TOOL, path, [request])
    assert not different, "".join(different)
