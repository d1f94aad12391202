"""Folders written: bit-equal weights, byte-equal texts, nothing half-written."""

import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from jaxalign.errors import UserError
from jaxalign.models import (
    ModelConfig,
    Rope,
    Transformer,
    export_model,
    init_params,
    load_params,
    read_config,
    resolve_model,
)
from tests.models.cases import CASES, GOLDEN, load_case

TEXTS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def tensors(folder):
    files = sorted(folder.glob("*.safetensors"))
    return {k: v for file in files for k, v in load_file(file).items()}


@pytest.mark.parametrize("name", CASES)
def test_round_trip_is_bit_equal(name, tmp_path):
    case = load_case(name)
    out = export_model(tmp_path / "out", case.config, case.params, source=case.folder)
    before, after = tensors(case.folder), tensors(out)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype
        np.testing.assert_array_equal(value, after[key])
    assert (out / "config.json").read_bytes() == (
        case.folder / "config.json"
    ).read_bytes()
    again = load_params(out, read_config(out))
    assert jax.tree.all(jax.tree.map(np.array_equal, again, case.params))


def test_texts_are_copied_byte_for_byte(tmp_path):
    case = load_case("llama")
    source = shutil.copytree(case.folder, tmp_path / "source")
    for name in TEXTS:
        (source / name).write_bytes(b"\xef\xbb\xbf {% x %}\r\n" + name.encode())
    (source / "notes.py").write_text("print('not mine')")
    out = export_model(
        tmp_path / "out", case.config, case.params, source=source, card="# A model\n"
    )
    for name in (*TEXTS, "generation_config.json"):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    assert (out / "README.md").read_text() == "# A model\n"
    assert not (out / "notes.py").exists()


def test_code_that_is_not_copied_is_not_named(tmp_path):
    case = load_case("llama")
    source = shutil.copytree(case.folder, tmp_path / "source")
    texts = {}
    for name in ("config.json", "tokenizer_config.json"):
        file = source / name
        texts[name] = json.loads(file.read_text()) if file.is_file() else {"a": "ü"}
        named = {"auto_map": {"AutoModel": "own.Model"}, **texts[name]}
        file.write_text(json.dumps(named))
    (source / "own.py").write_text("class Model: pass")
    out = export_model(tmp_path / "out", case.config, case.params, source=source)
    for name, text in texts.items():
        assert json.loads((out / name).read_text("utf-8")) == text
    assert not (out / "own.py").exists()


def test_another_type_changes_one_word_of_the_config(tmp_path):
    case = load_case("llama")
    out = tmp_path / "out"
    export_model(out, case.config, case.params, source=case.folder, dtype="bfloat16")
    before = (case.folder / "config.json").read_text()
    after = (out / "config.json").read_text()
    assert (
        after == before.replace('"dtype": "float32"', '"dtype": "bfloat16"') != before
    )
    assert {v.dtype for v in tensors(out).values()} == {np.dtype(ml_dtypes.bfloat16)}
    again = tmp_path / "again"
    params = load_params(out, read_config(out))
    export_model(again, case.config, params, source=out)
    assert (again / "config.json").read_bytes() == (out / "config.json").read_bytes()
    for key, value in tensors(out).items():
        np.testing.assert_array_equal(value, tensors(again)[key])


def test_large_weights_are_split_with_an_index(tmp_path):
    case = load_case("gemma2")
    out = tmp_path / "out"
    export_model(
        out, case.config, case.params, source=case.folder, max_shard_bytes=20_000
    )
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = sorted(out.glob("*.safetensors"))
    assert len(files) > 2
    assert sorted(set(index["weight_map"].values())) == [f.name for f in files]
    assert index["metadata"]["total_size"] == sum(
        v.nbytes for v in tensors(out).values()
    )
    for file in files:
        with safe_open(file, "numpy") as opened:
            assert opened.metadata() == {"format": "pt"}
            assert {index["weight_map"][k] for k in opened.keys()} == {file.name}  # noqa: SIM118
        assert sum(v.nbytes for v in load_file(file).values()) <= 20_000


def test_parameters_on_many_devices_are_put_together(tmp_path):
    case = load_case("llama")
    mesh = jax.make_mesh((8,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec(None, "fsdp")

    def spread(leaf):
        split = leaf.ndim > 1 and leaf.shape[1] % 8 == 0
        spec_ = spec if split else jax.sharding.PartitionSpec()
        return jax.device_put(leaf, jax.sharding.NamedSharding(mesh, spec_))

    params = jax.tree.map(spread, case.params)
    out = export_model(tmp_path / "out", case.config, params, source=case.folder)
    before, after = tensors(case.folder), tensors(out)
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_a_llama_from_nothing_gets_a_config(tmp_path):
    config = ModelConfig(
        family="llama",
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        max_positions=32,
        rotary_dim=8,
        attention_scale=8**-0.5,
        windows=(None, None),
        ropes=(Rope(theta=500.0),) * 2,
    )
    params = jax.jit(lambda k: init_params(Transformer(config), k))(jax.random.key(0))
    out = export_model(tmp_path / "out", config, params)
    assert read_config(out) == config
    again = load_params(out, config)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, params))
    gemma = load_case("gemma")
    with pytest.raises(UserError, match="gemma"):
        export_model(tmp_path / "no", gemma.config, gemma.params)


def test_nothing_is_overwritten_and_nothing_is_half_written(tmp_path):
    case = load_case("llama")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export_model(tmp_path / "mine", case.config, case.params, source=case.folder)
    with pytest.raises(UserError, match="float16"):
        export_model(
            tmp_path / "x",
            case.config,
            case.params,
            source=case.folder,
            dtype="float16",
        )
    broken = {**case.params, "embed": {}}
    with pytest.raises(ValueError, match="embed/embedding"):
        export_model(tmp_path / "new", case.config, broken, source=case.folder)
    assert not (tmp_path / "new").exists()


def test_a_model_is_a_folder_or_a_name(tmp_path, monkeypatch):
    assert resolve_model(GOLDEN / "llama") == GOLDEN / "llama"
    with pytest.raises(UserError, match="is a file"):
        resolve_model(GOLDEN / "llama" / "config.json")
    with pytest.raises(UserError, match="no folder"):
        resolve_model(tmp_path / "not" / "there")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="hf download owner/model --local-dir DIR"):
        resolve_model("owner/model")
