"""A user's file or module as a program of its own would import it."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxalign.rewards.faults import is_users


class NoSuchModule(Exception):
    """There is no such function; the text is the end of a sentence about the file."""


def import_user(origin: str) -> ModuleType:
    """The module of a file, or of a name, in `sys.modules` under the name it has.

    Args:
      origin: A file that ends in `.py`, or the dotted name of a module.

    Raises:
      BaseException: Whatever the code raises.
    """
    if not origin.endswith(".py"):
        return importlib.import_module(origin)
    path = Path(origin).resolve()
    # A file that is loaded already is not run a second time.
    for module in list(sys.modules.values()):
        if _file_of(module) == str(path):
            return module
    above = _levels_above(path)
    if above:  # it says `from .neighbour import ...`: it is part of a package
        root = path.parents[above]
        sys.path.insert(0, str(root))
        return importlib.import_module(
            ".".join(path.relative_to(root).with_suffix("").parts)
        )
    name = path.stem
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name} of {path.parent}"  # `random.py`: others mean Python's
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as Python does: pickle and dataclasses look a class's module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def find_function(module: ModuleType, attribute: str) -> Callable[..., Any]:
    """The function that a module has under a name, dots in it being attributes.

    Raises:
      NoSuchModule: There is none, or what is there is no function.
    """
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if inspect.isclass(found):
        raise NoSuchModule(
            f"has a class `{attribute}`, and a reward is a function, or an object that "
            "can be called. Make one in the file, and name that."
        )
    if callable(found):
        return found
    raise NoSuchModule(f"has no function `{attribute}`.")


def functions_of(module: ModuleType) -> list[str]:
    """The functions of a module by name."""
    return [k for k, v in vars(module).items() if inspect.isfunction(v)]


def sources(origin: str, module: ModuleType) -> dict[str, str]:
    """Digests of the code behind a reward, by module; of a file by its path.

    That is the module itself and all of the user's modules that are loaded by now, or
    that one of these imports anywhere in its code: neither Python's own, nor what is
    installed, nor ours.
    """
    names = {
        name: Path(file).resolve()
        for name, x in list(sys.modules.items())
        if (file := _file_of(x))
        and name != "__main__"
        and (is_users(file) or x is module or _is_beside(name, module))
    }
    todo = list(names.values())
    while todo:
        for name, file in _imports(todo.pop()):
            if file not in names.values() and is_users(str(file)):
                names[name] = file
                todo.append(file)
    digests = {}
    for name, file in names.items():
        key = origin if name == module.__name__ else name
        try:
            digests[key] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:  # in an archive, or gone by now
            continue
    return digests


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__dict__", {}).get("__file__")
    return file if isinstance(file, str) else None


def _is_beside(name: str, module: ModuleType) -> bool:
    """Whether a module is of the package of a named one, which may be installed."""
    package = module.__name__.partition(".")[0]
    return package != module.__name__ and name.partition(".")[0] == package


def _imports(file: Path) -> Iterator[tuple[str, Path]]:
    """Modules that a file imports, at the top or in a function, found as files."""
    tree = _parsed(file)
    if tree is None:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            folder = file.parents[node.level - 1] if node.level else None
            names = [base, *(f"{base}.{x.name}".strip(".") for x in node.names)]
            wanted = [(name, folder) for name in names if name]
        else:
            continue
        for name, folder in wanted:
            yield from _files_of(name, [str(folder)] if folder else sys.path)


def _files_of(name: str, path: list[str]) -> Iterator[tuple[str, Path]]:
    """The file of a module and those of the packages around it; none is imported."""
    parts = name.split(".")
    for place in path:
        base = Path(place or ".")
        found = []
        for i, part in enumerate(parts):
            for file in (base / part / "__init__.py", base / f"{part}.py"):
                if file.is_file():
                    found.append((".".join(parts[: i + 1]), file.resolve()))
                    break
            base = base / part
        if found:
            yield from found
            return


def _levels_above(path: Path) -> int:
    """How many folders above a file its relative imports begin; 0 without any."""
    tree = _parsed(path)
    nodes = ast.walk(tree) if tree else ()
    deepest = max((x.level for x in nodes if isinstance(x, ast.ImportFrom)), default=0)
    if not deepest:
        return 0
    packages = 0
    while (path.parents[packages] / "__init__.py").is_file():
        packages += 1
    return max(deepest, packages)


def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
