"""Makes the tiny random checkpoints beside this file, and the logits they should give.

    python tests/golden/models/make_goldens.py        # one minute; torch, transformers

Each folder holds what `save_pretrained` writes, and `golden.npz`: `inputs` [3, 16],
`lengths` [3] and the logits of the real tokens, row after row, `[sum(lengths), 64]`:
`alone` (each row by itself), `right` and `left` (the three together, padded there).
Weights, norms and biases are random and large enough for every config field to matter.
"""

import pathlib
import shutil
import sys

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers as hf  # pyright: ignore[reportMissingImports]

HERE = pathlib.Path(__file__).parent
LENGTHS = (16, 11, 6)
SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
FOUR = {"num_hidden_layers": 4}


def rope(kind, theta=100.0, **rest):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **rest}}


LLAMA3 = {
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 1.5,
    "beta_slow": 0.25,
}
LOCAL_AND_GLOBAL = {
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    }
}

CASES = {
    "llama": (hf.LlamaConfig, rope("default")),
    "llama_mqa": (
        hf.LlamaConfig,
        {
            "num_key_value_heads": 1,
            "head_dim": 8,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "hidden_act": "gelu",
            **rope("default"),
        },
    ),
    "llama_linear": (hf.LlamaConfig, rope("linear", factor=3.0)),
    "llama_llama3": (hf.LlamaConfig, {"head_dim": 8, **rope("llama3", **LLAMA3)}),
    "llama_yarn": (hf.LlamaConfig, {"head_dim": 16, **rope("yarn", **YARN)}),
    "llama_yarn_mscale": (
        hf.LlamaConfig,
        {
            "head_dim": 16,
            **rope("yarn", mscale=0.7, mscale_all_dim=1.4, truncate=False, **YARN),
        },
    ),
    "mistral": (hf.MistralConfig, {"sliding_window": 4, **rope("default")}),
    "mistral_full": (hf.MistralConfig, {"sliding_window": None, "head_dim": 8}),
    "qwen2": (hf.Qwen2Config, rope("default")),
    "qwen2_window": (
        hf.Qwen2Config,
        {
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 1,
            **FOUR,
            **rope("default"),
        },
    ),
    "qwen3": (
        hf.Qwen3Config,
        {"head_dim": 8, "attention_bias": True, **rope("default")},
    ),
    "gemma": (hf.GemmaConfig, {"head_dim": 8, **rope("default")}),
    "gemma2": (
        hf.Gemma2Config,
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 6,
            "sliding_window": 4,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 6.0,
            **FOUR,
            **rope("default"),
        },
    ),
    "gemma3_text": (
        hf.Gemma3TextConfig,
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 6,
            "sliding_window": 4,
            "sliding_window_pattern": 3,
            **FOUR,
            **LOCAL_AND_GLOBAL,
        },
    ),
    "gpt2": (hf.GPT2Config, {"n_embd": 16, "n_head": 4, "n_positions": 32}),
    "gpt_neox": (
        hf.GPTNeoXConfig,
        {"num_attention_heads": 2, **rope("default", partial_rotary_factor=0.5)},
    ),
    "gpt_neox_sequential": (
        hf.GPTNeoXConfig,
        {
            "use_parallel_residual": False,
            "hidden_act": "gelu_fast",
            "tie_word_embeddings": True,
            **rope("default", partial_rotary_factor=1.0),
        },
    ),
    "phi3": (
        hf.Phi3Config,
        {"sliding_window": 4, "num_attention_heads": 2}
        | {"num_key_value_heads": 1, **rope("default", partial_rotary_factor=0.75)},
    ),
    "olmo2": (hf.Olmo2Config, rope("default")),
    "smollm3": (
        hf.SmolLM3Config,
        {
            "no_rope_layer_interval": 2,
            "use_sliding_window": True,
            "sliding_window": 4,
            **FOUR,
            **rope("default"),
        },
    ),
}


def randomise(model, seed: int) -> None:
    """Fills every parameter, norms around one (around zero where one is added)."""
    generator = torch.Generator().manual_seed(seed)
    gemma = model.config.model_type.startswith("gemma")
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim == 1 and name.endswith("weight"):
            noise = 0.3 * noise + (0.0 if gemma else 1.0)
        elif weight.ndim == 1:
            noise = 0.5 * noise
        elif "embed" not in name and "wte" not in name and "lm_head" not in name:
            noise = 1.5 * noise / 16**0.5
        elif gemma:
            noise = 0.25 * noise
        weight.data.copy_(noise)


def golden(model, inputs) -> dict[str, np.ndarray]:
    """Logits of the real tokens, alone and in both paddings."""

    def real(ids, mask):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            out = model(input_ids=ids, attention_mask=mask, position_ids=positions)
        return out.logits[mask.bool()].numpy()

    width, rows = max(LENGTHS), [r[:n] for r, n in zip(inputs, LENGTHS, strict=True)]

    def padded(left: bool):
        ids, mask = torch.zeros(2, 3, width, dtype=torch.long)
        for i, row in enumerate(rows):
            at = slice(width - len(row), None) if left else slice(len(row))
            ids[i, at], mask[i, at] = torch.tensor(row), 1
        return real(ids, mask)

    alone = [real(torch.tensor(r)[None], torch.ones(1, len(r)).long()) for r in rows]
    logits = {
        "alone": np.concatenate(alone),
        "right": padded(False),
        "left": padded(True),
    }
    return {"inputs": inputs, "lengths": np.array(LENGTHS), **logits}


def main() -> None:
    for seed, (name, (config_class, fields)) in enumerate(CASES.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        sizes = dict(SIZES)
        if "n_embd" in fields:
            for key in (
                "hidden_size",
                "num_attention_heads",
                "max_position_embeddings",
            ):
                del sizes[key]
            del sizes["intermediate_size"], sizes["num_key_value_heads"]
        config = config_class(**{**sizes, **fields})
        model = hf.AutoModelForCausalLM.from_config(config).eval().float()
        randomise(model, seed)
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        shard = "30KB" if name == "gemma2" else "1GB"
        model.save_pretrained(folder, max_shard_size=shard)
        rng = np.random.default_rng(seed)
        inputs = rng.integers(3, 64, (3, max(LENGTHS))).astype(np.int32)
        arrays = golden(model, inputs)
        path = folder / "golden.npz"
        np.savez_compressed(path, allow_pickle=False, **arrays)
        size = sum(p.stat().st_size for p in folder.iterdir()) / 1000
        print(f"{name:22} {size:6.1f} kB, logits of std {arrays['alone'].std():.2f}")


if __name__ == "__main__":
    main()
