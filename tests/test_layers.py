"""The layers of the package, as a test: lower ones never import higher ones."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "jaxalign"

EVERYWHERE = {"backbone", "batch", "errors", "json_file", "os_errors", "plain_files"}
# What each layer may import from jaxalign, besides itself and what `EVERYWHERE` names.
MAY_IMPORT = {
    "ops": set(),
    "losses": {"ops"},
    "rewards": {"ops"},
    "objectives": {"losses", "ops"},
    "training": {"losses.base", "ops"},
    "rollout": {"ops", "models"},
    "rl": {
        *("objectives", "losses", "ops", "training", "rollout", "rewards"),
        "data.packing",
    },
    "models": {"ops"},
    "parallel": {"training", "losses", "ops"},
    "data": set(),
}
# Third-party packages that a layer must not see, even inside a function.
MUST_NOT_SEE = {
    "data": {"jax", "flax", "optax", "orbax", "chex"},
    "ops": {"flax", "optax", "orbax"},
    "losses": {"flax", "optax", "orbax"},
    "objectives": {"flax", "optax", "orbax"},
    "rl": {"flax", "orbax"},
}


def imports_in(source: str):
    """Every module imported, at the top or in a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_allowed(module: str, layer: str) -> bool:
    if module in ("jaxalign", "jaxalign.__version__"):
        return True
    allowed = MAY_IMPORT[layer] | {layer, *EVERYWHERE}
    return any(f"{module}.".startswith(f"jaxalign.{name}.") for name in allowed)


def test_every_layer_is_known():
    folders = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert folders == MAY_IMPORT.keys() | {"recipes"}


def test_every_folder_of_python_files_is_a_package():
    folders = {p.parent for p in ROOT.rglob("*.py")}
    assert [str(x) for x in folders if not (x / "__init__.py").is_file()] == []


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports_point_downwards(layer):
    for file in (ROOT / layer).rglob("*.py"):
        for module in imports_in(file.read_text()):
            package = module.split(".")[0]
            assert package not in MUST_NOT_SEE.get(layer, ()), (file, module)
            if package == "jaxalign":
                assert is_allowed(module, layer), (file, module)


def test_the_test_sees_imports_inside_functions():
    source = "def f():\n    from jaxalign.recipes import dpo\n    import jax.numpy"
    assert list(imports_in(source)) == ["jaxalign.recipes.dpo", "jax.numpy"]
    assert not is_allowed("jaxalign.recipes.dpo", "ops")
    assert not is_allowed("jaxalign.losses.dpo", "training")
    assert is_allowed("jaxalign.losses.base.LossOutput", "training")
    assert not is_allowed("jaxalign.models.Transformer", "rl")
    assert not is_allowed("jaxalign.data.text.tokenizer.Tokenizer", "rl")


def modules_of_data():
    files = (p.relative_to(ROOT.parent) for p in (ROOT / "data").rglob("*.py"))
    names = (".".join(p.with_suffix("").parts) for p in files)
    return ", ".join(name.removesuffix(".__init__") for name in names)


# The rooms of `data`, each with those that it may know.
ROOMS = {
    "sources": set(),
    "records": {"sources"},
    "text": {"records"},
    "packing": {"text"},
}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_data_know_those_before_them(room):
    allowed = {f"jaxalign.data.{name}" for name in ROOMS[room] | {room}}
    for file in (ROOT / "data" / room).rglob("*.py"):
        for module in imports_in(file.read_text()):
            if module.startswith("jaxalign.data."):
                assert ".".join(module.split(".")[:3]) in allowed, (file, module)


@pytest.mark.parametrize(
    "modules", ["jaxalign", "jaxalign.__main__", "jaxalign.errors", modules_of_data()]
)
def test_imported_without_jax(modules):
    code = f"import {modules}, sys; print('jax' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
        check=False,
    )
    assert out.stdout.strip() == "False", out.stderr
