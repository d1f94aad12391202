"""Whatever has become of the files of a run, they are passed over or named."""

import contextlib
import json
import os
import pathlib
import shutil
import socket

import jax
import jax.numpy as jnp
import pytest

from jaxalign.errors import UserError
from jaxalign.os_errors import exit_code_of, paragraph
from jaxalign.training import (
    Checkpoints,
    MetricsLog,
    RunFolder,
    read_metrics,
    restore_or_start,
)
from jaxalign.training.checkpoints import manifest

CONFIG = {"beta": 0.1, "data": "rows.jsonl"}
PRINTS = {"data": "d1", "model": "m1"}
STATE = {"x": jnp.zeros((4,)), "step": jnp.zeros((), jnp.int32)}


def start(folder, config=CONFIG, prints=PRINTS):
    """A start of the run as a recipe makes it; the step that it goes on from."""
    with RunFolder(folder, config=config, fingerprints=prints) as run:
        metrics = MetricsLog(folder / "metrics.jsonl")
        checkpoints = Checkpoints(
            folder / "checkpoints",
            about={"config": config, "fingerprints": prints, "place": os.getcwd()},
        )
        _, host = restore_or_start(run, checkpoints, metrics, STATE)
        if host is None:
            for step in (2, 4):
                host = {"window": {}, "skipped_steps": 0}
                checkpoints.save(step, STATE, data={"position": step}, host=host)
                metrics.write(step, "train", {"loss": 1 / step})
            checkpoints.wait()
        run.finished(4, 75)
        return run.start_step


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    start(folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "run")


def a_folder(path):
    path.mkdir()
    (path / "inside").write_text("x")


def a_loop(path):
    path.symlink_to(path.name)


def to_nothing(path):
    path.symlink_to("nowhere/at/all")


def a_pipe(path):
    os.mkfifo(path)


def a_device(path):
    path.symlink_to("/dev/zero")


def a_socket(path):
    # The name of a socket is short: about a hundred characters.
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
        one.bind(path.name)


def huge(path):
    with path.open("wb") as file:
        file.truncate(200 << 20)


def holding(text):
    def write(path):
        path.write_bytes(text)

    return write


IN_THE_WAY = [a_folder, a_loop, to_nothing, a_pipe, a_device, a_socket]
CONTENTS = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "number": b"17",
    "no keys": b"{}",
    "cut": b'{"starts": [',
    "binary": b"\x00\xff\xfe\x93NUMPY",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "other kinds": b'{"starts": {"1": 2}, "fingerprints": [], "split": 3}',
    "NaN": b'{"starts": NaN, "step": NaN}',
}
DAMAGES = [
    *(pytest.param(x, id=x.__name__) for x in [*IN_THE_WAY, huge]),
    *(pytest.param(holding(v), id=k) for k, v in CONTENTS.items()),
]


def replaced(path, damage):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    damage(path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_record_of_starts(folder, damage, caplog):
    """It is passed over: settings and data are compared with the checkpoints'."""
    replaced(folder / "run.json", damage)
    assert start(folder) == 4
    assert f"{folder / 'run.json'} is passed over" in caplog.text
    assert len(json.loads((folder / "run.json").read_text())["starts"]) == 1
    replaced(folder / "run.json", damage)
    with pytest.raises(UserError, match=r"fingerprints.data was 'd1', is 'd2'"):
        start(folder, prints=PRINTS | {"data": "d2"})


OBJECTS = ("other kinds", "NaN")
"""What could be settings, for all that anybody knows."""


@pytest.mark.parametrize("damage", [x for x in DAMAGES if x.id not in OBJECTS])
def test_the_settings(folder, damage, caplog):
    """They are taken from the newest checkpoint."""
    replaced(folder / "config.json", damage)
    assert start(folder) == 4
    assert f"{folder / 'config.json'} is passed over" in caplog.text
    assert json.loads((folder / "config.json").read_text()) == CONFIG
    replaced(folder / "config.json", damage)
    with pytest.raises(UserError, match=r"beta was 0.1, is 0.5"):
        start(folder, config=CONFIG | {"beta": 0.5})


@pytest.mark.parametrize("name", OBJECTS)
def test_settings_that_are_others_are_refused_by_name(folder, name):
    (folder / "config.json").write_bytes(CONTENTS[name])
    with pytest.raises(UserError, match=r"beta was None, is 0.1"):
        start(folder)


def test_settings_that_no_checkpoint_knows_are_named(folder):
    shutil.rmtree(folder / "checkpoints")
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config.json cannot be used: it holds a list"):
        start(folder)


@pytest.mark.parametrize(
    "damage", [x for x in DAMAGES if x.id not in ("empty", "huge")]
)
def test_the_lock(folder, damage):
    """Nobody knows who holds it: it is named, and how to get on."""
    replaced(folder / ".lock", damage)
    with pytest.raises(UserError, match=r"\.lock"):
        start(folder)


@pytest.mark.parametrize(
    "held",
    [
        {"host": socket.gethostname(), "pid": "1", "time": "x"},
        {"host": socket.gethostname(), "pid": -1, "time": "x"},
        {"host": ["h"], "pid": 1},
        {"pid": {}},
    ],
)
def test_a_lock_that_names_no_process(folder, held):
    (folder / ".lock").write_text(json.dumps(held))
    with pytest.raises(UserError, match="somebody who left no name"):
        start(folder)


def test_a_lock_after_a_power_cut(folder):
    (folder / ".lock").write_bytes(bytes(100))
    assert start(folder) == 4


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_metrics(folder, damage, caplog):
    """They are set aside, and the run goes on with new ones."""
    path = folder / "metrics.jsonl"
    replaced(path, damage)
    assert start(folder) == 4
    log = MetricsLog(path)
    log.write(5, "train", {"loss": 0.5})
    assert [x["step"] for x in read_metrics(path)] == [5]
    assert path.is_file()


def test_damaged_lines_of_the_metrics_are_left_out_and_kept(folder, caplog):
    path = folder / "metrics.jsonl"
    good = path.read_text().splitlines()
    bad = [
        '{"step": "2", "split": "train"}',
        "[]",
        '{"step": 3}',
        "\x00\x00",
        "[" * 9999,
    ]
    before = "\n".join(
        [good[0], *bad, good[1], '{"step": 9, "split": "train"}', '{"st']
    )
    path.write_text(before)
    assert start(folder) == 4
    assert path.read_text().splitlines() == good
    assert (folder / "metrics.jsonl.set-aside").read_text() == before
    assert "5 of its lines are damaged" in caplog.text


@pytest.mark.parametrize("damage", IN_THE_WAY)
def test_the_times(folder, damage):
    from jaxalign.training.folder.own_files import append_line

    replaced(folder / "timing.jsonl", damage)
    append_line(folder / "timing.jsonl", {"step": 1})
    assert (folder / "timing.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("name", ["versions.json", "run.json.tmp", "config.json.tmp"])
@pytest.mark.parametrize("damage", IN_THE_WAY)
def test_what_is_only_written(folder, name, damage):
    replaced(folder / name, damage)
    assert start(folder) == 4
    assert not os.path.lexists(folder / "config.json.tmp")


@pytest.mark.parametrize("damage", [*IN_THE_WAY[1:], holding(b"x")])
def test_something_else_in_place_of_all_checkpoints_is_named(folder, damage):
    """Beginning again from step 0 would be silent, and wrong."""
    replaced(folder / "checkpoints", damage)
    with pytest.raises(UserError, match=r"checkpoints is no folder"):
        start(folder)


def test_checkpoints_may_be_a_link_to_another_disk(folder, tmp_path):
    shutil.move(folder / "checkpoints", tmp_path / "elsewhere")
    (folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    assert start(folder) == 4


@pytest.mark.parametrize("name", ["MANIFEST.json", "host.json", "data.json", "arrays"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_the_newest_checkpoint(folder, name, damage, caplog):
    replaced(folder / "checkpoints" / "4" / name, damage)
    assert start(folder) == 2
    assert f"{folder / 'checkpoints' / '4'} is passed over" in caplog.text


@pytest.mark.parametrize("damage", [*IN_THE_WAY, holding(b"x")])
@pytest.mark.parametrize("name", ["6.tmp", "4.set-aside", "6", "6.set-aside"])
def test_what_lies_where_a_checkpoint_will_be(folder, name, damage):
    (folder / "checkpoints" / "4" / "host.json").write_text("damaged")
    if name != "6" or damage is not a_folder:
        replaced(folder / "checkpoints" / name, damage)
    assert start(folder) == 2
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(6, STATE)
    checkpoints.wait()
    assert checkpoints.latest() == 6


WRONG_ENTRIES = {
    "files/data.json": [None, 3, [], {"size": "2", "sha256": ""}, {"size": 2}],
    "leaves/x": [None, [], {"shape": 4, "dtype": "f", "sha256": ""}, {"shape": [-1]}],
    "metrics/loss": ["low", None, [1.0], True],
    "files": [None, [], "x"],
    "leaves": [None, 3],
    "metrics": [[], "x"],
    "step": [None, "4", 4.5, [4]],
    "format": [None, "1", {}],
}


@pytest.mark.parametrize(
    ("place", "entry"), [(k, v) for k, values in WRONG_ENTRIES.items() for v in values]
)
def test_an_entry_of_another_type_in_a_sealed_manifest(folder, place, entry, caplog):
    step = folder / "checkpoints" / "4"
    body = manifest.read_manifest(step)
    *table, name = place.split("/")
    (body[table[0]] if table else body)[name] = entry
    (step / "MANIFEST.json").write_bytes(manifest._sealed(body))
    assert start(folder) == 2
    assert f"{step} is passed over" in caplog.text


@pytest.mark.parametrize("name", ["../2/data.json", "/etc/hostname", "a/../../x", ""])
def test_a_manifest_that_names_a_file_elsewhere_is_refused_before_it_is_read(
    folder, name, caplog
):
    step = folder / "checkpoints" / "4"
    body = manifest.read_manifest(step)
    file = step / name
    size = file.stat().st_size if file.is_file() else 0
    body["files"][name] = {"size": size, "sha256": "0" * 64}
    manifest.write_manifest(step, body)
    assert start(folder) == 2
    assert f"MANIFEST.json names a file elsewhere: '{name}'" in caplog.text


@pytest.mark.parametrize(
    "host", [{"window": [1]}, {"window": {"loss": 3}}, {"skipped_steps": "many"}]
)
def test_a_host_part_of_other_kinds_is_named(folder, host):
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(8, STATE, host=host)
    checkpoints.wait()
    with pytest.raises(UserError, match=r"checkpoints/8 cannot be used: its host.json"):
        start(folder)


def test_a_start_that_was_killed_between_two_records_is_no_foreign_folder(tmp_path):
    for name in ("run.json", "versions.json.tmp", ".DS_Store"):
        (tmp_path / name).write_text("{}")
    assert start(tmp_path) == 0


def test_a_moved_run_goes_on(folder, tmp_path, monkeypatch):
    """Paths are absolute in the settings; a copy of all of it is started alike."""
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
    configs = [{"data": f"{x}/rows.jsonl:0.5", "beta": 1} for x in places]
    prints = [{f"reward:{x}/score.py": "r"} for x in places]
    monkeypatch.chdir(places[0])
    start(places[0] / "run", configs[0], prints[0])
    shutil.move(places[0] / "run", places[1] / "run")
    with pytest.raises(UserError, match="data was"):
        start(places[1] / "run", configs[1], prints[1])
    monkeypatch.chdir(places[1])
    assert start(places[1] / "run", configs[1], prints[1]) == 4
    monkeypatch.chdir(tmp_path)
    assert start(places[1] / "run", configs[1], prints[1]) == 4


def test_the_folder_itself_in_the_way(tmp_path):
    for damage in [*IN_THE_WAY[1:], holding(b"x")]:
        path = tmp_path / damage.__name__
        os.chdir(tmp_path)
        damage(path)
        with pytest.raises((UserError, OSError)) as caught:
            start(path / "run" if damage is a_pipe else path)
        assert exit_code_of(caught.value) == 2
        assert str(path) in paragraph(caught.value)


def test_a_relative_folder_is_absolute_from_the_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start(pathlib.Path("runs/one"))
    run = RunFolder("runs/one", config=CONFIG)
    checkpoints = Checkpoints("runs/one/checkpoints")
    monkeypatch.chdir("/")
    assert run.path == tmp_path / "runs" / "one"
    assert checkpoints.latest() == 4
    jax.block_until_ready(STATE)
