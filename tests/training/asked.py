"""A process that does one thing under a `StopRequest`; a test sends it signals.

It prints `ready`, and then what became of it.
"""

import ctypes
import gc
import multiprocessing
import pathlib
import signal
import sys
import time
import types

import jaxalign

if __name__ == "__main__":  # not where pytest looks for doctests
    # The package without its table of contents, which imports JAX: two seconds.
    training = types.ModuleType("jaxalign.training")
    training.__path__ = [str(pathlib.Path(jaxalign.__file__).parent / "training")]
    sys.modules["jaxalign.training"] = training

from jaxalign.training.stopping.preemption import AskedToStop, StopRequest  # noqa: E402


def stuck_in_a_library() -> None:
    """Waits for ever where no signal reaches: for a mutex that it holds itself."""
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def sleeping(stop: StopRequest) -> None:
    with stop.at_once():
        time.sleep(60)


def stuck(stop: StopRequest) -> None:
    with stop.at_once():
        stuck_in_a_library()


def saving(stop: StopRequest) -> None:
    def save() -> bool:
        print("saved", flush=True)
        return True

    stop.on_leaving(lambda: print("last word", flush=True))
    with stop.rescued(save):
        stuck_in_a_library()


def not_yet(stop: StopRequest) -> None:
    """Nothing can be saved before the work ends; then it is heard here."""
    with stop.rescued(lambda: False):
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            time.sleep(0.01)
    stop.check()


def patient(stop: StopRequest) -> None:
    """Looks by itself, and then takes its time."""
    while not stop.requested:
        time.sleep(0.02)
    time.sleep(60)


def slow_way_out(stop: StopRequest) -> None:
    """Has heard, and has something to put in order."""
    try:
        with stop.at_once():
            time.sleep(60)
    finally:
        time.sleep(2)
        print("in order", flush=True)


def in_a_callback(stop: StopRequest) -> None:
    """What is raised in a callback of the garbage collector comes to nothing."""
    gc.callbacks.append(lambda phase, info: time.sleep(1.5))
    with stop.at_once():
        gc.collect()
        time.sleep(60)


def forking(stop: StopRequest) -> None:
    """A child that is ended has not asked this process to stop."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    time.sleep(0.3)
    child.terminate()
    child.join(30)
    print(child.exitcode, stop.requested, flush=True)


if __name__ == "__main__":
    doing = globals()[sys.argv[1]]
    # Also where the tests run in the background or under nohup, which ignore these.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with StopRequest() as request:
            print("ready", flush=True)
            doing(request)
    except AskedToStop:
        print("heard", flush=True)
        sys.exit(75)
