"""Model folders that are not whole, and folders that are, on meshes and in memory."""

import json
import os
import shutil
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from safetensors.numpy import load_file, save_file

from jaxalign.errors import UserError
from jaxalign.models import PARTITION_RULES, load_params, param_shapes, read_config
from jaxalign.models.param_shapes import flat_paths
from tests.models.cases import CASES, GOLDEN, load_case

QUERY = "model.layers.1.self_attn.q_proj.weight"
EMBED = "model.embed_tokens.weight"
SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(GOLDEN / "llama", tmp_path / "llama")


@pytest.fixture
def sharded(tmp_path):
    return shutil.copytree(GOLDEN / "gemma2", tmp_path / "gemma2")


def edit(folder, change):
    """Rewrites the tensors of a folder with one file."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


def load(folder, **options):
    return load_params(folder, read_config(folder), **options)


FAULTS = {
    "Missing: `" + QUERY: lambda t: t.pop(QUERY),
    "Not known: `model.extra": lambda t: t.update({"model.extra": t[QUERY]}),
    "Not known: `../../etc/x": lambda t: t.update({"../../etc/x": t[QUERY]}),
    QUERY + "` .* has shape": lambda t: t.update({QUERY: t[QUERY][:-1]}),
    QUERY + "` .* has type I8": lambda t: t.update({QUERY: t[QUERY].astype(np.int8)}),
    QUERY + "` .* holds NaN": lambda t: t[QUERY].__setitem__((3, 5), np.nan),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tensor_at_fault_is_named(fault, folder):
    with pytest.raises(UserError, match=fault):
        load(edit(folder, FAULTS[fault]))


def test_values_are_left_alone_when_nobody_asks(folder):
    params = load(edit(folder, FAULTS[QUERY + "` .* holds NaN"]), check_finite=False)
    assert np.isnan(params["layers"]["attention"]["query"]["kernel"][1, 5, 3])


def test_a_missing_shard_is_named(sharded):
    (sharded / SHARD).unlink()
    with pytest.raises(UserError, match=SHARD):
        read_config(sharded)


def test_an_index_that_names_an_absent_tensor_is_refused(sharded):
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.ghost"] = SHARD
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"model\.ghost"):
        read_config(sharded)


def test_an_index_that_leaves_the_folder_is_refused(sharded):
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][EMBED] = "../gemma2/" + SHARD
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match="no file name"):
        read_config(sharded)


def test_a_file_cut_short_is_named(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        read_config(folder)


def test_pickles_are_refused_unread(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="Convert to safetensors with the model's own"):
        load(folder)


def test_a_folder_without_weights_or_config_says_so(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is not there"):
        read_config(folder)


def tied(folder, tensors):
    text = (folder / "config.json").read_text()
    text = text.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true')
    (folder / "config.json").write_text(text)
    return edit(folder, tensors)


def test_a_tied_head_may_be_there_twice_if_it_is_the_same(folder):
    with_copy = tied(folder, lambda t: t.update({"lm_head.weight": t[EMBED]}))
    assert "unembed" not in load(with_copy)
    edit(folder, lambda t: t.update({"lm_head.weight": t[EMBED] + 1}))
    with pytest.raises(UserError, match="ties the unembedding"):
        load(folder)


def test_padding_rows_of_the_vocabulary_are_kept(folder):
    def pad(tensors):
        for name in (EMBED, "lm_head.weight"):
            tensors[name] = np.pad(tensors[name], ((0, 8), (0, 0)))

    config = read_config(edit(folder, pad))
    assert (config.vocab_size, config.vocab_rows) == (64, 72)
    assert load_params(folder, config)["embed"]["embedding"].shape == (72, 16)


def test_names_of_a_base_model_and_old_buffers_load(folder):
    def strip(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("model.")] = tensors.pop(name)
        tensors["layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(2, np.float32)

    got, wanted = load(edit(folder, strip)), load_case("llama").params
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_become_the_asked_one(folder, kind):
    def cast(tensors):
        tensors.update({k: v.astype(kind) for k, v in tensors.items()})

    params = load(edit(folder, cast), dtype=jax.numpy.bfloat16)
    wanted = np.asarray(load_case("llama").params["embed"]["embedding"])
    got = np.asarray(params["embed"]["embedding"])
    assert got.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(got, wanted.astype(kind).astype(ml_dtypes.bfloat16))


def sharding_of(path, mesh, shape):
    import re

    spec = next(s for pattern, s in PARTITION_RULES if re.search(pattern, path))
    assert all(n % mesh.shape[a] == 0 for n, a in zip(shape, spec, strict=False) if a)
    return NamedSharding(mesh, spec)


@pytest.mark.parametrize("name", ["phi3", "gpt_neox", "gpt2", "gemma2"])
def test_every_device_gets_its_own_part(name):
    """Fused tensors too: a part of ours lies scattered in theirs."""
    case = load_case(name)
    mesh = jax.make_mesh((4, 2), ("fsdp", "tensor"), axis_types=(AxisType.Auto,) * 2)
    shapes = param_shapes(case.config)
    shardings = [
        sharding_of(p, mesh, leaf.shape) for p, leaf in flat_paths(shapes).items()
    ]
    tree = jax.tree.unflatten(jax.tree.structure(shapes), shardings)
    params = load_params(case.folder, case.config, tree)
    assert params["layers"]["mlp"]["up"]["kernel"].sharding.spec[1:] == (
        "fsdp",
        "tensor",
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, params, case.params))


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_has_a_rule_that_leaves_layers_whole(name):
    for path, leaf in flat_paths(load_case(name).params).items():
        mesh = jax.sharding.AbstractMesh((2, 1), ("fsdp", "tensor"))
        spec = sharding_of(path, mesh, leaf.shape).spec
        assert not path.startswith("layers/") or spec in (P(), P(None, *spec[1:]))
        assert leaf.ndim == 1 or path.endswith(("scale", "bias")) or spec != P()


def test_host_memory_stays_under_twice_the_largest_part(tmp_path):
    """In a process of its own: what is live at the peak besides the parameters."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.models.measure_loading", tmp_path / "big"],
        cwd=GOLDEN.parents[2],
        env={k: v for k, v in os.environ.items() if k[:4] not in ("JAX_", "XLA_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    extra, largest = map(int, run.stdout.split()[-2:])
    assert extra < 2 * largest
