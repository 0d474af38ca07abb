"""Speed of language models: pare, llama.cpp, ik_llama.cpp and OpenVINO GenAI on
the same GGUF file, ONNX Runtime GenAI on what its builder makes of it (int4,
int8 activations; needs tools/setup --transformers), side by side.

    tools/bench-decoders --models smollm2,gemma3 --threads 1,2 --rounds 3

A round reads a prompt of about 512 tokens, then generates 128, without
sampling; figures are tokens per second, medians of rounds in turns. pare's
weights are mapped (`map`), or copied once into huge pages (`huge`).
ik_llama.cpp repacks weights as it loads them. Models named -q4_0 are the same
in the format that llama.cpp repacks, made by its tool.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from oracle import artifact, language_models  # noqa: E402
from oracle.models import BUILD  # noqa: E402

FOLDER = BUILD / "peers"
FILES = {"smollm2": lambda: language_models.SMOLLM2, "gemma3": language_models.gemma3}
MODELS = [*FILES, *(f"{name}-q4_0" for name in FILES)]
CONTENDERS = ("pare map", "pare huge", "llama.cpp", "ik_llama.cpp", "openvino", "onnxruntime")
GENERATED = 128


def find(name):
    """A model's file; Q4_0 is made once per build folder."""
    base, _, kind = name.partition("-")
    source, made = FILES[base](), FOLDER / f"{name}.gguf"
    if not kind:
        return source
    if not made.exists():
        import ik_llama_cpp

        partial = made.with_suffix(".partial")
        subprocess.run([ik_llama_cpp.find_quantize_bin(), "--allow-requantize", source, partial, kind], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        partial.rename(made)
    return made


def convert(path, folder):
    """ONNX Runtime GenAI's int4 form of a GGUF file, through transformers' f32 one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**source)
    # The weights are f32 now; transformers would not save what came from GGUF.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    floats = folder.with_suffix(".f32")
    model.save_pretrained(floats)
    AutoTokenizer.from_pretrained(**source).save_pretrained(floats)
    partial = folder.with_suffix(".partial")
    subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", floats, "-o", partial,
                    "-p", "int4", "-e", "cpu", "--extra_options", "int4_accuracy_level=4", "hf_token=false"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial.rename(folder)


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


def ik_llama_cpp(path, threads):
    from ik_llama_cpp import _ctypes_api as ik

    ik.llama_backend_init()
    params = ik.llama_model_default_params()
    params.repack_tensors, params.use_mmap = True, False
    model = ik.llama_model_load_from_file(path.encode(), params)
    params = ik.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 1024, 512, 512
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn = False  # fails on long prompts without VNNI
    context = ik.llama_init_from_model(model, params)
    batch = ik.llama_batch_init(512, 0, 1)

    def decode(tokens, first):
        """Seconds that the tokens of positions `first` on take, to the last one's logits."""
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, first + i, i + 1 == len(tokens)
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        start = time.perf_counter()
        if ik.llama_decode(context, batch) or not ik.llama_get_logits_ith(context, -1):
            raise RuntimeError("llama_decode failed")
        return time.perf_counter() - start

    def step(turn):
        ik.llama_kv_cache_clear(context)
        tokens = [100 + (37 * i + 11 * turn) % 20000 for i in range(512 + GENERATED)]
        read = decode(tokens[:512], 0)
        return 512 / read, GENERATED / sum(decode(tokens[i : i + 1], i) for i in range(512, len(tokens)))

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


def onnxruntime(path, threads):
    import onnxruntime_genai as genai

    folder = FOLDER / f"{Path(path).stem}.genai"
    if not folder.exists():
        convert(Path(path), folder)
    config = genai.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = genai.Model(config)
    tokenizer = genai.Tokenizer(model)

    def step(turn):
        params = genai.GeneratorParams(model)
        params.set_search_options(do_sample=False, min_length=1024, max_length=1024, batch_size=1)
        generator = genai.Generator(model, params)
        tokens = tokenizer.encode(prompt(turn))
        start = time.perf_counter()
        generator.append_tokens(tokens)
        generator.generate_next_token()
        read = time.perf_counter()
        for _ in range(GENERATED):
            generator.generate_next_token()
        return len(tokens) / (read - start), GENERATED / (time.perf_counter() - read)

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
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # peers log what they load
    try:
        if name.startswith("pare"):
            step = pare(path, threads, name.split()[1])
        else:
            step = {"llama.cpp": llama_cpp, "ik_llama.cpp": ik_llama_cpp, "openvino": openvino,
                    "onnxruntime": onnxruntime}[name](path, threads)
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
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {','.join(MODELS)}")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=FOLDER / "decoders.json")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    context, rows = multiprocessing.get_context("spawn"), []
    print(f"{'model':13}{'threads':>8}{'':>12}{'prompt/s':>10}{'generated/s':>12}{'of reads':>10}{'over llama.cpp':>16}")
    for name in args.models.split(","):
        path = find(name)
        binary = artifact.compile(path, FOLDER / name)
        for threads in map(int, args.threads.split(",")):
            result = measure(context, path, binary, threads, args.rounds)
            rows.append({"model": name, "threads": threads, "tokens_per_s": result})
            base = result.get("llama.cpp")
            for contender, (read, generated, *bandwidth) in result.items():
                share = f"{100 * bandwidth[0]:.0f}%" if bandwidth and bandwidth[0] else ""
                ratio = f"{read / base[0]:.2f} {generated / base[1]:.2f}" if base else ""
                print(f"{name:13}{threads:8}{contender:>12}{read:10.0f}{generated:12.1f}{share:>10}{ratio:>16}", flush=True)
    args.output.write_text(json.dumps({"rounds": args.rounds, "rows": rows}, indent=1))
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
