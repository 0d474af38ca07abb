"""Adapters as PEFT saves them, with random tensors, and what they mean by
numpy: PEFT itself needs a framework of gigabytes."""

import json
import re

import numpy as np
from safetensors.numpy import load_file, save_file

CONFIG = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6, "lora_dropout": 0.1, "bias": "none",
          "use_rslora": False, "use_dora": False, "fan_in_fan_out": False, "modules_to_save": None,
          "rank_pattern": {}, "alpha_pattern": {}, "init_lora_weights": True, "inference_mode": True,
          "loftq_config": {}, "layers_to_transform": None, "trainable_token_indices": None}


def find_pattern(patterns, path, fallback):
    """The value for a module, as peft.utils.get_pattern_key looks it up."""
    for key, value in patterns.items():
        if re.match(rf"(.*\.)?({key})$", path):
            return value
    return fallback


def make_lora(folder, base, targets, seed=0, transposed=(), magnitudes=False, whole=(), **options):
    """Writes an adapter of the weights `base` [out, in] (those of `transposed`
    [in, out]) to `folder`. `targets` are paths of modules, "embed_tokens" among
    them an embedding; `whole` are names of tensors that it replaces.

    Returns the weights that change, by name, as PEFT's layers compute with them.
    """
    rng = np.random.default_rng(seed)
    config = {**CONFIG, "use_dora": magnitudes, **options}
    tensors, changed = {}, {}
    for name in whole:
        value = (base[name] + rng.normal(0, 0.3, base[name].shape)).astype(np.float32)
        tensors["base_model.model." + name] = changed[name] = value
    for path in targets:
        weight = changed.get(path + ".weight", base[path + ".weight"]).astype(np.float32)
        rank = find_pattern(config["rank_pattern"], path, config["r"])
        alpha = find_pattern(config["alpha_pattern"], path, config["lora_alpha"])
        scale = alpha / (np.sqrt(rank) if config["use_rslora"] else rank)
        is_embedding = path.endswith(("embed_tokens", "wte"))
        straight = weight.T if is_embedding or path in transposed else weight
        out, into = straight.shape
        a = rng.normal(0, 1 / np.sqrt(1 if is_embedding else into), (rank, into)).astype(np.float32)
        b = rng.normal(0, 0.5, (out, rank)).astype(np.float32)
        parts = ("lora_embedding_A", "lora_embedding_B") if is_embedding else ("lora_A.weight", "lora_B.weight")
        for part, value in zip(parts, (a, b)):
            tensors[f"base_model.model.{path}.{part}"] = value
        updated = straight.astype(np.float64) + scale * (b.astype(np.float64) @ a)
        if magnitudes and not is_embedding:
            length = np.linalg.norm(updated, axis=1)
            magnitude = (length * rng.uniform(0.6, 1.5, out)).astype(np.float32)
            tensors[f"base_model.model.{path}.lora_magnitude_vector"] = magnitude
            updated *= (magnitude / length)[:, None]
        updated = updated.T if straight.base is weight else updated
        changed[path + ".weight"] = np.ascontiguousarray(updated, np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()},
              folder / "adapter_model.safetensors")
    return changed


def make_prompt(folder, rows, width, deviation=1.0, kind="PROMPT_TUNING", seed=5):
    """Writes a tuned prompt; its vectors, [rows, width]."""
    vectors = np.random.default_rng(seed).normal(0, deviation, (rows, width)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": kind, "task_type": "CAUSAL_LM", "num_virtual_tokens": rows, "token_dim": width,
              "num_transformer_submodules": 1, "num_layers": 3, "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"prompt_embeddings": vectors}, folder / "adapter_model.safetensors")
    return vectors


def write_merged(source, folder, changed, **config):
    """A copy of the model folder `source` with other weights and config."""
    weights = load_file(source / "model.safetensors") | changed
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()}, folder / "model.safetensors")
    text = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**text, **config}))
