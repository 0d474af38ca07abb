"""Model → artifact → numbers, against oracles that nobody here wrote.

Artifacts are compiled once per session and set of flags.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle import artifact  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def pare():
    """Path of the compiler; nothing here can run without."""
    if not artifact.PARE.exists():
        pytest.skip(f"{artifact.PARE} is not built")
    return artifact.PARE


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """compiled(model, *flags): the artifact of a real model."""
    made, folder = {}, tmp_path_factory.mktemp("artifacts")

    def get(model, *flags):
        key = (model.name, *flags)
        if key not in made:
            made[key] = artifact.compile(model.source, folder / f"{model.name}-{len(made)}", *flags)
        return made[key]

    return get
