"""A run goes on without us, tells of its restarts, and leaves its exit code."""

import time

import pytest

from tests.tpu_setup.conftest import AT, LISTS, SETUP

PYTHON = """#!/usr/bin/env bash
# Plays `jaxalign/.venv/bin/python -m jaxalign`: notes its arguments, then does as told.
echo "printed $# words"
for word in "$@"; do printf '%s\\n' "$word"; done >"$HOME/argv"
echo "${LD_PRELOAD-none} ${WANDB_MODE-none}" >"$HOME/environment"
folder=$(dirname "$5")
mkdir -p "$folder/out"
# Before it is seen that it has started: it may be asked to stop from then on.
[[ ! -e $HOME/sleeps ]] || trap 'exit 75' TERM
echo x >>"$folder/out/starts"
if [[ -e $HOME/sleeps ]]; then
  while [[ -e $HOME/sleeps ]]; do sleep 0.1; done
fi
code=$(head -n 1 "$HOME/codes")
sed -i 1d "$HOME/codes"
exit "${code:-0}"
"""


@pytest.fixture
def host(cloud):
    """A VM that is ready, with a library that does as told."""
    cloud.add_node("box")
    (cloud.home / "jaxalign/.venv/bin").mkdir(parents=True)
    (cloud.home / "jaxalign/tpu_setup").symlink_to(SETUP)
    python = cloud.home / "jaxalign/.venv/bin/python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (cloud.home / "codes").touch()
    (cloud.root / "my dpo.yaml").write_text("beta: 0.1\n")
    yield cloud
    (cloud.home / "sleeps").unlink(missing_ok=True)  # nothing goes on after a test


def folder(host, run="first"):
    return host.home / "jaxalign-runs" / run


def wait_for(path, seconds=30):
    limit = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < limit, f"{path.name} did not come"
        time.sleep(0.05)
    return path.read_text()


def launch(host, *words, codes=(), config="my dpo.yaml"):
    (host.home / "codes").write_text("".join(f"{code}\n" for code in codes))
    return host.run("run.sh", "dpo", config, "--run-id", "first", *words)


def test_the_command_on_the_vm(host):
    odd = ["--beta", "0.2", "--note", "it's $HOME; *", "--dry-run"]
    done = launch(host, "--", *odd)
    assert done.returncode == 0, done.stderr
    assert wait_for(folder(host) / "exit_code") == "0\n"
    run = "jaxalign-runs/first"
    assert (host.home / "argv").read_text().splitlines() == [
        *["-m", "jaxalign", "dpo", "--config", f"{run}/config.yaml"],
        *["--output-dir", f"{run}/out", *odd],
    ]
    assert (folder(host) / "config.yaml").read_text() == "beta: 0.1\n"
    assert (host.home / "environment").read_text() == "none disabled\n"
    ssh = ["compute", "tpus", "tpu-vm", "ssh", "box", *AT, "--worker=0"]
    ssh += ["--ssh-flag=-o ServerAliveInterval=30"]
    scp = ["compute", "tpus", "tpu-vm", "scp", "my dpo.yaml"]
    calls = host.calls
    assert calls[:2] == LISTS
    assert calls[2] == [*ssh, "--command=mkdir -p jaxalign-runs"]
    assert calls[3] == [*scp, f"box:{run}.yaml", *AT, "--worker=0"]
    assert calls[4][:-1] == ssh


def test_exit_75_restarts_and_is_told(host):
    assert launch(host, codes=[75, 75, 0]).returncode == 0
    assert wait_for(folder(host) / "exit_code") == "0\n"
    log = (folder(host) / "run.log").read_text()
    for n in (1, 2):
        assert f"Exit code 75, stopped on request: restart {n} of at most 20." in log
    assert (folder(host) / "restarts").read_text() == "2\n"
    assert (folder(host) / "out/starts").read_text() == "x\n" * 3
    done = host.run("run.sh", "--status", "first")
    assert done.stdout == "first: ended with exit code 0, 2 restarts\n"


def test_no_other_code_restarts(host):
    launch(host, codes=[76])
    assert wait_for(folder(host) / "exit_code") == "76\n"
    assert (folder(host) / "out/starts").read_text() == "x\n"


def test_restarts_have_an_end(host):
    launch(host, "--max-restarts", "1", codes=[75, 75, 75])
    assert wait_for(folder(host) / "exit_code") == "75\n"
    assert (folder(host) / "out/starts").read_text() == "x\n" * 2
    assert "--max-restarts is reached" in (folder(host) / "run.log").read_text()


def test_stop_is_no_restart_and_one_run_at_a_time(host):
    (host.home / "sleeps").touch()
    assert launch(host).returncode == 0
    wait_for(folder(host) / "out/starts")
    (host.root / "my dpo.yaml").write_text("beta: 9\n")
    assert "first is running" in launch(host).stderr
    assert (folder(host) / "config.yaml").read_text() == "beta: 0.1\n"
    second = host.run("run.sh", "sft", "my dpo.yaml", "--run-id", "second")
    assert second.returncode == 2
    assert "first is running" in second.stderr
    assert host.run("run.sh", "--status", "first").stdout == "first: running\n"
    done = host.run("run.sh", "--stop", "first")
    assert done.returncode == 0, done.stderr
    assert wait_for(folder(host) / "exit_code") == "75\n"
    assert (folder(host) / "out/starts").read_text() == "x\n"
    assert host.run("run.sh", "--stop", "first").returncode == 2
    (host.home / "sleeps").unlink()
    assert host.bash("flock ~/jaxalign-runs/lock true").returncode == 0
    assert launch(host).returncode == 0  # the run goes on
    assert wait_for(folder(host) / "exit_code") == "0\n"


def test_the_bucket_gets_the_run_and_a_new_vm_goes_on(host):
    launch(host)
    wait_for(host.root / "buckets/buck/jaxalign-runs/first/exit_code")
    for path in (host.home / "jaxalign-runs").iterdir():
        path.rename(host.root / path.name)  # a new VM's disk
    launch(host)
    wait_for(folder(host) / "exit_code")
    assert "Going on with what gs://buck" in (folder(host) / "run.log").read_text()
    assert (folder(host) / "out/starts").read_text() == "x\n" * 2


def test_the_bucket_gets_it_while_it_runs(host):
    (host.home / "sleeps").touch()
    keeper = (
        f"bash tpu_setup/host_run.sh start '{folder(host)}' --bucket buck --sync 0.1"
    )
    words = f"-m jaxalign dpo --config '{folder(host)}/config.yaml'"
    python = host.home / "jaxalign/.venv/bin/python"
    assert host.bash(f"{keeper} -- '{python}' {words}").returncode == 0
    wait_for(host.root / "buckets/buck/jaxalign-runs/first/out/starts")
    assert host.run("run.sh", "--stop", "first").returncode == 0
    assert wait_for(folder(host) / "exit_code") == "75\n"


def test_a_machine_that_went_down_is_told(host):
    folder(host).mkdir(parents=True)
    (folder(host) / "command").write_text("python\n")
    (folder(host) / "keeper").write_text("1\n")  # a number that is given out again
    (folder(host).parent / "current").write_text("first\n")
    (folder(host).parent / "lock").touch()
    done = host.run("run.sh", "--status", "first")
    assert done.stdout.startswith("first: lost: neither running nor ended")


def test_it_does_not_begin_anew_when_the_bucket_is_silent(host):
    host.state |= {"no_bucket": True}
    launch(host)
    assert wait_for(folder(host) / "exit_code") == "1\n"
    assert not (folder(host) / "out").exists()
    assert "so it was not started" in (folder(host) / "run.log").read_text()


def test_logs_follow_and_are_read_from_the_bucket(host):
    launch(host, codes=[3])
    wait_for(host.root / "buckets/buck/jaxalign-runs/first/exit_code")
    done = host.run("logs.sh", "first", "--lines", "9")
    assert "printed 7 words" in done.stdout
    followed = host.run("logs.sh", "first", "--follow")
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.splitlines()[-1] == "first: ended with exit code 3"
    host.state |= {"nodes": {}, "queued": {}}
    gone = host.run("logs.sh", "first", "--lines", "1")
    assert "what the bucket holds" in gone.stderr
    assert gone.stdout.endswith("Ended with exit code 3.\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dpo"], "takes a command and a YAML file"),
        (["dpo", "none.yaml"], "none.yaml: there is no such file here"),
        (["dpo", "my dpo.yaml", "--beta", "1"], "does not know --beta. Flags of"),
        (["dpo", "my dpo.yaml", "--run-id", "../x"], "The run's name is letters"),
        (["dpo", "my dpo.yaml", "--", "--output-dir=x"], "sets --output-dir itself"),
    ],
)
def test_mistakes(host, words, text):
    done = host.run("run.sh", *words)
    assert done.returncode == 2
    assert text in done.stderr
    assert host.calls == []


def test_no_vm_no_run(host):
    host.state |= {"nodes": {}}
    done = launch(host)
    assert done.returncode == 2
    assert "There is no TPU VM box" in done.stderr
    host.add_node("box", state="CREATING")
    assert "is CREATING, not READY" in launch(host).stderr
    assert host.calls == [*LISTS, *LISTS]


def test_a_gpu_node_runs_the_same_way(host):
    checkout = host.root / "check out"
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / "tpu_setup").symlink_to(SETUP)
    python = checkout / ".venv/bin/python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    script = f"bash '{checkout}/tpu_setup/gpu_local.sh'"
    start = f"cd '{host.root}'; {script} dpo 'my dpo.yaml' --run-id first -- --beta 0.2"
    (host.home / "codes").write_text("75\n0\n")
    assert "nvidia-smi is not installed" in host.bash(start).stderr
    host.program("nvidia-smi", "#!/bin/sh\n")
    several = host.bash(start, SLURM_STEP_NUM_TASKS="4")
    assert several.returncode == 2
    assert "Slurm started 4 tasks, and jaxalign runs as one process" in several.stderr
    done = host.bash(start)
    assert done.returncode == 0, done.stderr
    run = host.root / "jaxalign-runs/first"
    assert wait_for(run / "exit_code") == "0\n"
    assert (run / "restarts").read_text() == "1\n"
    command = (run / "command").read_text()
    assert command.startswith("env XLA_PYTHON_CLIENT_MEM_FRACTION=0.9 ")
    assert (host.home / "argv").read_text().splitlines()[-2:] == ["--beta", "0.2"]
    assert host.calls == []
