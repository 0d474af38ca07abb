"""Speed of language models: pare, llama.cpp and OpenVINO GenAI on the same GGUF
file, side by side.

    tools/bench-decoders --models smollm2,gemma3 --threads 1,2 --rounds 3

A round reads a prompt of about 512 tokens, then generates 128, without
sampling; figures are tokens per second, medians of rounds in turns. pare's
weights are mapped (`map`), or copied once into huge pages (`huge`).
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from oracle import artifact, language_models  # noqa: E402
from oracle.models import BUILD  # noqa: E402

FOLDER = BUILD / "peers"
MODELS = {"smollm2": lambda: language_models.SMOLLM2, "gemma3": language_models.gemma3}
CONTENDERS = ("pare map", "pare huge", "llama.cpp", "openvino")
GENERATED = 128


def prompt(turn):
    """Some 512 tokens of prose, another text in each turn."""
    words = Path(__file__).parents[2].joinpath("docs", "design.md").read_text().split()
    return " ".join(words[turn : turn + 330])


def llama_cpp(path, threads):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 1024
    params.n_parallel = 1
    params.verbosity = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)

    def step(turn):
        answer = server.handle_completions({
            "prompt": prompt(turn), "n_predict": GENERATED, "temperature": 0,
            "cache_prompt": False, "ignore_eos": True})
        return answer["timings"]["prompt_per_second"], answer["timings"]["predicted_per_second"]

    return step


def openvino(path, threads):
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(str(path), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False})
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = GENERATED
    config.ignore_eos = True
    config.do_sample = False
    config.apply_chat_template = False

    def step(turn):
        metrics = pipeline.generate([prompt(turn)], config).perf_metrics
        return 1e3 * metrics.get_num_input_tokens() / metrics.get_ttft().mean, metrics.get_throughput().mean

    return step


def pare(binary, threads, weights):
    def step(turn):
        result = json.loads(subprocess.run(
            [binary, "bench", "--json", "--quiet", "-p", "512", "-n", str(GENERATED), "-t", str(threads), "-r", "1",
             "--weights-memory", weights], check=True, capture_output=True, text=True).stdout)
        speeds = [test["tokens_per_s"] for test in result["tests"]]
        bandwidth = result["tests"][-1].get("of_read_bandwidth")
        return speeds[0], speeds[1], bandwidth

    return step


def serve(pipe, name, path, threads):
    """A contender in a process of its own, on its cores: one answer per turn."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    try:
        if name.startswith("pare"):
            step = pare(path, threads, name.split()[1])
        else:
            step = {"llama.cpp": llama_cpp, "openvino": openvino}[name](path, threads)
        pipe.send(None)
        while (turn := pipe.recv()) is not None:
            pipe.send(step(turn))
    except Exception as error:  # a peer that fails on a model is a result
        pipe.send(str(error).splitlines()[0])


def start(context, name, path, threads):
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, name, path, threads), daemon=True)
    process.start()
    theirs.close()
    try:
        failure = ours.recv()
    except EOFError:
        failure = "ended"
    if failure:
        print(f"{name}: {failure}", file=sys.stderr)
        return None
    return ours


def measure(context, path, binary, threads, rounds):
    """Medians by contender: prompt and generated tokens per second."""
    pipes = {name: start(context, name, str(binary if name.startswith("pare") else path), threads)
             for name in CONTENDERS}
    results = {name: [] for name, pipe in pipes.items() if pipe}
    for turn in range(rounds + 1):
        for name in list(results):
            try:
                pipes[name].send(turn)
                answer = pipes[name].recv()
            except (EOFError, BrokenPipeError):
                answer = "ended"
            if isinstance(answer, str):
                print(f"{name}: {answer}", file=sys.stderr)
                del results[name]
            elif turn:  # the first warms up
                results[name].append(answer)
    for pipe in pipes.values():
        if pipe:
            pipe.send(None)
    return {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="smollm2,gemma3", help=f"of {','.join(MODELS)}")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=FOLDER / "decoders.json")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    context, rows = multiprocessing.get_context("spawn"), []
    print(f"{'model':10}{'threads':>8}{'':>12}{'prompt/s':>10}{'generated/s':>12}{'of reads':>10}{'over llama.cpp':>16}")
    for name in args.models.split(","):
        path = MODELS[name]()
        binary = artifact.compile(path, FOLDER / name)
        for threads in map(int, args.threads.split(",")):
            result = measure(context, path, binary, threads, args.rounds)
            rows.append({"model": name, "threads": threads, "tokens_per_s": result})
            base = result.get("llama.cpp")
            for contender, (read, generated, *bandwidth) in result.items():
                share = f"{100 * bandwidth[0]:.0f}%" if bandwidth and bandwidth[0] else ""
                ratio = f"{read / base[0]:.2f} {generated / base[1]:.2f}" if base else ""
                print(f"{name:10}{threads:8}{contender:>12}{read:10.0f}{generated:12.1f}{share:>10}{ratio:>16}", flush=True)
    args.output.write_text(json.dumps({"rounds": args.rounds, "rows": rows}, indent=1))
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
