"""A folder with rewards of a user's, and one process for all that they may do alike."""

import pytest

from jaxalign.rewards.loading import Processes, parse_reward

POLITE = '''
"""What is allowed in a program of one's own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading

import beside
from here_too.inner import HERE

LIMIT = asyncio.Semaphore(1)
CALLS = []


@dataclasses.dataclass
class Settings:
    words: list[str]
    weight: float = 0.5


SETTINGS = Settings(["once"])


def alarm(completions):
    """A check with a limit of its own, as verifiers have it."""

    def over(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        threading.Event().wait(20)
        return [0.0 for _ in completions]
    except TimeoutError:
        return [1.0 for _ in completions]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def contended(completions):
    async def ask(text):
        async with LIMIT:
            await asyncio.sleep(0.001)
            return float(len(text))

    return await asyncio.gather(*(ask(c.completion) for c in completions))


async def which_loop(completions):
    return [float(id(asyncio.get_running_loop()))] * len(completions)


def counts_calls(completions):
    CALLS.append(1)
    return [float(len(CALLS))] * len(completions)


def _length(text):
    return float(len(text))


def in_a_pool(completions):
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return list(pool.map(_length, [c.completion for c in completions]))


def dataclass_and_neighbours(completions):
    return [SETTINGS.weight + beside.ONE + HERE for _ in completions]


def own_name(completions):
    return [float(__name__ == "polite" and sys.modules[__name__].own_name is own_name)]


def main_thread_without_jax(completions):
    main = threading.current_thread() is threading.main_thread()
    alone = threading.active_count() == 1 and "jax" not in sys.modules
    cpu = os.environ["JAX_PLATFORMS"] == "cpu"
    return [float(main and alone and cpu)] * len(completions)


def runs_a_loop(completions):
    return asyncio.run(asyncio.sleep(0, [2.0] * len(completions)))


def closes_the_loop(completions):
    loop = asyncio.get_event_loop()
    values = loop.run_until_complete(asyncio.sleep(0, [3.0] * len(completions)))
    loop.close()
    return values


def changes_its_rows(completions):
    for c in completions:
        c.columns["answers"].append("more")
    return [float(len(c.columns["answers"])) for c in completions]


def goes_elsewhere(completions):
    os.chdir("/")
    return [1.0] * len(completions)


def prints(completions):
    print("said é \\ud800")
    sys.stdout.buffer.write(b"\\xff\\x00\\n")
    os.system("echo by a child")
    print("to the other", file=sys.stderr)
    return [1.0] * len(completions)


def of_types(completions):
    return [float(repr(c.columns) == c.completion) for c in completions]


def forks(completions):
    os.fork()
    return [1.0] * len(completions)


def threads(completions):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return [1.0] * len(completions)


def with_step(completions, *, step=None, scale=1):
    return [-1.0 if step is None else float(step * scale)] * len(completions)


def with_column(prompts, completions, gold, step=-1, strict=True, **columns):
    return [
        float(c == g) + (10 if strict else 0) + 100 * step
        for c, g in zip(completions, gold)
    ]
'''


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """`files/polite.py` with a neighbour; the folder above is the current one."""
    here = tmp_path_factory.mktemp("user")
    files, inner = here / "files", here / "here_too"
    files.mkdir()
    inner.mkdir()
    (files / "polite.py").write_text(POLITE)
    (files / "beside.py").write_text("ONE = 1\n")
    (inner / "__init__.py").write_text("")
    (inner / "inner.py").write_text("HERE = 2\n")
    return here


@pytest.fixture(scope="session")
def load(folder):
    """`load("name(parameters)")`: a function of `polite.py`, all in one process."""
    processes = Processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        processes.of("files/polite.py")

    def loaded(text):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            return parse_reward(f"files/polite.py:{text}", processes=processes)

    yield loaded
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        processes.of("files/polite.py").close()
