"""What is said of a save that fails, and who waits for one that does not."""

import errno
import json
import logging
import os
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.os_errors import exit_code_of, in_a_sentence, paragraph
from jaxalign.training import Checkpoints, chaos, make_mirrors
from jaxalign.training.checkpoints import orbax_store
from jaxalign.training.folder.own_files import finite, write_json_lines, write_text
from jaxalign.training.stopping.exits import CheckpointSaveError
from tests.training.short_run import STEP, go

STATE = {"x": jnp.asarray(np.random.default_rng(0).normal(size=(300, 300)))}


def full(path="x"):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def caused(error, by):
    error.__cause__ = by
    return error


FULL = {
    "by number": full(),
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "in a library's words": ValueError(
        "RESOURCE_EXHAUSTED: Failed to write 866923 bytes to file 17: No space left on "
        "device [os_error_code='28']"
    ),
    "in another's": RuntimeError("I/O error: No space left on device (os error 28)"),
    "as a cause": caused(RuntimeError("the save failed"), full()),
    "in a group": ExceptionGroup("several", [ValueError("a"), full()]),
}
OTHERS = [
    (ValueError("Checkpoint path should be absolute. Got runs/sft"), 76),
    (PermissionError(errno.EACCES, "Permission denied", "/runs/0.tmp"), 2),
    (OSError(errno.EROFS, "Read-only file system", "/runs"), 2),
    (OSError(errno.EIO, "Input/output error", "/runs/0.tmp/data.json"), 76),
    (OSError(errno.EMFILE, "Too many open files"), 76),
    (KeyError("arrays"), 76),
]


def failing_save(tmp_path, monkeypatch, error):
    def write(folder, arrays):
        raise error

    monkeypatch.setattr(orbax_store, "write_arrays", write)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, STATE)
    with pytest.raises(CheckpointSaveError) as caught:
        checkpoints.wait()
    assert not list((tmp_path / "checkpoints").iterdir())
    return caught.value


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_disk_is_told_with_what_to_do(tmp_path, monkeypatch, error):
    said = failing_save(tmp_path, monkeypatch, error)
    assert f"{tmp_path}/checkpoints/3.tmp was not written: the disk is full" in str(
        said
    )
    assert "MB are free; make room, or lower --keep-last" in str(said)
    assert exit_code_of(said) == 76
    assert exit_code_of(error) == 76
    assert "make room" in paragraph(error)


@pytest.mark.parametrize(("error", "code"), OTHERS, ids=[str(x) for x, _ in OTHERS])
def test_any_other_error_is_told_as_it_is_and_without_advice_about_disks(
    tmp_path, monkeypatch, error, code
):
    said = failing_save(tmp_path, monkeypatch, error)
    assert in_a_sentence(error) in str(said)
    assert str(error.args[-1]).splitlines()[0] in str(said)
    assert "room" not in str(said)
    assert "keep-last" not in str(said)
    assert exit_code_of(said) == code
    assert len(str(said).splitlines()) == 1


def test_a_bug_has_no_exit_code_and_keeps_its_trace():
    for error in (KeyError("x"), TypeError("y"), RuntimeError("z")):
        assert exit_code_of(error) is None
    assert exit_code_of(UserError("no space left on device")) == 2


@pytest.mark.skipif(not os.access("/", os.W_OK), reason="mounts a small disk as root")
def test_orbax_on_a_full_disk_leaves_no_trace_behind(tmp_path, monkeypatch, caplog):
    """A disk of 64 KB, filled by the save itself, as by a neighbour."""
    import ctypes

    disk = tmp_path / "disk"
    disk.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(disk), b"tmpfs", 0, b"size=64k"):
        pytest.skip(f"no disk can be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        checkpoints = Checkpoints(disk / "checkpoints")
        monkeypatch.setattr(checkpoints, "require_space", lambda needed: None)
        with caplog.at_level(logging.DEBUG):
            checkpoints.save(3, STATE)
            with pytest.raises(CheckpointSaveError, match="the disk is full"):
                checkpoints.wait()
        assert not [x for x in caplog.records if x.exc_info]
    finally:
        libc.umount2(bytes(disk), 2)


def test_an_error_that_ends_a_run_waits_for_the_save_in_the_background(
    tmp_path, monkeypatch, caplog
):
    faults = chaos.parse_faults("delay@manifest:2*1.5")
    monkeypatch.setattr(chaos, "faults", lambda: faults)
    monkeypatch.setattr(chaos, "_visits", chaos.collections.Counter())

    def step_fn(state, batch):
        if int(state.step) == 4:
            raise UserError("the reward failed")
        return STEP(state, batch)

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(UserError, match="the reward failed"):
        go(tmp_path, step_fn=step_fn, checkpoints=checkpoints, save_steps=4)
    assert checkpoints.latest() == 4
    assert {x.name for x in (tmp_path / "checkpoints").iterdir()} == {"0", "4"}
    # If that save fails too, the first error counts, and the other is told.
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults("enospc@save:4"))
    with pytest.raises(UserError, match="the reward failed"):
        go(tmp_path / "b", step_fn=step_fn, checkpoints=checkpoints, save_steps=4)
    assert "the disk is full" in caplog.text


def broken_wandb(error):
    wandb = types.ModuleType("wandb")

    def init(**about):
        raise error

    wandb.__dict__["init"] = init
    return wandb


@pytest.mark.parametrize(
    "error", [RuntimeError("no API key"), OSError(errno.EIO, "down"), SystemExit(1)]
)
def test_a_mirror_that_does_not_start_is_a_warning(
    tmp_path, monkeypatch, caplog, error
):
    monkeypatch.setitem(sys.modules, "wandb", broken_wandb(error))
    (tmp_path / "tensorboard").write_text("a file in its place")
    assert make_mirrors(("wandb", "tensorboard"), tmp_path, "run", {}) == []
    assert "wandb does not start and gets no metrics" in caplog.text
    assert "tensorboard does not start" in caplog.text


def test_a_mirror_whose_own_imports_are_broken_is_a_warning(tmp_path, monkeypatch):
    broken = ModuleNotFoundError("No module named 'protobuf'", name="protobuf")
    monkeypatch.setitem(sys.modules, "wandb", broken_wandb(broken))
    assert make_mirrors(("wandb",), tmp_path, "run", {}) == []


def test_lines_of_completions_are_json(tmp_path):
    """No bare NaN, and what no encoding has as JSON writes it."""
    file = tmp_path / "completions" / "step_000001.jsonl"
    numbers = [0.5, np.float32("nan"), np.inf, -np.inf, np.float64(2)]
    text = "½ \u2028 \ud83d and \udfff"
    write_json_lines(file, [{"text": text, "reward": finite(x)} for x in numbers])

    def refuse(name):
        raise AssertionError(name)

    raw = file.read_bytes().decode("utf-8")
    rows = [json.loads(x, parse_constant=refuse) for x in raw.split("\n")[:-1]]
    assert [x["reward"] for x in rows] == [0.5, None, None, None, 2.0]
    assert all(x["text"] == text for x in rows)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_lines(file, [{"reward": float("nan")}])


def test_a_file_in_the_way_of_a_folder_is_set_aside(tmp_path, caplog):
    (tmp_path / "completions").write_text("mine")
    write_text(tmp_path / "completions" / "a.jsonl", "x")
    assert (tmp_path / "completions.set-aside").read_text() == "mine"
    assert "completions is now called completions.set-aside" in caplog.text
