"""One run per folder, with the settings it was started with."""

import json
import os
import socket
import subprocess
import sys

import pytest

from jaxalign.errors import UserError
from jaxalign.training import RunFolder, chaos
from jaxalign.training.folder.run_folder import check_run_folder

CONFIG = {"beta": 0.1, "optimizer": {"learning_rate": 1e-5, "b1": None}, "data": ["a"]}
PRINTS = {"tokenizer": "t1", "data": "d1"}


def run(path, config=CONFIG, fingerprints=PRINTS, **options):
    return RunFolder(path, config=config, fingerprints=fingerprints, **options)


def starts(path):
    return json.loads((path / "run.json").read_text())["starts"]


def test_a_new_run_is_recorded(tmp_path):
    with run(tmp_path / "run") as held:
        assert not held.resumes
        held.started(0)
        held.finished(7, 75)
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == CONFIG
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["packages"]["jax"]
    assert versions["devices"] == {
        "platform": "cpu",
        "kind": "cpu",
        "count": 8,
        "processes": 1,
    }
    (start,) = starts(tmp_path / "run")
    assert (start["start_step"], start["stop_step"], start["exit_code"]) == (0, 7, 75)
    assert (start["argv"], start["fingerprints"]) == (sys.argv, PRINTS)


def test_how_a_run_ended_is_recorded(tmp_path):
    for error, code in [
        (UserError("x"), 2),
        (RuntimeError("x"), 1),
        (SystemExit(3), 3),
    ]:
        with pytest.raises(type(error)), run(tmp_path):
            raise error
        assert starts(tmp_path)[-1]["exit_code"] == code


def test_resume_goes_on_never_refuses_and_a_number_picks(tmp_path):
    with run(tmp_path):
        pass
    with run(tmp_path) as held:
        assert (held.resumes, held.resume_step) == (True, None)
    with run(tmp_path, resume="40") as held:
        assert (held.resumes, held.resume_step) == (True, 40)
    with (
        pytest.raises(UserError, match="holds a run already"),
        run(tmp_path, resume="never"),
    ):
        pass
    with pytest.raises(UserError, match="got 'yes'"), run(tmp_path, resume="yes"):
        pass
    with (
        pytest.raises(UserError, match="no run to resume at step 40"),
        run(tmp_path / "new", resume="40"),
    ):
        pass
    assert len(starts(tmp_path)) == 3


def test_a_folder_of_other_things_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"no run \(thesis.tex\)"), run(tmp_path):
        pass
    with pytest.raises(UserError, match="must be on a mounted disk"), run("gs://b/run"):
        pass


def test_a_folder_that_cannot_be_is_known_before_and_made_by_nobody(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("thesis.tex", "nowhere"):
        for path in (tmp_path / name, tmp_path / name / "a" / "b"):
            wanted = rf"{path} cannot be made: {tmp_path / name} is no folder"
            with pytest.raises(UserError, match=wanted):
                check_run_folder(path, "auto")
            with pytest.raises(UserError, match=wanted), run(path):
                pass
    check_run_folder(tmp_path / "a" / "b", "7")
    assert {x.name for x in tmp_path.iterdir()} == {"thesis.tex", "nowhere"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_where_nothing_may_be_written_is_known_before(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=f"nothing may be written in {tmp_path}"):
        check_run_folder(tmp_path / "run", "auto")


def test_changed_settings_are_refused_field_by_field(tmp_path):
    with run(tmp_path):
        pass
    config = CONFIG | {"beta": 0.5, "optimizer": {"learning_rate": 1e-4, "b1": None}}
    prints = PRINTS | {"tokenizer": "t2", "reward:my-model": "r1"}
    with (
        pytest.raises(
            UserError,
            match="beta was 0.1, is 0.5; fingerprints.reward:my-model was None, is "
            "'r1'; fingerprints.tokenizer was 't1', is 't2'; optimizer.learning_rate "
            "was 1e-05, is 0.0001.*--allow-change beta",
        ),
        run(tmp_path, config, prints),
    ):
        pass
    with (
        pytest.raises(UserError, match="settings: fingerprints.reward"),
        run(tmp_path, config, prints, allow_change=("beta", "optimizer.learning-rate")),
    ):
        pass
    allowed = ("beta", "optimizer", "tokenizer", "reward:my-model")
    with run(tmp_path, config, prints, allow_change=allowed):
        pass
    assert starts(tmp_path)[-1]["changes"]["beta"] == [0.1, 0.5]
    with run(tmp_path, config, prints):  # they are the settings from now on
        pass
    with run(tmp_path, config | {"beta": 0.7}, prints, free=("beta",)):
        pass


def test_the_second_run_in_a_folder_is_refused(tmp_path):
    script = "import sys; print('here', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        lock(tmp_path, pid=other.pid)
        message = f"in use by process {other.pid} on {socket.gethostname()}"
        with pytest.raises(UserError, match=message), run(tmp_path):
            pass
        other.communicate(b"")
    # It has ended, and left its lock: a killed run.
    with run(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == ""


def lock(folder, pid, host=None):
    """The lock of another process, written as that process would."""
    with open(f"/proc/{pid}/stat") as file:
        started = file.read().rpartition(")")[2].split()[19]
    held = {
        "host": host or socket.gethostname(),
        "pid": pid,
        "process_start": started,
        "time": "2030-01-01T00:00:00",
    }
    (folder / ".lock").write_text(json.dumps(held))


def test_the_same_process_cannot_hold_it_twice(tmp_path):
    with run(tmp_path), pytest.raises(UserError, match="in use"), run(tmp_path):
        pass


def test_a_pid_that_was_given_to_somebody_else_is_no_holder(tmp_path, caplog):
    lock(tmp_path, os.getpid())
    text = (tmp_path / ".lock").read_text()
    other = json.loads(text) | {"process_start": "1"}
    (tmp_path / ".lock").write_text(json.dumps(other))
    with run(tmp_path):
        assert "is taken over" in caplog.text


def test_a_lock_of_another_host_or_without_a_name_holds(tmp_path):
    lock(tmp_path, os.getpid(), host="elsewhere")
    with (
        pytest.raises(UserError, match="on elsewhere, since 2030.*delete"),
        run(tmp_path),
    ):
        pass
    (tmp_path / ".lock").write_text("???")
    with pytest.raises(UserError, match="somebody who left no name"), run(tmp_path):
        pass


def test_a_damaged_config_is_an_error_that_names_it(tmp_path):
    with run(tmp_path):
        pass
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json cannot be used"), run(tmp_path):
        pass


def test_a_run_with_faults_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults("kill@step:7"))
    with run(tmp_path):
        pass
    assert "kill" in starts(tmp_path)[0]["chaos"][0]


@pytest.mark.parametrize(
    "text", ["kill", "kill@nowhere", "burn@step", "kill@step:x", "kill@step*2*3"]
)
def test_unknown_faults_are_refused(text):
    with pytest.raises(UserError, match="is not action@phase"):
        chaos.parse_faults(f"kill@step:7;{text}")


def test_no_fault_without_the_mark_of_a_test(monkeypatch):
    monkeypatch.setenv("JAXALIGN_CHAOS", "raise@step")
    chaos.faults.cache_clear()
    chaos.at("step", 1)
    monkeypatch.setenv("JAXALIGN_TEST_RUN", "1")
    chaos.faults.cache_clear()
    with pytest.raises(RuntimeError, match="raise@step"):
        chaos.at("step", 1)
    chaos.faults.cache_clear()
