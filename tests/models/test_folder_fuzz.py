"""Texts and headers of a model folder, changed in many ways: read, or a sentence."""

import json
import shutil

import pytest
from safetensors.numpy import load_file

from jaxalign.errors import UserError
from jaxalign.models import read_config
from jaxalign.models.folder.safetensors_folder import SafetensorsFolder
from jaxalign.models.hf.families import model_config
from jaxalign.models.hf.fields import Fields
from jaxalign.models.rope import inverse_frequencies
from tests.models.cases import CASES, GOLDEN
from tests.models.test_multimodal import GOLDEN as MULTIMODAL
from tests.mutants import (
    WRONG_TEXTS,
    as_json,
    changed,
    header_of,
    is_one_paragraph,
    refused_in_a_sentence,
    with_header,
)

INDEX = "model.safetensors.index.json"
FOLDERS = {name: GOLDEN / name for name in CASES} | {"gemma3": MULTIMODAL}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_key_of_a_config(name):
    data = json.loads((FOLDERS[name] / "config.json").read_text())
    tried = 0
    for what, wrong in changed(data):
        tried += 1
        with refused_in_a_sentence(f"{name}: {what}"):
            config = model_config(Fields(wrong, "config.json"))
            for rope in {r for r in config.ropes if r}:
                inverse_frequencies(rope, config.rotary_dim)
    assert tried > 300


@pytest.mark.parametrize("what", WRONG_TEXTS)
def test_a_config_that_is_something_else(what, tmp_path):
    (tmp_path / "config.json").write_bytes(WRONG_TEXTS[what])
    with pytest.raises(UserError, match=r"config\.json") as error:
        read_config(tmp_path)
    assert is_one_paragraph(str(error.value))


@pytest.fixture
def sharded(tmp_path):
    return shutil.copytree(GOLDEN / "gemma2", tmp_path / "gemma2")


def test_an_index_that_is_something_else(sharded):
    file = sharded / INDEX
    good = json.loads(file.read_text())
    names = list(good["weight_map"])
    small = {**good, "weight_map": {k: good["weight_map"][k] for k in names[:2]}}
    for what, wrong in changed(small):
        file.write_bytes(as_json(wrong))
        with refused_in_a_sentence(what):
            SafetensorsFolder(sharded)
    for what, text in WRONG_TEXTS.items():
        file.write_bytes(text)
        with pytest.raises(UserError, match=INDEX.replace(".", r"\.")) as error:
            SafetensorsFolder(sharded)
        assert is_one_paragraph(str(error.value)), what


def test_headers_that_lie(tmp_path):
    folder = shutil.copytree(GOLDEN / "llama", tmp_path / "llama")
    file = folder / "model.safetensors"
    good = file.read_bytes()
    header = header_of(good)
    names = [name for name in header if name != "__metadata__"][:2]
    wrong = {"empty": b"", "seven bytes": good[:7], "no tensors": good[:8] + b"{}"}
    for cut in (8, 9, 100, len(good) // 2, len(good) - 1):
        wrong[f"cut at {cut}"] = good[:cut]
    for length in (0, 1, 2**31, 2**63, 2**64 - 1):
        wrong[f"header of {length}"] = with_header(good, header, length=length)
    for what, text in WRONG_TEXTS.items():
        wrong[f"header is {what}"] = with_header(good, text)
    small = {name: header[name] for name in names}
    for what, data in changed(small):
        wrong[what] = with_header(good, {**header, **data})
    overlap = {**header[names[0]], "data_offsets": header[names[1]]["data_offsets"]}
    wrong["overlap"] = with_header(good, {**header, names[0]: overlap})
    for what, data in wrong.items():
        file.write_bytes(data)
        with refused_in_a_sentence(what):
            source = SafetensorsFolder(folder)
            for name in source.names:
                source.check_float(name)
                source.shape(name)
    file.write_bytes(wrong["overlap"])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        SafetensorsFolder(folder)
    file.write_bytes(good)
    assert SafetensorsFolder(folder).names == load_file(file).keys()
