"""Commands and options that the README and docs/ show exist."""

import re
from pathlib import Path

from oracle import artifact, language_models
from oracle.models import MINILM

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(program):
    """Command lines of `program` in indented blocks, as (page, command, options)."""
    for page in PAGES:
        for line in re.findall(rf"^    {program} (.*)$", page.read_text(), re.M):
            command, *words = line.split("#")[0].split()
            yield page.name, command, sorted({w.split("=")[0] for w in words if re.match(r"--?\w", w)})


def check(program, lines):
    assert len(lines) > 3
    for page, command, options in lines:
        known = artifact.call(program, command, "--help").stdout
        for option in options:
            assert re.search(rf"^ +{option}\b", known, re.M), f"{page}: {command} {option}"


def test_commands_of_pare():
    check(artifact.PARE, list(shown("pare")))


def test_commands_of_artifacts(compiled):
    check(compiled(MINILM, "--quantize=int8"), list(shown(r"\./(?!smol)\w+")))


def test_commands_of_language_models(tmp_path):
    check(artifact.compile(language_models.SMOLLM2, tmp_path / "smol"), list(shown(r"\./smol")))
