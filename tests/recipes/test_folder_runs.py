"""Runs and their exports on model folders as people bring them."""

import json
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxalign.__main__ import main
from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.recipes import grpo, sft

WORDS = 260


@pytest.fixture
def ended(monkeypatch):
    """Runs a command and returns what it ends with."""
    monkeypatch.setenv("COLUMNS", "1000")

    def run(*argv):
        with pytest.raises(SystemExit) as end:
            main([str(x) for x in argv])
        return end.value.code

    return run


@pytest.fixture(scope="module")
def base_model(tiny_model, tmp_path_factory):
    """Without a template, and its texts end in another token."""
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("base") / "model")
    config = {"bos_token": "<s>", "eos_token": "</s>", "name_or_path": "/home/x/y"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text('{"eos_token_id": 257}')
    return folder


@pytest.fixture(scope="module")
def padded_model(tiny_model, tmp_path_factory):
    """More rows than tokens, and likely ones."""
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("padded") / "model")
    weights = load_file(folder / "model.safetensors")
    name = "model.embed_tokens.weight"
    table = 20 * weights[name]
    weights[name] = np.concatenate([table, 1.5 * table[:40]])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    return folder


def words_of(folder):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.template is not None
    turns = [{"role": "user", "content": "hi"}]
    text = tokenizer.template.render(turns, add_generation_prompt=True)
    return text, tokenizer.stop_ids


def test_an_export_renders_and_stops_as_the_run_did(
    base_model, pairs, tmp_path, monkeypatch, ended, capsys
):
    """Also an export made later, from another folder, when the file is gone."""
    template = tmp_path / "mine.jinja"
    text = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    template.write_text(text)
    monkeypatch.chdir(tmp_path)
    config = sft.Config(
        model=str(base_model),
        data=str(pairs),
        columns="completion=chosen",
        chat_template="mine.jinja",
        output_dir=str(tmp_path / "run"),
        max_steps=1,
        samples=0,
        batch_size=8,
        loss_on="completion",
    )
    assert sft.main(config) == 0
    template.unlink()
    monkeypatch.chdir("/")
    code = ended("export", "--run", tmp_path / "run", "--output", tmp_path / "later")
    assert code == 0
    for folder in (tmp_path / "run" / "export", tmp_path / "later"):
        assert words_of(folder) == ("<|im_start|>hi<|im_end|>", {257, 259})
        generation = json.loads((folder / "generation_config.json").read_text())
        assert generation == {"eos_token_id": [257, 259]}
        for file in folder.iterdir():
            if file.suffix != ".safetensors":
                assert "/home/x" not in file.read_text(), file
                assert str(tmp_path) not in file.read_text(), file
        assert (folder / "README.md").read_text().startswith("---\nlibrary_name")
    capsys.readouterr()
    flags = ("--prompt", "hi", "--max-new-tokens", "2")
    assert ended("generate", "--model", tmp_path / "later", *flags) == 0
    assert "<|im_start|>hi<|im_end|>" in capsys.readouterr().out


def test_the_template_of_a_training_twin_is_exported_without_its_blocks(
    base_model, tmp_path
):
    from jaxalign.recipes.inputs.chat_texts import chat_texts

    given = "chatml.training"
    tokenizer = load_tokenizer(base_model, chat_template=given)
    texts = chat_texts(tokenizer, WORDS, given)
    assert texts.template is not None
    assert "generation" not in texts.template.replace("add_generation_prompt", "")
    assert set(texts.stop_ids) == {257, 259}
    assert chat_texts(tokenizer, 258, None) == (None, [257])


REWARD = """
import json

def ids(completions):
    with open({file!r}, "a") as out:
        for c in completions:
            out.write(json.dumps([c.ids, c.completion, c.stopped]) + "\\n")
    return [len(set(c.ids)) for c in completions]
"""


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_rollouts_hold_tokens_only_and_end_at_texts(padded_model, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "ada {i}"}}\n' for i in range(8)))
    reward = tmp_path / "mine.py"
    reward.write_text(REWARD.format(file=str(tmp_path / "seen.jsonl")))
    config = grpo.Config(
        model=str(padded_model),
        data=str(prompts),
        reward=(f"{reward}:ids",),
        output_dir=str(tmp_path / "run"),
        stop=("e", "</s>"),
        conversational="no",
        max_new_tokens=24,
        num_generations=4,
        batch_size=8,
        max_steps=1,
        export=False,
    )
    assert grpo.main(config) == 0
    seen = lines_of(tmp_path / "seen.jsonl")
    assert len(seen) == 32
    assert max(i for ids, _, _ in seen for i in ids) < WORDS
    kept = lines_of(tmp_path / "run/completions/step_000001.jsonl")
    why = [x["stop"] for x in kept]
    assert {"stop", "max_new_tokens"} <= {*why}
    for (ids, text, stopped), line in zip(seen, kept, strict=True):
        ended = text.endswith("e") or ids[-1] == 257  # </s>, which is no stop token
        assert (line["stop"] == "stop") == ended
        assert "e" not in text[:-1]
        assert 257 not in ids[:-1]
        assert stopped == (line["stop"] != "max_new_tokens")
        assert line["length"] == len(ids)
    train = lines_of(tmp_path / "run/metrics.jsonl")[0]
    assert train["sampling/sampling_logp_difference/max"] < 1e-3
    clipped = np.mean([x == "max_new_tokens" for x in why])
    assert train["completions/clipped_ratio"] == pytest.approx(clipped)


def test_generate_and_evaluate_end_at_texts(padded_model, tmp_path, ended, capsys):
    common = ("--model", padded_model, "--temperature", "1", "--stop", "e", "--stop=t")
    common += ("--max-new-tokens", "40", "--num-samples", "8")
    out = tmp_path / "out.jsonl"
    code = ended("generate", *common, "--prompt", "x", "--plain", "--output", out)
    assert code == 0
    texts = [x["completion"] for x in lines_of(out)]
    assert any(x["stopped"] for x in lines_of(out))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "x"}')
    flags = ("--data", rows, "--reward", "stopped", "--output-dir", tmp_path / "e")
    assert ended("evaluate", *common, *flags) == 0
    kept = lines_of(tmp_path / "e/completions.jsonl")
    texts += [x["completion"] for x in kept]
    assert any(x["stopped"] for x in kept)
    assert all(not {"e", "t"} & {*text[:-1]} for text in texts)
    assert any(text.endswith(("e", "t")) for text in texts)
    assert "stop ('e', 't')" in capsys.readouterr().out


def test_a_dry_run_looks_at_every_tensor(tiny_model, pairs, tmp_path, ended, capsys):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    flags = ("--data", pairs, "--output-dir", tmp_path / "run", "--dry-run")
    for wrong, message in (
        (weights[name][:-1], f"`{name}` in .* has shape"),
        (weights[name].astype(np.int8), f"`{name}` in .* has type I8"),
    ):
        save_file({**weights, name: wrong}, folder / "model.safetensors")
        assert ended("dpo", "--model", folder, *flags) == 2
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1
        assert re.search(message, error)
    assert not (tmp_path / "run").exists()
