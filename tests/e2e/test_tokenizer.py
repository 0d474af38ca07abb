"""Token ids, against the `tokenizers` library."""

import subprocess
import sys
from pathlib import Path

from oracle.models import BUILD

TOOL = BUILD / "tests" / "unit" / "tokenizer" / "pare-tokenize"


def test_ids_equal_the_library():
    script = Path(__file__).with_name("tokenizer_oracle.py")
    run = subprocess.run([sys.executable, script, TOOL], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_families_equal_the_libraries():
    script = Path(__file__).with_name("tokenizer_families_oracle.py")
    run = subprocess.run([sys.executable, script, TOOL, "--every", "10"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
