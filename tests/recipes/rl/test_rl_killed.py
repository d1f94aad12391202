"""A run that is killed in any phase of an iteration ends as if it had been left alone.

Whole processes through the command line; parameters, optimizer, controller and
`metrics.jsonl` are compared by their digests.
"""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).parents[3]
KILLED = -signal.SIGKILL
PHASES = {"rollout": 2, "reward": 1, "score": 1, "update": 1, "save": 1}
"""At which visit a process is killed; the next begins where it had been saved."""


class Runs:
    """Starts runs of one command."""

    def __init__(self, folder, method, flags):
        self.folder, self.method, self.flags = folder, method, flags

    def __call__(self, name, chaos="", expect=0):
        out = self.folder / name
        environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
        environment |= {
            "JAX_PLATFORMS": "cpu",
            "JAXALIGN_TEST_RUN": "1",
            "JAXALIGN_CHAOS": chaos,
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "jaxalign", self.method, *self.flags]
            + ["--output-dir", str(out)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        return out


def digest(out):
    """Of the last checkpoint's leaves, the metrics and all answers."""
    step = max(int(x.name) for x in (out / "checkpoints").iterdir() if x.name.isdigit())
    manifest = json.loads(
        (out / "checkpoints" / str(step) / "MANIFEST.json").read_text()
    )
    files = [out / "metrics.jsonl", *sorted((out / "completions").glob("*.jsonl"))]
    contents = [hashlib.sha256(x.read_bytes()).hexdigest() for x in files]
    return step, manifest["leaves"], contents


def runs_of(method, tmp, model, prompts, reward_file):
    flags = {
        "model": model,
        "data": prompts,
        "reward": f"{reward_file}:even",
        "conversational": "no",
        "max-new-tokens": 4,
        "batch-size": 4,
        "max-steps": 3,
        "save-steps": 1,
        "eval-steps": 3,
        "optimizer.learning-rate": 0.02,
        "num-minibatches": 2,
    } | {
        "grpo": {
            "num-generations": 2,
            "num-iterations": 2,
            "algorithm": "grpo",
            "kl-coef": 0.01,
        },
        "ppo": {"num-ppo-epochs": 2, "kl-controller": "adaptive", "kl-coef": 0.01},
        "online": {"method": "nash_md", "num-iterations": 2},
    }[method]
    given = [x for k, v in flags.items() for x in (f"--{k}", str(v))]
    return Runs(tmp, method, [*given, "--no-export"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ppo", "online"])
def test_killed_in_an_update(method, tmp_path, tiny_model, prompts, reward_file):
    run = runs_of(method, tmp_path, tiny_model, prompts, reward_file)
    straight = digest(run("straight"))
    assert straight[0] == 3
    # The third of four updates in the third iteration. A save waits for the one
    # before, so that of the first iteration is there.
    run("killed", "kill@update:11", expect=KILLED)
    out = run("killed")
    starts = json.loads((out / "run.json").read_text())["starts"]
    assert starts[1]["start_step"] in (1, 2)
    assert digest(out) == straight


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_killed_in_every_phase(method, tmp_path, tiny_model, prompts, reward_file):
    """Fault 23: a run that goes on has lost rollouts, their order or their keys."""
    run = runs_of(method, tmp_path, tiny_model, prompts, reward_file)
    straight = digest(run("straight"))
    for phase, visit in PHASES.items():
        run("killed", f"kill@{phase}:{visit}", expect=KILLED)
    assert digest(run("killed")) == straight


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_asked_to_stop(method, tmp_path, tiny_model, prompts, reward_file):
    run = runs_of(method, tmp_path, tiny_model, prompts, reward_file)
    straight = digest(run("straight"))
    # In the second of three iterations, before its first update: it is dropped.
    out = run("stopped", "sigterm@score:2", expect=75)
    assert digest(out)[0] == 1
    assert digest(run("stopped")) == straight
    starts = json.loads((out / "run.json").read_text())["starts"]
    assert [x["start_step"] for x in starts] == [0, 1]


WAITS = """
import os, time

def score(completions, step):
    if step == 2 and os.path.exists({flag!r}):
        print("waiting", flush=True)
        time.sleep(300)
    return [float(len(x) % 7) for x in completions]
"""


@pytest.mark.slow
def test_asked_to_stop_while_a_reward_is_waited_for(tmp_path, tiny_model, prompts):
    """The wait is left at once, and the run goes on as if nothing had been."""
    flag, file = tmp_path / "wait", tmp_path / "waits.py"
    file.write_text(WAITS.format(flag=str(flag)))
    run = runs_of("grpo", tmp_path, tiny_model, prompts, file)
    run.flags[run.flags.index(f"{file}:even")] = f"{file}:score"
    straight = digest(run("straight"))
    flag.touch()
    log = tmp_path / "stopped" / "logs" / "rewards.log"
    took = []

    def ask():
        while not (log.exists() and "waiting" in log.read_text()):
            time.sleep(0.05)
        (guard,) = guards_of(tmp_path / "stopped")
        parent = int(pathlib.Path(f"/proc/{guard}/stat").read_text().split()[3])
        start = time.monotonic()
        os.kill(parent, signal.SIGTERM)
        while pathlib.Path(f"/proc/{guard}").exists():
            time.sleep(0.01)
        took.append(time.monotonic() - start)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    out = run("stopped", expect=75)
    thread.join(10)
    assert took
    assert took[0] < 2
    assert digest(out)[0] == 1
    flag.unlink()
    assert digest(run("stopped")) == straight


def guards_of(out):
    """The guards of the rewards of a run, by the folder that its command names."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            is_guard = any(x.endswith(b"rewards/user/guard.py") for x in words)
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            started = (pathlib.Path("/proc") / str(parent) / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if is_guard and str(out).encode() in started:
            found.append(int(folder.name))
    return found
