"""A tiny model folder with a tokenizer, and rows to train it on."""

import dataclasses
import json
import random

import jax
import pytest

from tests.rewards.served.conftest import serve  # noqa: F401

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 260,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "bos_token_id": 256,
    "eos_token_id": 259,
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module", autouse=True)
def quick_pictures():
    """Pictures of a few bytes: tests of metrics draw real ones, 0.5 s a run."""

    def draw(path, title, series):
        path.write_bytes(b"\x89PNG of " + title.encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxalign.training.log.plots._draw", draw)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Llama folder of two layers with a byte-level tokenizer."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    from jaxalign.models import Transformer, export_model, init_params, read_config

    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 259}))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {char: i for i, char in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<s>", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))

    config = read_config(folder)
    params = init_params(Transformer(config), jax.random.key(0))
    whole = folder.with_name("whole")
    export_model(whole, config, params, source=folder, dtype="float32")
    return whole


@pytest.fixture(scope="session")
def draw_model(tiny_model, tmp_path_factory):
    """`(seed, scale)`: a folder like the tiny model's with other weights, scaled."""
    from jaxalign.models import Transformer, export_model, init_params, read_config

    def draw(seed, scale):
        config = read_config(tiny_model)
        params = init_params(Transformer(config), jax.random.key(seed))
        params = jax.tree.map(lambda x: scale * x, params)
        folder = tmp_path_factory.mktemp("drawn") / "other"
        return export_model(folder, config, params, source=tiny_model, dtype="float32")

    return draw


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Forty pairs in which the better answer is the upper-case one."""
    rng = random.Random(0)
    words = ["ada", "bob", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay"]
    file = tmp_path_factory.mktemp("rows") / "pairs.jsonl"
    with file.open("w") as out:
        for i in range(40):
            text = " ".join(rng.choices(words, k=rng.randint(1, 4)))
            row = {
                "prompt": f"{i} say {text}",
                "chosen": text.upper(),
                "rejected": text * rng.randint(1, 2),
            }
            row = {k: [_turn(k, v)] for k, v in row.items()}
            out.write(json.dumps(row) + "\n")
    return file


def _turn(column, text):
    role = "user" if column == "prompt" else "assistant"
    return {"role": role, "content": text}


@pytest.fixture(scope="session")
def reward_model(tiny_model, tmp_path_factory):
    """The tiny model with a scalar head drawn at random, and a bias."""
    from jaxalign.models import (
        export_model,
        load_with_new_score,
        read_config,
        with_score_head,
    )

    folder = tmp_path_factory.mktemp("models") / "taste"
    config = with_score_head(read_config(tiny_model))
    params = load_with_new_score(tiny_model, config, jax.random.key(3))
    config = dataclasses.replace(config, score_bias=0.5)
    return export_model(folder, config, params, source=tiny_model, dtype="float32")
