"""Jinja for templates nobody has read: sandboxed, metered, without loaders.

A chat template comes with a checkpoint, so it is somebody else's program. Jinja's
immutable sandbox keeps it from Python's internals; this module bounds what is left:
time (every turn of a loop and every macro call looks at the clock) and memory (no
intermediate value and no output above a size).
"""

import contextvars
import datetime
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import ext, nodes, sandbox
from jinja2.visitor import NodeTransformer

from jaxalign.data.text.marks import BLOCK_BEGIN, BLOCK_END

TIME_LIMIT = 2.0
"""Seconds a rendering may take."""
SIZE_LIMIT = 8_000_000
"""Characters of output, and of any intermediate value."""

_FILTERS = frozenset(
    """
    abs attr capitalize count d default dictsort e escape first
    float format groupby indent int items join last length list
    lower map max min reject rejectattr replace reverse round safe
    select selectattr sort string sum title trim unique upper
    """.split()  # noqa: SIM905
)


class LimitError(jinja2.TemplateError):
    """The template would take more time or memory than it may."""


class Budget:
    """What is left of the time and of the output of one rendering."""

    def __init__(self):
        """Starts the clock."""
        self.deadline = time.monotonic() + TIME_LIMIT
        self.characters = SIZE_LIMIT

    def spend(self, characters: int):
        """Takes off `characters`; raises `LimitError` when nothing is left."""
        self.characters -= characters
        if self.characters < 0:
            raise LimitError(f"it writes more than {SIZE_LIMIT} characters")
        if time.monotonic() > self.deadline:
            raise LimitError(f"it runs for more than {TIME_LIMIT:g} s")


_budget: contextvars.ContextVar[Budget | None] = contextvars.ContextVar(
    "budget", default=None
)


def render(template: jinja2.Template, variables: Mapping[str, Any]) -> str:
    """The template's text with generation blocks marked; raises `TemplateError`."""
    token = _budget.set(Budget())
    try:
        return template.render(variables)
    except (RecursionError, MemoryError) as error:
        raise LimitError("it nests too deeply") from error
    finally:
        _budget.reset(token)


def compile_template(source: str) -> jinja2.Template:
    """Compiles `source`; raises `TemplateError`."""
    if len(source) > 1_000_000:
        raise LimitError(f"it is {len(source)} characters long (limit 1000000)")
    try:
        return _ENVIRONMENT.from_string(source)
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise LimitError("it nests too deeply") from error


def _leaves(value: Any, depth: int = 0) -> Iterator[int]:
    yield len(value) if isinstance(value, str) else 32
    if depth > 50:
        raise LimitError("a value nests more than 50 deep")
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(key, depth + 1)
            yield from _leaves(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item, depth + 1)


def _bounded(value: Any) -> Any:
    if type(value) in (int, bool, float) or value is None:
        return value
    if type(value) is str and len(value) <= SIZE_LIMIT:
        return value
    total = 0
    for size in _leaves(value):
        total += size
        if total > SIZE_LIMIT:
            raise LimitError(f"it makes a value of more than {SIZE_LIMIT} characters")
    return value


def _bound_product(values: tuple[Any, ...]):
    """Refuses arguments whose result could be long: replace, join, ljust and so on."""
    product = 1
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            product *= max(1, abs(value))
        elif isinstance(value, str | list | tuple | Mapping):
            product *= 1 + sum(_leaves(value))
    if product > 64 * SIZE_LIMIT:
        raise LimitError("a string operation could make a very long text")


def _check_format(text: Any):
    if isinstance(text, str) and re.search(r"\d{4,}|%[^a-zA-Z%]*\*|\{[^}]*\{", text):
        raise LimitError("a format string asks for a very wide field")


class Meter(ext.Extension):
    """Looks at the budget in loops and macros; gives generation blocks."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser):
        """Turns a generation block into a call that marks its text."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body, lineno=line)

    def mark(self, caller) -> str:
        """The text of a generation block between the two marks."""
        return BLOCK_BEGIN + caller() + BLOCK_END

    def tick(self, characters: int) -> str:
        """Spends `characters`; writes nothing."""
        budget = _budget.get()
        if budget is not None:
            budget.spend(characters)
        return ""

    def concat(self, *parts: Any) -> str:
        """The `~` operator."""
        return _bounded("".join(map(str, _bounded(parts))))

    def made(self, value: Any) -> Any:
        """A list, tuple or dict that the template wrote down."""
        return _bounded(value)


class _Metered(NodeTransformer):
    def __init__(self, meter: Meter):
        self.meter = meter

    def _with_tick(self, node):
        characters = sum(len(x.data) for x in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        call = self.meter.call_method("tick", [nodes.Const(characters)])
        node.body.insert(0, nodes.Output([call], lineno=node.lineno))
        return node

    visit_For = visit_Macro = visit_CallBlock = _with_tick

    def visit_Concat(self, node):
        self.generic_visit(node)
        return self.meter.call_method("concat", node.nodes)

    def _made(self, node):
        self.generic_visit(node)
        if getattr(node, "ctx", "load") == "load" and node.find(nodes.Name):
            return self.meter.call_method("made", [node])
        return node

    visit_List = visit_Tuple = visit_Dict = _made


def _limited(function):
    def call(*args, **kwargs):
        plain = args[1:] if hasattr(function, "jinja_pass_arg") else args
        _bound_product((*plain, *kwargs.values()))
        return _bounded(function(*args, **kwargs))

    call.__dict__.update(getattr(function, "__dict__", {}))
    return call


class Environment(sandbox.ImmutableSandboxedEnvironment):
    """The sandbox with the names that chat templates expect."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self):
        """An environment without a loader."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[Meter, ext.loopcontrols],
            finalize=self._finalize,
        )
        limited = {name: _limited(self.filters[name]) for name in _FILTERS}
        self.filters = {**limited, "tojson": _limited(to_json)}
        self.globals = {k: self.globals[k] for k in ("range", "dict", "namespace")}
        self.globals |= {"raise_exception": _raise, "strftime_now": _strftime_now}

    def _parse(self, source, name, filename):
        meter = next(x for x in self.iter_extensions() if isinstance(x, Meter))
        return _Metered(meter).visit(super()._parse(source, name, filename))

    @staticmethod
    def _finalize(value):
        budget = _budget.get()
        if budget is not None:
            text = value if type(value) is str else str(_bounded(value))
            budget.spend(len(text))
        return value

    def wrap_str_format(self, value):
        """`str.format` and `str.format_map`, without very wide fields."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_format(value.__self__)
        return wrapped

    def call_binop(self, context, operator, left, right):
        """The four operators that can make something large out of little."""
        numbers = isinstance(left, int) and isinstance(right, int)
        if operator == "%":
            _check_format(left)
        elif operator == "**" or (operator == "*" and numbers):
            if max(abs(left), abs(right)) > 10**9 or (operator == "**" and right > 64):
                raise LimitError("a number would be too large")
        elif operator == "*":
            _bound_product((left, right))
        return _bounded(super().call_binop(context, operator, left, right))

    def call(__self, __context, __obj, *args, **kwargs):  # noqa: N805
        """Calls a method or function of the template, its result bounded."""
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            _bound_product((owner, *args, *kwargs.values()))
        return _bounded(super().call(__context, __obj, *args, **kwargs))


def to_json(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
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


def _strftime_now(form):
    return datetime.datetime.now().strftime(form)


_ENVIRONMENT = Environment()
