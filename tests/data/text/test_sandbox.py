"""The process that renders chat templates: its limits, its life and its death."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxalign.data.text import sandbox
from jaxalign.data.text.sandbox import LimitError, Refused, Renderer

FIXED = {"time": "2026-01-31T12:00:00", "block": ("<", ">")}
WORKER = pathlib.Path(sandbox.__file__).with_name("render_worker.py")


@pytest.fixture(scope="module")
def renderer():
    found = Renderer(seconds=0.2, memory=100 * 2**20)
    yield found
    found.close()


def render(renderer, source, **variables):
    (said,) = renderer.render(source, [variables], **FIXED)
    return said


PASSES_A_LIMIT = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n - 1) }}{% endmacro %}{{ f(0) }}",
    "branching": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "doubling": "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "adding": "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "nesting": "{% set n = namespace(x=1) %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "multiplying": "{{ 'a' * 10 ** 12 }}",
    "powers": "{{ 7 ** (10 ** 8) }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "format": "{{ '{:>999999999}'.format(1) }}",
    "ljust": "{{ 'a'.ljust(10 ** 12) }}",
    "replace": "{{ ('a' * 9999) | replace('a', 'b' * 999999) }}",
    "join": "{{ (['a' * 99999] * 99999) | join }}",
    "words": "{{ ('a ' * 9999999) | wordcount }}",
    "wrapping": "{{ ('a ' * 9999999) | wordwrap(1) }}",
    "links": "{{ ('a.com ' * 999999) | urlize }}",
    "output": "{{ 'x' * 8000001 }}",
    "block": "{% set x %}{% for i in range(99999) %}" + "x" * 5000 + "{% endfor %}"
    "{% endset %}",
    "parentheses": "{{" + "(" * 100_000 + "}}",
}
REFUSED = {
    "loader": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by attr": "{{ (''|attr('__class__')).__mro__ }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format(1).x.y }}",
    "globals": "{{ raise_exception.__globals__['__builtins__'] }}",
    "change": "{{ messages.append(1) }}",
    "syntax": "{% for %}",
    "its own reason": "{{ raise_exception('no system') }}",
}


@pytest.mark.parametrize("source", PASSES_A_LIMIT.values(), ids=PASSES_A_LIMIT)
def test_whatever_a_template_calls_it_stays_within_the_limits(source, renderer):
    with pytest.raises(LimitError):
        render(renderer, source)
    assert render(renderer, "on we go") == "on we go"


@pytest.mark.parametrize("name", ["nested loops", "branching", "links"])
def test_the_kernel_ends_what_runs_too_long(name, renderer):
    with pytest.raises(LimitError, match=r"it runs for more than 0\.2 s"):
        render(renderer, PASSES_A_LIMIT[name])


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_what_the_sandbox_of_jinja_forbids(source, renderer):
    assert isinstance(render(renderer, source, messages=[]), Refused)


def test_the_limits_are_two_seconds_and_256_megabytes():
    assert (sandbox.TIME_LIMIT, sandbox.MEMORY_LIMIT) == (2, 256 * 2**20)
    with pytest.raises(LimitError, match="more than 256 MB"):
        render(sandbox.RENDERER, "{{ 'a' * 300000000 }}")
    assert len(render(sandbox.RENDERER, "{{ ('a' * 200000000) | length }}")) == 9


def test_processor_time_counts_and_not_the_wall_clock(renderer):
    """Many renderings in one request, together far longer than one may take."""
    loop = "{% for i in range(40000) %}{% endfor %}{{ x }}"
    said = renderer.render(loop, [{"x": x} for x in range(60)], **FIXED)
    assert said == [str(x) for x in range(60)]


def test_renderings_of_a_request_come_in_order_with_their_refusals(renderer):
    source = "{% if x == 1 %}{{ raise_exception('one') }}{% endif %}{{ x }}"
    said = renderer.render(source, [{"x": x} for x in range(3)], **FIXED)
    assert said == ["0", Refused("one"), "2"]


def test_what_templates_find_in_their_world(renderer):
    assert render(renderer, "{{ strftime_now('%d %B %Y') }}") == "31 January 2026"
    assert render(renderer, "{{ x | tojson }}", x=["<é&>"]) == '["<é&>"]'
    assert render(renderer, "{{ [1] | tojson(indent=2) }}") == "[\n  1\n]"
    said = render(renderer, "a{% generation %}b{% endgeneration %}c")
    assert said == "a<b>c"
    assert render(renderer, "{% for i in [1, 2] %}{% break %}{% endfor %}x") == "x"


def test_chance_is_the_same_at_every_reading(renderer):
    source = "{{ range(1000) | list | random }} {{ lipsum(1) }}"
    assert render(renderer, source) == render(renderer, source)


def in_a_process(code, **options):
    """Runs code that has the worker's module, in a process of its own."""
    head = f"import sys; sys.path[:0] = {[str(WORKER.parent), *sys.path]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", head + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize(
    "escape",
    [
        "open('/etc/passwd')",
        "open('/tmp/never-written', 'w')",
        "import socket; socket.socket()",
        "import os; os.pipe()",
    ],
)
def test_the_process_opens_nothing(escape):
    code = (
        "import render_worker, socket\nrender_worker.bound_process(2**28)\n"
        f"try:\n    {escape}\nexcept OSError as error:\n    print('refused', error)"
    )
    assert in_a_process(code).stdout.startswith("refused")


def test_the_process_knows_nothing_of_jax_and_gets_no_secrets(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "secret")
    renderer = Renderer()
    render(renderer, "x")
    process = renderer._process
    assert process is not None
    environment = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"SOME_TOKEN" not in environment
    renderer.close()
    code = "import render_worker\nprint('jax' in sys.modules, 'numpy' in sys.modules)"
    assert in_a_process(code).stdout.split() == ["False", "False"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_stop_are_the_parents(number, renderer):
    assert render(renderer, "a") == "a"
    process = renderer._process
    os.kill(process.pid, number)
    assert render(renderer, "b") == "b"
    assert renderer._process is process
    # A terminal's Ctrl-C goes to a group of processes, a job's end to a session.
    assert os.getsid(process.pid) != os.getsid(0)


def test_a_process_that_was_killed_is_started_again(renderer):
    render(renderer, "a")
    first = renderer._process
    os.kill(first.pid, signal.SIGKILL)
    assert render(renderer, "b") == "b"
    assert renderer._process.pid != first.pid


def test_an_interrupted_answer_is_not_taken_for_the_next(renderer, monkeypatch):
    def interrupted(file, size):
        read(file, 5)  # the rest stays in the pipe
        raise KeyboardInterrupt

    assert render(renderer, "a") == "a"
    read = os.read
    monkeypatch.setattr(sandbox.os, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        renderer.render("{{ x }}", [{"x": i} for i in range(3)], **FIXED)
    monkeypatch.undo()
    assert render(renderer, "fresh") == "fresh"


def test_threads_share_the_process(renderer):
    found = {}

    def work(name):
        found[name] = [render(renderer, "{{ x }}", x=f"{name}{i}") for i in range(30)]

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [f"{name}{i}" for i in range(30)] for name in "abcd"}


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state[0] != "Z"


START = (
    "import os, time\n"
    "from jaxalign.data.text.sandbox import RENDERER\n"
    f"def render(x): return RENDERER.render(x, [{{}}], **{FIXED!r})[0]\n"
    "assert render('a') == 'a'\n"
    "print(RENDERER._process.pid, flush=True)\n"
)


@pytest.mark.parametrize(
    "end",
    [
        "",
        "os._exit(3)",
        "os.kill(os.getpid(), 9)",
        # The forked child holds the parent's end of the pipe open.
        "child = os.fork()\nif child == 0: time.sleep(100); os._exit(0)\n"
        "print(child, flush=True)\nos.kill(os.getpid(), 9)",
    ],
    ids=["end", "exit", "killed", "killed with a child"],
)
def test_the_process_ends_with_its_parent(end, tmp_path):
    file = tmp_path / "out"
    with file.open("w") as out:
        subprocess.run(
            [sys.executable, "-c", START + end], stdout=out, timeout=60, check=False
        )
    pid, *children = map(int, file.read_text().split())
    deadline = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = not is_alive(pid)
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert ended


def test_a_forked_process_starts_its_own():
    code = START + (
        "first = RENDERER._process.pid\n"
        "if os.fork() == 0:\n"
        "    ok = render('child') == 'child' and RENDERER._process.pid != first\n"
        "    RENDERER.close()\n"
        "    os._exit(0 if ok else 1)\n"
        "assert os.wait()[1] == 0\n"
        "assert render('parent') == 'parent' and RENDERER._process.pid == first\n"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (out.returncode, out.stderr) == (0, "")
