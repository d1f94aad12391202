"""The program that renders chat templates: a process of its own, with limits.

A chat template comes with a checkpoint, so it is somebody else's program. Jinja's
immutable sandbox keeps it from Python's internals. What is left is bounded by the
operating system, whatever the template calls: the processor time of a rendering, the
memory of the process, and no file, socket or further process.

One request a line comes in, one line for each rendering goes out, both JSON:

    {"source": "...", "time": "2026-01-31T12:00:00", "block": ["[", "]"],
     "variables": [{"messages": ...}, ...]}
    {"text": "..."}
    {"error": "why the template refuses"}
    {"limit": "which limit it passes"}

`sandbox.py` runs this file as a script, so it imports nothing of the package.
"""

import codecs
import datetime
import functools
import json
import os
import random
import select
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import ext, nodes, sandbox

OUTPUT_LIMIT = 8_000_000
"""Characters of a rendering; no row of a data set comes near."""
_LOOK_UP = 2.0  # seconds of idling between two looks at whether the parent lives


class Generation(ext.Extension):
    """The block `{% generation %}`: its text between the two marks of the request."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser):
        """Turns the block into a call of `mark`."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body, lineno=line)

    def mark(self, caller) -> str:
        """The text of the block between the marks."""
        begin, end = self.environment.globals["generation_marks"]  # pyright: ignore
        return begin + caller() + end


def tojson_filter(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """JSON without HTML escapes, as templates written for transformers expect."""
    return json.dumps(
        x,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message):
    raise jinja2.TemplateError(message)


@functools.lru_cache(maxsize=32)
def compiled(source: str, time: str, block: tuple[str, str]) -> jinja2.Template:
    """The template of that source, which reads that clock."""
    # As transformers renders: templates count on how white space is trimmed.
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    now = datetime.datetime.fromisoformat(time)
    environment.filters["tojson"] = tojson_filter
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": now.strftime,
        "generation_marks": block,
    }
    return environment.from_string(source)


def render_request(
    source: str, time: str, block: tuple[str, str], variables: Mapping
) -> dict:
    """What to say about one rendering."""
    random.seed(0)  # Jinja has a filter `random`: a row is the same at every reading
    try:
        text = compiled(source, time, block).render(variables)
    except MemoryError:
        return {"limit": "memory"}
    except RecursionError:
        return {"limit": "it nests too deeply"}
    except Exception as error:  # whatever somebody else's program raises
        return {"error": (str(error) or type(error).__name__)[:1000]}
    if len(text) > OUTPUT_LIMIT:
        return {"limit": f"it writes more than {OUTPUT_LIMIT} characters"}
    return {"text": text}


def bound_process(memory: int) -> None:
    """Limits this process: so many bytes beyond what it has, no file, no process.

    Memory is bounded on Linux only; other systems do not say or do not keep it.
    """
    # What is imported at its first use must be here before no file can be opened.
    import pprint  # noqa: F401
    import resource
    import textwrap  # noqa: F401

    import jinja2.constants
    import jinja2.debug  # noqa: F401

    for name in ("unicode-escape", "utf-8", "latin-1", "ascii"):
        codecs.lookup(name)

    def lower(limit: int, value: int) -> None:
        # A hard limit can be lowered only.
        most = resource.getrlimit(limit)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))

    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)
    lower(resource.RLIMIT_NPROC, 0)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, 0)
    # Standard input, output and error are open already; there is room for no more.
    lower(resource.RLIMIT_NOFILE, 3)


def requests(parent: int) -> Iterator[dict[str, Any]]:
    """The requests, until the parent closes the pipe or is gone."""
    line = bytearray()
    while True:
        # A process that the parent forked may hold the pipe open after its death.
        if not select.select([0], [], [], _LOOK_UP)[0]:
            if os.getppid() != parent:
                return
            continue
        piece = os.read(0, 1 << 20)
        if not piece:
            return
        line += piece
        # The parent waits for its reply, so nothing of a next request follows in a
        # piece.
        if piece.endswith(b"\n"):
            yield json.loads(line)
            line.clear()


def main(seconds: float, memory: int, parent: int) -> None:
    """Answers requests until there are no more."""
    # Ctrl-C and the stop of a job are the parent's to hear; it closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    bound_process(memory)
    out = sys.stdout.buffer
    out.write(b"{}\n")
    out.flush()
    for request in requests(parent):
        block = tuple(request["block"])
        for variables in request["variables"]:
            # Nobody handles SIGPROF, so the kernel ends the process, even within C.
            signal.setitimer(signal.ITIMER_PROF, seconds)
            said = render_request(request["source"], request["time"], block, variables)
            out.write(json.dumps(said).encode("ascii") + b"\n")
            # Python that ran out of memory is in no state to go on; the parent starts
            # anew.
            if said.get("limit") == "memory":
                return
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
