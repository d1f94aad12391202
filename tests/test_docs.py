"""Documentation is docstrings, and every public name has one."""

import importlib
import inspect
import pathlib
import typing

import pytest

import jaxalign

ROOT = pathlib.Path(jaxalign.__file__).parent
MODULES = [
    ".".join(("jaxalign", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for p in sorted(ROOT.rglob("*.py"))
    if "\n__all__ = " in p.read_text()
]


def find_public_names():
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            thing = getattr(loaded, name)
            if callable(thing) and not typing.get_origin(thing):
                yield pytest.param(thing, id=f"{module}.{name}")


PUBLIC = list(find_public_names())


def test_public_modules_are_found():
    wanted = {f"jaxalign.{x}" for x in ("ops", "losses", "objectives", "parallel")}
    assert wanted <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_summary_and_names_what_it_has(module):
    loaded = importlib.import_module(module)
    assert _summary(loaded).endswith(".")
    assert len(set(loaded.__all__)) == len(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)


@pytest.mark.parametrize("thing", PUBLIC)
def test_every_public_name_is_documented(thing):
    doc = inspect.getdoc(thing) or ""
    assert len(_summary(thing)) > 10, "it needs a summary"
    if inspect.isclass(thing):
        # What dataclasses and named tuples write by themselves is no documentation.
        assert not doc.startswith(f"{thing.__name__}("), "it needs a docstring"
        return
    if len(_arguments(thing)) > 2:
        for section in ("Args:", "Returns:"):
            assert section in doc, f"{section} is missing"
    if "Args:" in doc:
        for name in _arguments(thing):
            assert f"{name}:" in doc, f"argument {name} is not described"


@pytest.mark.parametrize("loss", [p for p in PUBLIC if str(p.id).endswith("_loss")])
def test_every_loss_cites_its_source_and_shows_itself(loss):
    doc = inspect.getdoc(loss) or ""
    assert "Args:" in doc
    assert "Returns:" in doc
    if loss.__module__.startswith("jaxalign.losses"):
        assert "https://" in doc, "a loss cites its paper"
        assert ">>>" in doc, "a loss shows an example"


def _summary(thing) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _arguments(function) -> list[str]:
    parameters = inspect.signature(function).parameters
    return [name for name in parameters if name not in ("self", "cls")]
