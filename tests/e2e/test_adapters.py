"""Adapters that PEFT saved: base and adapter → artifact → what the merged model says."""

import json
import shutil

import numpy as np
import pytest
from oracle import adapters, artifact, decoders, language_models, models
from safetensors.numpy import load_file, save_file
from test_chat import add_tokenizer
from test_decoder import feeds

TOKENS = np.random.default_rng(3).integers(0, 160, 40)
QV = [f"model.layers.{i}.self_attn.{part}_proj" for i in range(3) for part in "qv"]
ALL = QV + [f"model.layers.{i}.{part}_proj" for i in range(3)
            for part in ("self_attn.k", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")]


def logits(source, out, *flags):
    binary = artifact.compile(source, out, "--kv-cache=f32", *flags)
    return artifact.run(binary, feeds(TOKENS))["logits"]


CASES = {
    "plain": ("llama3", ALL, {}),
    "stabilized": ("qwen3", QV, {"use_rslora": True}),
    "patterns": ("mistral", ALL, {
        "rank_pattern": {"q_proj": 7, r"model\.layers\.[01]\.mlp\.(up|down)_proj": 2},
        "alpha_pattern": {r"^model.layers.\d.self_attn.v_proj": 11}}),
    "magnitudes": ("qwen2", ALL, {"magnitudes": True}),
    "whole": ("llama-biases", QV, {
        "whole": ("lm_head.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.bias"),
        "bias": "all", "modules_to_save": ["lm_head", "norm"]}),
    "fused": ("phi3", [f"model.layers.{i}.{part}" for i in range(3)
                       for part in ("self_attn.qkv_proj", "mlp.gate_up_proj")], {}),
    "conv1d": ("gpt2", [f"h.{i}.{part}" for i in range(3) for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc")],
               {"fan_in_fan_out": True, "magnitudes": True}),
}


@pytest.mark.parametrize("mode", ["merge", "beside"])
@pytest.mark.parametrize("case", CASES)
def test_lora(case, mode, tmp_path):
    name, targets, options = CASES[case]
    base, merged, lora = tmp_path / "base", tmp_path / "merged", tmp_path / "lora"
    base.mkdir()
    plain = decoders.make(name, base, TOKENS.tolist())
    transposed = targets if case == "conv1d" else ()
    weights = load_file(base / "model.safetensors")
    adapters.write_merged(base, merged, adapters.make_lora(lora, weights, targets, transposed=transposed, **options))
    want = decoders.run_folder(name, merged, TOKENS.tolist())
    assert np.abs(want - plain).max() > 0.3 * plain.std()  # the adapter matters
    got = logits(base, tmp_path / "model", "--adapter", lora, "--adapter-mode", mode)
    assert artifact.scaled_error(got, want) < 1e-4


@pytest.mark.parametrize("mode", ["auto", "merge", "beside"])
def test_tied_embeddings(mode, tmp_path):
    """An embedding and the projection that shares its table are two modules."""
    base, merged = tmp_path / "base", tmp_path / "merged"
    base.mkdir()
    decoders.make("llama", base, [1])
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    first, second = tmp_path / "lookups", tmp_path / "products"
    changed = adapters.make_lora(first, weights, ["model.embed_tokens"])
    changed |= adapters.make_lora(second, weights, ["lm_head"], seed=1, r=3)
    adapters.write_merged(base, merged, changed, tie_word_embeddings=False)
    want = decoders.run_folder("llama", merged, TOKENS.tolist())
    got = logits(base, tmp_path / "model", "--adapter", first, "--adapter", second, "--adapter-mode", mode)
    assert artifact.scaled_error(got, want) < 1e-4


def test_several_add_up(tmp_path):
    base, merged = tmp_path / "base", tmp_path / "merged"
    base.mkdir()
    decoders.make("mistral", base, [1])
    weights = load_file(base / "model.safetensors")
    folders = [tmp_path / "first", tmp_path / "second"]
    deltas = [adapters.make_lora(folder, weights, QV, seed=i, r=2 + i) for i, folder in enumerate(folders)]
    changed = {name: deltas[0][name] + deltas[1][name] - weights[name] for name in deltas[0]}
    adapters.write_merged(base, merged, changed)
    want = decoders.run_folder("mistral", merged, TOKENS.tolist())
    flags = [flag for folder in folders for flag in ("--adapter", folder)]
    got = logits(base, tmp_path / "model", *flags)
    assert artifact.scaled_error(got, want) < 1e-4
    # The reference interpreter runs the same model, but for a cache in 16 bits.
    report = artifact.call(artifact.PARE, "diff", tmp_path / "model", base, *flags, "--json").stdout
    assert max(row["max_error"] for row in json.loads(report)["values"]) < 5e-2


@pytest.mark.parametrize("mode", ["auto", "merge"])
def test_blocks(mode, tmp_path):
    """transformers' names and order of rows on a GGUF file's."""
    path = language_models.SMOLLM2
    targets = [f"model.layers.{i}.{part}" for i in range(0, 30, 7)
               for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj")]
    shapes = {"q_proj": (576, 576), "k_proj": (192, 576), "v_proj": (192, 576), "down_proj": (576, 1536)}
    zeros = {name + ".weight": np.zeros(shapes[name.rsplit(".", 1)[1]], np.float32) for name in targets}
    changed = adapters.make_lora(tmp_path / "lora", zeros, targets, lora_alpha=0.5)
    model = decoders.load_gguf(path, {name.removesuffix(".weight"): value for name, value in changed.items()})
    tokens = np.random.default_rng(2).integers(100, 40000, 40)
    flags = ("--activations=f32", "--kv-cache=f32", "--context=512")
    binary = artifact.compile(path, tmp_path / "model", *flags, "--adapter", tmp_path / "lora", "--adapter-mode", mode)
    want = model(tokens)
    assert np.abs(want - decoders.load_gguf(path)(tokens)).max() > 1
    assert artifact.scaled_error(artifact.run(binary, feeds(tokens))["logits"], want) < 1e-4


@pytest.mark.parametrize("flags", [(), ("--quantize=int8",)])
def test_encoder(flags, tmp_path):
    """MiniLM, as a sentence-transformers folder, with the adapter of a BertModel."""
    weights = load_file(models.MINILM.source / "model.safetensors")
    targets = [f"encoder.layer.{i}.{part}" for i in range(6) for part in ("attention.self.query", "output.dense")]
    changed = adapters.make_lora(tmp_path / "lora", weights, targets, lora_alpha=1, task_type="FEATURE_EXTRACTION")
    shutil.copytree(models.MINILM.source, tmp_path / "merged")
    (tmp_path / "merged" / "model.safetensors").unlink()
    save_file(weights | changed, tmp_path / "merged" / "model.safetensors")
    texts = ["a cat sat on the mat", "what is the time?"]
    adapted = artifact.compile(models.MINILM.source, tmp_path / "model", "--adapter", tmp_path / "lora", *flags)
    merged = artifact.compile(tmp_path / "merged", tmp_path / "other", *flags)
    got, want = artifact.embed(adapted, texts), artifact.embed(merged, texts)
    assert np.abs(got - want).max() < (1e-5 if not flags else 2e-2)
    base = artifact.compile(models.MINILM.source, tmp_path / "base", *flags)
    assert np.abs(got - artifact.embed(base, texts)).max() > 0.02


def run_with_table(name, base, folder, rows, tokens):
    """Logits with `rows` behind the table of embeddings: what tokens beyond it look up."""
    weights = load_file(base / "model.safetensors")
    key = next(key for key in weights if key.endswith(("embed_tokens.weight", "wte.weight")))
    table = np.concatenate([weights[key], rows])
    changed = {key: table}
    if "lm_head.weight" in weights:
        changed["lm_head.weight"] = np.concatenate([weights["lm_head.weight"], rows])
    adapters.write_merged(base, folder, changed, vocab_size=len(table))
    return decoders.run_folder(name, folder, tokens)[:, : len(weights[key])]


@pytest.mark.parametrize("name, kind", [("llama", "P_TUNING"), ("qwen3", "PROMPT_TUNING"), ("gpt2", "PROMPT_TUNING"),
                                        ("gemma2", "PROMPT_TUNING"), ("gemma3", "PROMPT_TUNING")])
def test_prompt_tuning(name, kind, tmp_path):
    """Vectors before a sequence, as rows that tokens beyond the vocabulary look up."""
    base, prompt, lora = tmp_path / "base", tmp_path / "prompt", tmp_path / "lora"
    base.mkdir()
    decoders.make(name, base, [1])
    vectors = adapters.make_prompt(prompt, 5, 64, kind=kind)
    # Gemma 3 scales the rows that it looks up, and not what stands in for them.
    rows = vectors / np.float32(8) if name == "gemma3" else vectors
    tokens = [*range(160, 165), *TOKENS.tolist()]
    want = run_with_table(name, base, tmp_path / "merged", rows, tokens)
    flags = ["--adapter", prompt]
    binary = artifact.compile(base, tmp_path / "model", "--kv-cache=f32", *flags)
    got = artifact.run(binary, feeds(tokens), "--guard")["logits"]
    assert artifact.scaled_error(got, want) < (1e-4 if name != "gemma3" else 1e-2)  # mlx-lm scales in bf16
    with pytest.raises(AssertionError, match="element 0 is 165, expected 0 to 164"):
        artifact.run(binary, feeds([165]))


def test_tuned_prompt_begins_every_sequence(tmp_path):
    """What the generator and perplexity put before a text; a LoRA of the same table beside it."""
    base, prompt, lora = tmp_path / "base", tmp_path / "prompt", tmp_path / "lora"
    base.mkdir()
    decoders.make("llama", base, [1])
    add_tokenizer(base, "")
    vectors = adapters.make_prompt(prompt, 7, 64)
    weights = load_file(base / "model.safetensors")
    changed = adapters.make_lora(lora, weights, ["model.embed_tokens"], lora_alpha=1)
    save_file(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]} | changed,
              tmp_path / "untied.safetensors")
    untied = tmp_path / "untied"
    untied.mkdir()
    shutil.move(tmp_path / "untied.safetensors", untied / "model.safetensors")
    config = json.loads((base / "config.json").read_text()) | {"tie_word_embeddings": False}
    (untied / "config.json").write_text(json.dumps(config))
    binary = artifact.compile(base, tmp_path / "model", "--kv-cache=f32", "--adapter", prompt, "--adapter", lora)
    text = "The quick brown fox, twice: the quick brown fox."
    flags = ("--json", "--temperature", "0", "--max-tokens", "12", "--logprobs", "0", "--repetition-penalty", "1.3")
    answers = [json.loads(line) for line in artifact.call(binary, "generate", text, text[:9], *flags).stdout.splitlines()]
    for answer, start in zip(answers, (text, text[:9])):
        ids = [ord(c) - 33 if c != " " else 94 for c in start]
        assert answer["prompt_tokens"] == 7 + len(ids)
        chosen = [step["id"] for step in answer["logprobs"]]
        tokens = [*range(160, 167), *ids, *chosen[:-1]]
        rows = run_with_table("llama", untied, tmp_path / "merged", vectors, tokens)[6 + len(ids):]
        scores = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
        np.testing.assert_allclose([step["logprob"] for step in answer["logprobs"]],
                                   scores[range(len(chosen)), chosen], atol=2e-3)
    (tmp_path / "text").write_text(text * 3)
    report = json.loads(artifact.call(binary, "perplexity", tmp_path / "text", "--context", "48", "--all", "--json").stdout)
    ids = [ord(c) - 33 if c != " " else 94 for c in text * 3]
    losses = []
    for chunk in range(len(ids) // 48):
        part = ids[48 * chunk:48 * chunk + 48]
        rows = run_with_table("llama", untied, tmp_path / "merged", vectors, [*range(160, 167), *part])[7:]
        scores = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
        losses += [-scores[i, part[i + 1]] for i in range(47)]
    assert abs(report["all"]["nll"] - np.mean(losses)) < 1e-3


@pytest.mark.parametrize("rows, width, changes, message", [
    (5, 63, {}, "'prompt_embeddings' has rows of 63 numbers, the model's tokens have 64"),
    (5, 64, {"num_virtual_tokens": 6}, "must have a row for each of 'num_virtual_tokens'"),
    (256, 64, {}, "a prompt of 256 vectors fills the context of 256 positions"),
    (5, 64, {"num_transformer_submodules": 2}, "not supported: 'num_transformer_submodules' 2"),
])
def test_prompts_refused(rows, width, changes, message, tmp_path):
    base, prompt = tmp_path / "base", tmp_path / "prompt"
    base.mkdir()
    decoders.make("llama", base, [1])
    adapters.make_prompt(prompt, rows, width)
    path = prompt / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    done = artifact.call(artifact.PARE, "compile", base, "-o", tmp_path / "m", "--adapter", prompt, check=False)
    assert done.returncode == 1 and message in done.stderr


def damage(folder, kind):
    """Spoils an adapter of QV in one way."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    first = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    if kind == "kind":
        config["peft_type"] = "IA3"
    elif kind == "pissa":
        config["init_lora_weights"] = "pissa_niter_4"
    elif kind == "option":
        config["layer_replication"] = [[0, 2], [1, 3]]
    elif kind == "rank":
        config["r"] = 5
    elif kind == "pattern":
        config["rank_pattern"] = {"(?=q)": 4}
    elif kind == "contradiction":
        config["alpha_pattern"] = {"q_proj": 4, "self_attn.q_proj": 5}
    elif kind == "lone":
        del tensors[first + "B.weight"]
    elif kind == "layer":
        tensors = {name.replace("layers.0", "layers.9"): value for name, value in tensors.items()}
    elif kind == "shape":
        tensors[first + "B.weight"] = np.zeros((63, 4), np.float32)
    elif kind == "unknown":
        tensors[first + "C.weight"] = tensors[first + "A.weight"]
    elif kind == "whole":
        tensors["base_model.model.lm_head.weight"] = np.zeros((170, 64), np.float32)
    elif kind == "integers":
        tensors[first + "A.weight"] = tensors[first + "A.weight"].astype(np.int32)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    "kind, message",
    [
        ("kind", "not supported: peft_type 'IA3' (known are LORA, "),
        ("pissa", "init_lora_weights 'pissa_niter_4' stands for a base model with other weights"),
        ("option", "not supported: 'layer_replication'"),
        ("rank", "'model.layers.0.self_attn.q_proj' should have rank 5, but its tensors have 4"),
        ("pattern", "the pattern '(?=q)' is not understood"),
        ("contradiction", "'alpha_pattern' has several values for 'model.layers.0.self_attn.q_proj'"),
        ("lone", "'model.layers.0.self_attn.q_proj' has lora_A without lora_B"),
        ("layer", "adapts 'model.layers.9.self_attn.q_proj.weight', which is not in the model"),
        ("shape", "is adapted by 63x4 and 4x64, but takes 64 and gives 64 in the model"),
        ("unknown", "is of no kind that is known"),
        ("whole", "'lm_head.weight' has shape 170x64, the model's has 160x64"),
        ("integers", "must hold f32, f16 or bf16 numbers"),
    ],
)
def test_refused(kind, message, tmp_path):
    base, lora = tmp_path / "base", tmp_path / "lora"
    base.mkdir()
    decoders.make("mistral", base, [1])
    adapters.make_lora(lora, load_file(base / "model.safetensors"), QV)
    damage(lora, kind)
    done = artifact.call(artifact.PARE, "compile", base, "-o", tmp_path / "model", "--adapter", lora, check=False)
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "model").exists()


def test_no_folder(tmp_path):
    done = artifact.call(artifact.PARE, "compile", models.MINILM.source, "-o", tmp_path / "m",
                         "--adapter", tmp_path / "absent", check=False)
    assert done.returncode == 1 and "absent: not a folder; --adapter takes one with" in done.stderr
    done = artifact.call(artifact.PARE, "inspect", models.MAGIKA.source, "--adapter", tmp_path, check=False)
    assert done.returncode == 1 and "--adapter is for folders with safetensors and for GGUF files" in done.stderr
