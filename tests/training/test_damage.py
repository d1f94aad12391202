"""Whatever happens to the files of a checkpoint, it is noticed, and the last good
one is used."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.training import Checkpoints
from jaxalign.training.checkpoints import manifest

STATE = {"x": jnp.zeros((64, 32)), "step": jnp.zeros((), jnp.int32)}


def values(step):
    rng = np.random.default_rng(step)
    x = jnp.asarray(rng.normal(size=(64, 32)), jnp.float32)
    return {"x": x, "step": jnp.asarray(step, jnp.int32)}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(folder)
    for step in (4, 8):
        checkpoints.save(step, values(step), data={"position": step}, host={"a": 1.5})
    checkpoints.wait()
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "checkpoints")


def files(folder):
    return sorted(p for p in (folder / "8").rglob("*") if p.is_file())


def assert_falls_back(folder, caplog, reason=""):
    """Step 8 is passed over with a message, and step 4 comes back whole."""
    caplog.clear()
    found = Checkpoints(folder).restore(STATE)
    assert found is not None
    assert found.step == 4
    assert (
        np.asarray(found.state["x"]).tobytes() == np.asarray(values(4)["x"]).tobytes()
    )
    assert f"{folder / '8'} is passed over" in caplog.text
    assert reason in caplog.text


def flipped(path, offset, bit):
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1 << bit
    path.write_bytes(raw)


def test_the_undamaged_one_is_used(folder, caplog):
    found = Checkpoints(folder).restore(STATE)
    assert found is not None
    assert found.step == 8
    assert not caplog.text


@pytest.mark.parametrize("flips", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_file(folder, caplog, flips):
    rng = np.random.default_rng(0)
    for path in files(folder):
        original = path.read_bytes()
        for _ in range(flips if original else 0):
            flipped(path, rng.integers(len(original)), rng.integers(8))
            assert Checkpoints(folder).latest() == 4, path
            path.write_bytes(original)
    assert Checkpoints(folder).latest() == 8
    data = max(files(folder), key=lambda p: p.stat().st_size)
    flipped(data, data.stat().st_size // 2, 3)
    assert_falls_back(folder, caplog, "is damaged: its sha256 differs")


def test_without_the_digests_a_flipped_bit_would_be_loaded(folder):
    """Why there are digests at all: Orbax and its file format do not notice."""
    data = max(files(folder), key=lambda p: p.stat().st_size)
    size = data.stat().st_size
    wrong = 0
    for offset in range(size // 4, 3 * size // 4, size // 7):
        flipped(data, offset, 5)
        try:
            found = Checkpoints(folder).restore(STATE, step=8, verify="off")
        except UserError:
            continue
        finally:
            flipped(data, offset, 5)
        assert found is not None
        wrong += bool(
            np.any(np.asarray(found.state["x"]) != np.asarray(values(8)["x"]))
        )
    assert wrong > 0


def test_a_truncated_or_missing_file(folder, caplog):
    for path in files(folder):
        original = path.read_bytes()
        if original:
            path.write_bytes(original[:-1])
            assert Checkpoints(folder).latest() == 4, path
        path.unlink()
        assert Checkpoints(folder).latest() == 4, path
        path.write_bytes(original)
    (folder / "8" / "host.json").unlink()
    assert_falls_back(folder, caplog, "host.json")


def test_strict_makes_damage_an_error(folder):
    (folder / "8" / "data.json").write_text("{}")
    with pytest.raises(UserError, match=r"8 cannot be used: data.json has 2 bytes"):
        Checkpoints(folder).restore(STATE, strict=True)


def test_when_none_verifies_nothing_is_made_up(folder):
    for step in ("4", "8"):
        (folder / step / "data.json").write_text("{}")
    with pytest.raises(UserError, match=r"none of the checkpoints \[4, 8\]"):
        Checkpoints(folder).restore(STATE)


GARBAGE = {
    "empty": b"",
    "not json": b"\x00\xff\xfe{",
    "a list": b"[1, 2]",
    "another object": b'{"step": 8}',
    "deep": b"[" * 100_000,
    "seal without a body": json.dumps({"sha256": "0" * 64}).encode(),
    "cut": b'{"about": {}, "files": {"da',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_garbage_manifest(folder, caplog, content):
    (folder / "8" / manifest.NAME).write_bytes(content)
    assert_falls_back(folder, caplog)


def test_a_changed_number_in_the_manifest(folder, caplog):
    """Well-formed, but no longer what was written: the seal tells."""
    path = folder / "8" / manifest.NAME
    path.write_text(path.read_text().replace('"step": 8', '"step": 9'))
    assert_falls_back(folder, caplog, "its own digest differs")


def test_a_manifest_of_another_step(folder, caplog):
    shutil.rmtree(folder / "8")
    shutil.copytree(folder / "4", folder / "8")
    assert_falls_back(folder, caplog, "its manifest is that of step 4")


def test_a_manifest_of_a_later_format(folder, caplog, monkeypatch):
    body = manifest.read_manifest(folder / "8")
    monkeypatch.setattr(manifest, "FORMAT", 2)
    manifest.write_manifest(folder / "8", body | {"format": 2})
    monkeypatch.undo()
    assert_falls_back(folder, caplog, "has format 2, this version reads 1")


@pytest.mark.parametrize("name", ["../4/data.json", "/etc/hostname", "a/../data.json"])
def test_a_manifest_cannot_name_files_elsewhere(folder, caplog, name):
    body = manifest.read_manifest(folder / "8")
    body["files"][name] = {"size": 1, "sha256": "0"}
    manifest.write_manifest(folder / "8", body)
    assert_falls_back(folder, caplog, name)


def test_links_are_not_followed(folder, caplog):
    (folder / "8" / "data.json").unlink()
    (folder / "8" / "data.json").symlink_to(folder / "4" / "data.json")
    assert_falls_back(folder, caplog, "by a link")
    (folder / "8" / "data.json").unlink()
    (folder / "8" / "data.json").symlink_to("data.json")
    assert_falls_back(folder, caplog, "data.json")


def test_names_that_are_no_steps_are_not_looked_at(folder):
    for name in ("-1", "0009", "9.tmp", "+9", "9_0", "٩", "1e3", "9.orbax-tmp"):
        (folder / name).mkdir()
    (folder / "99").write_text("a file")
    (folder / "100").symlink_to(folder / "8")
    (folder / "101").symlink_to(folder / "101")
    os.makedirs(folder / "10")  # an empty step
    checkpoints = Checkpoints(folder)
    assert checkpoints.steps() == [4, 8, 10]
    assert checkpoints.latest() == 8
    checkpoints.begin_at(8)
    assert (folder / "-1").is_dir()
    assert (folder / "8").is_dir()
    assert not (folder / "9.tmp").exists()


def test_stray_files_do_no_harm(folder, caplog):
    (folder / "README").write_text("mine")
    (folder / "8" / ".DS_Store").write_text("x")
    (folder / "8" / "arrays" / "stray").write_text("x")
    found = Checkpoints(folder).restore(STATE)
    assert found is not None
    assert found.step == 8
    jax.block_until_ready(found.state)
    assert not caplog.text
