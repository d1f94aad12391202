"""Commands run as one process: several are refused before anything is loaded."""

import sys
from collections.abc import Mapping

from jaxalign.errors import UserError

COUNTS = {
    # Of the step: SLURM_NTASKS is the job's, of which this may be one task of many.
    "SLURM_STEP_NUM_TASKS": "Start it with --nodes=1 --ntasks=1",
    "OMPI_COMM_WORLD_SIZE": "Start it without mpirun",
    "JAX_NUM_PROCESSES": "Unset it and JAX_COORDINATOR_ADDRESS",
    "MEGASCALE_NUM_SLICES": "Use one slice of one host, such as v5litepod-8",
}
"""Variables in which launchers say how many processes there are, and the way out."""


def refuse_several_processes(environment: Mapping[str, str]) -> None:
    """Looks at what launchers left in the environment; imports nothing large.

    Raises:
      UserError: Names what says that there are several processes.

    >>> refuse_several_processes({"SLURM_STEP_NUM_TASKS": "1"})
    """
    for name, fix in COUNTS.items():
        count = environment.get(name, "")
        if count.isdecimal() and int(count) > 1:
            raise _several(f"{name}={count}", fix)
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "")
    if "," in hosts:
        fix = "Use a TPU of one host, such as v5litepod-8"
        raise _several(f"TPU_WORKER_HOSTNAMES={hosts}", fix)
    address = environment.get("JAX_COORDINATOR_ADDRESS", "")
    if address and environment.get("JAX_NUM_PROCESSES") != "1":
        raise _several(f"JAX_COORDINATOR_ADDRESS={address}", "Unset it")
    # Not imported here, which takes long: who joined processes in Python has done so.
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        refuse_several_hosts()


def refuse_several_hosts() -> None:
    """Asks JAX, which starts its devices for it.

    Raises:
      UserError: Other processes hold devices of the same machine.
    """
    import jax

    if jax.process_count() > 1:
        fix = "Start one process, on a machine of one host"
        raise _several(f"jax.process_count() is {jax.process_count()}", fix)


def _several(what: str, fix: str) -> UserError:
    return UserError(
        f"{what}: there are several processes, and jaxalign runs as one that uses all "
        f"devices of one machine; several would write over one another. {fix}."
    )
