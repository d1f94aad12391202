"""SIGTERM while a command is still being imported, wherever Python happens to be."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = """
import gc, sys, time
from jaxalign.leaving import leaving_on_request

def importing():
    print("ready", flush=True)
    time.sleep(60)

def under_an_except():
    try:
        importing()
    except:
        time.sleep(60)

def in_a_callback():
    gc.callbacks.append(lambda phase, info: time.sleep(1.5))
    print("ready", flush=True)
    gc.collect()
    time.sleep(60)

with leaving_on_request():
    globals()[sys.argv[1]]()
"""


@pytest.mark.parametrize(
    ("where", "number", "code"),
    [
        ("importing", signal.SIGTERM, 75),
        ("importing", signal.SIGINT, 130),
        ("under_an_except", signal.SIGTERM, 75),
        ("in_a_callback", signal.SIGTERM, 75),
    ],
)
def test_it_ends_the_program_with_its_code(where, number, code):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, where],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        start = time.monotonic()
        process.send_signal(number)
        _, error = process.communicate(timeout=100)
    assert process.returncode == code
    assert time.monotonic() - start < 20
    assert not error


def test_signals_are_given_back():
    from jaxalign.leaving import leaving_on_request

    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with leaving_on_request():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before
    with pytest.raises(SystemExit) as left, leaving_on_request():
        signal.raise_signal(signal.SIGTERM)
    assert left.value.code == 75
    time.sleep(1.5)  # this process goes on
