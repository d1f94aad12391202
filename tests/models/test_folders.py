"""Which file a tensor is from, and what is said of folders that hold no such model."""

import json
import os
import pathlib
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxalign.errors import UserError
from jaxalign.models import check_weights, load_params, read_config, resolve_model
from tests.models.cases import GOLDEN, load_case

INDEX = "model.safetensors.index.json"
NORM = "model.norm.weight"


@pytest.fixture
def sharded(tmp_path):
    return shutil.copytree(GOLDEN / "gemma2", tmp_path / "gemma2")


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(GOLDEN / "llama", tmp_path / "llama")


def index_of(folder):
    return json.loads((folder / INDEX).read_text())


def loads_as_published(folder):
    params = load_params(folder, read_config(folder))
    wanted = load_case("gemma2").params
    return jax.tree.all(jax.tree.map(np.array_equal, params, wanted))


def test_a_single_file_beside_an_index_is_left_alone(sharded):
    """Left over from before: with zeros, it would be another model."""
    shards = sorted(sharded.glob("*.safetensors"))
    whole = {k: np.zeros_like(v) for file in shards for k, v in load_file(file).items()}
    save_file(whole, sharded / "model.safetensors")
    assert loads_as_published(sharded)


def test_the_index_says_which_of_two_shards_has_a_tensor(sharded):
    weight_map = index_of(sharded)["weight_map"]
    own = weight_map[NORM]
    for other in {*weight_map.values()} - {own}:
        tensors = load_file(sharded / other)
        tensors[NORM] = np.full_like(load_file(sharded / own)[NORM], 9.0)
        save_file(tensors, sharded / other)
    assert loads_as_published(sharded)


def test_a_tensor_that_the_index_leaves_out_is_not_there(sharded):
    index = index_of(sharded)
    del index["weight_map"][NORM]
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"Missing: `model\.norm.*not in the index"):
        check_weights(sharded, read_config(sharded))


@pytest.mark.parametrize(
    "name", ["../x/model.safetensors", "/etc/model.safetensors", "a\\b.safetensors", ""]
)
def test_an_index_names_files_of_its_own_folder_only(name, sharded):
    index = index_of(sharded)
    index["weight_map"][NORM] = name
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match="no file name of a safetensors shard"):
        read_config(sharded)


def test_shards_may_be_called_as_they_like(sharded):
    index = index_of(sharded)
    for old in sorted(set(index["weight_map"].values())):
        new = old.replace("model-", "fp32+part ")
        (sharded / old).rename(sharded / new)
        for name, file in index["weight_map"].items():
            index["weight_map"][name] = new if file == old else file
    (sharded / INDEX).write_text(json.dumps(index))
    assert loads_as_published(sharded)


UNSUPPORTED = {
    "MixtralForCausalLM": "mixtral",
    "LlamaForTokenClassification": "llama",
    "LlamaModel": "llama",
    "Qwen2VLForConditionalGeneration": "qwen2_vl",
    "Gemma3ForSequenceClassification": "gemma3",
    "T5ForConditionalGeneration": "t5",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_architecture_is_called_so_before_all_else(name, folder):
    """Whatever else is wrong in the folder: here, nearly everything."""
    for file in folder.iterdir():
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    config = {"architectures": [name], "model_type": UNSUPPORTED[name], "auto_map": {}}
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "x"}))
    with pytest.raises(UserError, match=f"{name} .* is not supported") as error:
        read_config(folder)
    assert "LlamaForCausalLM, MistralForCausalLM" in str(error.value)


@pytest.mark.parametrize("key", ["quantization_config", "quantization"])
def test_quantised_weights_are_called_so(key, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: {"bits": 4}}))
    with pytest.raises(UserError, match=f"quantised .`{key}`"):
        read_config(folder)


def test_an_adapter_is_called_so(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UserError, match="an adapter .LoRA. and no model. Merge it"):
        check_weights(folder, read_config(folder))


def test_weights_of_another_name_are_told(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    with pytest.raises(UserError, match=r"no weights.*there is consolidated"):
        check_weights(folder, read_config(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(name, folder):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    told = f"{name}.*(is no regular file|a file is needed)"
    with pytest.raises(UserError, match=told):
        check_weights(folder, read_config(folder))


def test_links_are_followed_as_the_hubs_cache_has_them(folder, tmp_path):
    blob = tmp_path / "blob"
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)
    check_weights(folder, read_config(folder))


def test_what_is_not_supported_is_not_fetched(tmp_path, monkeypatch):
    config = tmp_path / "config.json"
    fetched = []

    def one(name, file):
        fetched.append(file)
        return str(config)

    def whole(name, allow_patterns):
        fetched.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", one)
    monkeypatch.setattr("huggingface_hub.snapshot_download", whole)
    config.write_text('{"architectures": ["FalconForCausalLM"], "model_type": "x"}')
    with pytest.raises(UserError, match="config.json of a/b: FalconForCausalLM"):
        resolve_model("a/b")
    assert fetched == ["config.json"]
    config.write_bytes((GOLDEN / "llama" / "config.json").read_bytes())
    assert resolve_model("a/b") == pathlib.Path(tmp_path)
    assert "*.safetensors" in fetched[-1]
