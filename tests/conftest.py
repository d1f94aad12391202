"""Eight virtual CPU devices and strict promotion for every test.

Programs are many here and each runs a few times: they are compiled without optimizing,
and what a run of the tests has compiled is not compiled again in that run.

`JAXALIGN_TEST_PLATFORM` chooses real devices in place of the eight, for the tests that
need only one (`experiments/benchmarks/device_part.py` lists them): `gpu` is the GPUs of
the machine, with optimized programs and matrix products in full float32 (TF32 is what
they would have by default); `cpu` is the one CPU, to try the list out without a GPU.
"""

import gc
import os
import pathlib
import signal
import tempfile

import jax
import pytest

# Scripts that made the golden files need torch or transformers.
collect_ignore_glob = ["golden/*"]

# A shell starts what runs in its background deaf to Ctrl-C, and all of its children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A name that is no folder is looked for nowhere else: without it, retries take 20 s.
os.environ["HF_HUB_OFFLINE"] = "1"
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def use_gpus():
    """The GPUs first, and the CPU for what a test asks of it by name."""
    jax.config.update("jax_platforms", "cuda,cpu")
    jax.config.update("jax_default_matmul_precision", "highest")


def use_cpus(count):
    """Virtual devices whose programs compile fast."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)
    jax.config.update("jax_disable_most_optimizations", True)
    if jax.__version_info__ < (0, 11):  # XLA dies of a flag that it does not know
        # Half the time to compile: one kernel for each operation, no MLIR in between.
        flag = "--xla_cpu_use_fusion_emitters=false"
    else:  # a tenth less, where each program is one piece for the compiler
        flag = "--xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{flag} {os.environ.get('XLA_FLAGS', '')}"


PLATFORM = os.environ.get("JAXALIGN_TEST_PLATFORM", "")
if PLATFORM == "gpu":
    use_gpus()
elif PLATFORM in ("cpu", ""):
    use_cpus(1 if PLATFORM else 8)
else:
    raise ValueError(f"JAXALIGN_TEST_PLATFORM is {PLATFORM!r}: it is gpu or cpu")


def pytest_configure(config):
    """One folder of compiled programs for this run: its processes and their children.

    Two processes may write a file at the same time, and a third may read half of it:
    that is a warning of JAX, which is ignored (pyproject.toml), and one more compiling.
    """
    if not hasattr(config, "workerinput"):  # workers inherit the environment
        folder = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ |= {
            "JAX_COMPILATION_CACHE_DIR": folder.name,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    jax.config.update(
        "jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"]
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_collection_modifyitems(items):
    """The longest test begins first and the short ones last: processes end together."""

    def short(item) -> bool:
        return not {"data", "losses", "rewards", "jaxalign"}.isdisjoint(
            item.path.relative_to(item.config.rootpath).parts
        )

    items.sort(key=lambda x: (x.path.name != "test_printed_commands.py", short(x)))


def pytest_collection_finish(session):
    """What is there before the first test is not looked through for garbage again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


_HANDLERS = {x: signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGHUP)}


def pytest_runtest_setup():
    """A run that was asked to stop is to end next, and leaves these signals ignored.

    Here its process goes on, and children that are begun would ignore them as well.
    """
    for number, handler in _HANDLERS.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder of real data sets that `JAXALIGN_TEST_DATA` names."""
    folder = os.environ.get("JAXALIGN_TEST_DATA")
    if not folder:
        pytest.skip("JAXALIGN_TEST_DATA is not set: no real data to test on")
    return pathlib.Path(folder)
