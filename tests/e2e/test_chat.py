"""Prompts of conversations, against Jinja in the environment of `transformers`."""

import json
from pathlib import Path

import pytest
from chat_conversations import conversations
from chat_oracle import compare, renderer
from chat_snippets import VARIABLES, snippets
from gguf import GGUFReader
from oracle import artifact, decoders
from oracle.language_models import SMOLLM2
from oracle.models import BUILD

TOOL = BUILD / "tests" / "unit" / "chat" / "pare-chat"
TEMPLATES = sorted((Path(__file__).parents[1] / "data" / "chat").glob("*.jinja"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_families(path):
    equal, _, different = compare(TOOL, path, list(conversations()))
    assert equal and not different, "".join(different)


def add_tokenizer(folder, template):
    """One token per byte of ASCII, and a chat template."""
    vocabulary = {chr(33 + i): i for i in range(94)} | {"Ġ": 94, "Ċ": 95}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))


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


def test_variables_and_tools_reach_the_template(tmp_path):
    template = "{{ messages[0].content }} {{ mood }} {{ deep.er[1] }} {{ tools[0].name if tools else 'none' }}"
    folder = tmp_path / "model"
    folder.mkdir()
    decoders.make("llama", folder, [1])
    add_tokenizer(folder, template)
    program = artifact.compile(folder, tmp_path / "program")
    (tmp_path / "tools.json").write_text('[{"name": "hammer"}]')

    def count(*flags):
        """Tokens of the prompt: bytes of its text."""
        done = artifact.call(program, "generate", "--chat", "ab", "--json", "--max-tokens", "1", *flags)
        return json.loads(done.stdout)["prompt_tokens"]

    given = ("--var", 'mood="calm"', "--var", 'deep={"er": [1, 23]}')
    assert count(*given) == len("ab calm 23 none")
    assert count(*given, "--tools", tmp_path / "tools.json") == len("ab calm 23 hammer")
    chat = artifact.call(program, "chat", *given, "--tools", tmp_path / "tools.json", "--max-tokens", "1", "--stats")
    assert chat.returncode == 0
    for flags, message in [
        (("--var", "mood"), "--var is 'mood', expected NAME=JSON"),
        (("--var", "mood=calm"), "--var is 'mood=calm', expected JSON behind the = (texts with their quotes)"),
        (("--tools", tmp_path / "absent"), "absent"),
    ]:
        done = artifact.call(program, "generate", "--chat", "ab", *flags, check=False)
        assert done.returncode == 1 and message in done.stderr
    done = artifact.call(program, "generate", "ab", *given, check=False)
    assert done.returncode == 1 and "--var needs --chat" in done.stderr


@pytest.mark.parametrize("text", list(snippets()))
def test_constructs(text, tmp_path):
    path = tmp_path / "snippet.jinja"
    path.write_text(text)
    request = {"name": text, "messages": [], "variables": VARIABLES, "add_generation_prompt": False}
    _, _, different = compare(TOOL, path, [request])
    assert not different, "".join(different)
