"""Several processes are refused in a sentence, before anything is loaded."""

import jax
import pytest

from jaxalign.__main__ import COMMANDS, USE_DEVICES, main
from jaxalign.errors import UserError
from jaxalign.recipes.runs.one_process import COUNTS, refuse_several_processes

SEVERAL = [
    *[(name, "4") for name in COUNTS],
    ("TPU_WORKER_HOSTNAMES", "10.0.0.1,10.0.0.2"),
    ("JAX_COORDINATOR_ADDRESS", "10.0.0.1:1234"),
]
ONE = [
    *[(name, "1") for name in COUNTS],
    ("SLURM_NTASKS", "4"),  # of the job; this program may be one step of one task
    ("TPU_WORKER_HOSTNAMES", "localhost"),
    ("SLURM_STEP_NUM_TASKS", ""),
]


@pytest.mark.parametrize(("name", "value"), SEVERAL)
def test_the_environment_tells(name, value):
    with pytest.raises(UserError) as refused:
        refuse_several_processes({name: value})
    assert str(refused.value).startswith(f"{name}={value}: there are several")


@pytest.mark.parametrize(("name", "value"), ONE)
def test_one_process_is_fine(name, value):
    refuse_several_processes({name: value})
    alone = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "1"}
    refuse_several_processes({name: value} | alone)


@pytest.mark.parametrize("command", sorted(USE_DEVICES))
def test_every_command_that_uses_devices(command, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(SystemExit) as left:
        main([command, "--model", "/nowhere"])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "several would write over one another. Start it with --nodes=1" in told
    assert "nowhere" not in told


def test_others_run(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert COMMANDS.keys() - USE_DEVICES == {"plan", "rewards", "validate", "env"}
    with pytest.raises(SystemExit) as left:
        main(["rewards"])
    assert left.value.code in (0, None)
    assert "abstention" in capsys.readouterr().out


def test_jax_tells_where_the_environment_does_not(monkeypatch, tmp_path):
    from jaxalign.recipes.runs.policy import open_policy

    opened: dict = {"name": str(tmp_path / "nowhere"), "mesh_sizes": {}}
    names = "dtype", "remat", "attention", "parallel", "head"
    opened |= dict.fromkeys(names)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    refuse_several_processes({})  # the devices are not started to ask
    with pytest.raises(UserError, match=r"jax.process_count\(\) is 2: there are"):
        open_policy(**opened)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(UserError, match=r"jax.process_count\(\) is 2: there are"):
        refuse_several_processes({})
