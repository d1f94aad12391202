"""From flags and a YAML file to a recipe's config: one dataclass serves both."""

import dataclasses
import difflib
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, read_plain
from jaxalign.recipes.flags.other_names import ALIASES, REFUSED, translate
from jaxalign.recipes.flags.paths import with_absolute_paths

C = TypeVar("C")

# The words of YAML 1.1; what is none of them is a mistake, and not false.
_SWITCH = {"true": True, "yes": True, "on": True}
_SWITCH |= {"false": False, "no": False, "off": False}


class Entry(NamedTuple):
    """One value of a YAML file, as text or None, and the line where it stands."""

    values: list[str | None]
    line: int


def parse_command(config_class: type[C], argv: list[str], *, prog: str) -> C:
    """Reads a recipe's config from flags and, below them, from `--config FILE`.

    Args:
      config_class: A frozen dataclass; nested ones give dotted names.
      argv: The flags after the command. Besides the fields there are `--config`,
        `--print-config`, which prints and exits, and `--debug`.
      prog: The command's name, for the help text.

    Returns:
      The config. Relative paths, in flags and in the file, are seen from the current
      folder; they are absolute here.

    Raises:
      UserError: Names the file, the line and the nearest name of an unknown key.
      SystemExit: After `--help` and `--print-config`, and for flags that tyro refuses.
    """
    import tyro

    # A copy, because options are taken out of it.
    argv = [*argv]
    file = _take_option(argv, "--config")
    show = _take_switch(argv, "--print-config")
    # The entry point reads it; it decides what is shown of an error.
    _take_switch(argv, "--debug")
    names = field_names(config_class)
    # To tyro the last of repeated flags counts; here their values add up.
    argv = _gather_repeated(translate(argv, names), names)
    entries = read_yaml(Path(file), names) if file else {}
    # What the command line sets goes before the file, also as `--no-NAME`.
    # A value may be the name of a setting: `--allow-change optimizer.learning_rate`.
    flags = (arg.split("=")[0] for arg in argv if arg.startswith("--"))
    given = {flag.removeprefix("--no-").removeprefix("--") for flag in flags}
    given = {name.replace("-", "_") for name in given}
    inherited = []
    for name, entry in entries.items():
        if name not in given:
            try:
                inherited += _as_flags(name, entry.values, names[name])
            except UserError as error:
                raise UserError(f"{file}:{entry.line}: {error}") from error
    config = tyro.cli(config_class, args=inherited + argv, prog=prog)
    config = with_absolute_paths(config)
    if show:
        print_config(config, given, entries, file)
        sys.exit(0)
    return config


def peek(argv: list[str], name: str) -> str | None:
    """The value of one setting, from flags or from `--config FILE`, before all others.

    >>> peek(["--data", "x", "--loss=ipo_loss"], "loss")
    'ipo_loss'
    """
    import yaml

    argv = [*argv]
    value = _take_option(argv, f"--{name}")
    file = _take_option(argv, "--config")
    if value is not None or file is None:
        return value
    try:
        root = yaml.safe_load(read_plain(file).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None  # `parse_command` says what is wrong with it
    found = root.get(name) if isinstance(root, dict) else None
    return None if found is None else str(found)


def field_names(config_class: type) -> dict[str, Any]:
    """`{dotted name: annotation}` of a dataclass and those nested in it.

    >>> from jaxalign.training.optimizer import OptimizerConfig
    >>> field_names(OptimizerConfig)["learning_rate"]
    <class 'float'>
    """
    import typing

    hints = typing.get_type_hints(config_class)
    names = {}
    for field in dataclasses.fields(config_class):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            inner = field_names(kind)  # pyright: ignore[reportArgumentType]
            names |= {f"{field.name}.{name}": hint for name, hint in inner.items()}
        else:
            names[field.name] = kind
    return names


def read_yaml(path: Path, names: dict[str, Any]) -> dict[str, Entry]:
    """The entries of a YAML (or JSON) file by dotted name, checked against `names`."""
    import yaml

    try:
        # Some editors write a byte order mark in front, no part of the first key.
        text = read_plain(path).decode("utf-8-sig")
        # Composed, not loaded: values stay text (`no`, `1e-6`), and each has its line.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise UserError(f"--config {path}: there is no such file.") from error
    except UnreadableError as error:
        raise UserError(f"--config {path}: {error}. Give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not YAML: it is nested too deeply.") from error
    entries: dict[str, Entry] = {}
    if root is not None:
        _flatten(path, root, "", names, entries)
    return entries


def _flatten(path, node, prefix, names, entries):
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}:{node.start_mark.line + 1}: expected `name: value`.")
    for key, value in node.value:
        line = key.start_mark.line + 1
        name: str = prefix + str(key.value).replace("-", "_")
        name = ALIASES.get(name, name)
        if isinstance(value, yaml.MappingNode):
            if not any(known.startswith(f"{name}.") for known in names):
                raise UserError(f"{path}:{line}: {_unknown(name, names)}")
            _flatten(path, value, f"{name}.", names, entries)
            continue
        if name not in names:
            raise UserError(f"{path}:{line}: {_unknown(name, names)}")
        # Of two equal keys a loaded file has the last alone, without a word.
        if name in entries:
            first = entries[name].line
            raise UserError(
                f"{path}:{line}: `{name}` stands there a second time, first on line "
                f"{first}. Remove one of them."
            )
        several = isinstance(value, yaml.SequenceNode)
        items = value.value if several else [value]
        if not all(isinstance(item, yaml.ScalarNode) for item in items):
            raise UserError(
                f"{path}:{line}: `{name}` holds a list of lists or of keys. Give a "
                "value, or a list of values."
            )
        entries[name] = Entry([_scalar(item) for item in items], line)


def _unknown(name: str, names) -> str:
    refusal = REFUSED.get(name.rsplit(".", 1)[-1])
    if refusal:
        return f"`{name}` is not a key here: {refusal}."
    group, _, last = name.rpartition(".")
    inside = [n for n in names if n.startswith(f"{group}.")] if group else [*names]
    near = difflib.get_close_matches(name, inside or [*names], n=1, cutoff=0.5)
    where = f"unknown key `{last}`" + (f" under `{group}`" if group else "")
    hint = near[0].rsplit(".", 1)[-1] if near and group else near[0] if near else ""
    return f"{where}. Did you mean `{hint}`?" if hint else f"{where}. See --help."


def _scalar(node) -> str | None:
    """What YAML calls null; else the text, which in quotes may be `null` as well."""
    return None if node.tag.endswith(":null") else str(node.value)


def _as_flags(name: str, given: list[str | None], hint) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if get_origin(hint) is tuple:
        return _several(flag, [v for v in given if v is not None])
    values = ["None" if v is None else v for v in given]
    if hint is bool:
        on = _SWITCH.get(",".join(values).lower())
        if on is None:
            raise UserError(f"`{name}` is {', '.join(values)}; give true or false.")
        # tyro writes `no-` in front of the last name: --group.no-name.
        group, _, last = flag.removeprefix("--").rpartition(".")
        return [flag] if on else [f"--{group}.no-{last}" if group else f"--no-{last}"]
    if type(None) in get_args(hint):  # Python's word, in any spelling
        values = ["None" if v.lower() == "none" else v for v in values]
    return [flag, *values]


def _gather_repeated(argv: list[str], names) -> list[str]:
    """`--a 1 --b 2 --a 3` as `--b 2 --a 1 3`, where `a` takes several values."""
    several = {n for n, hint in names.items() if get_origin(hint) is tuple}
    rest: list[str] = []
    gathered: dict[str, list[str]] = {}
    values = rest
    for arg in argv:
        flag, eq, value = arg.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") in several:
            values = gathered.setdefault(flag.replace("_", "-"), [])
            values += [value] if eq else []
        else:
            # "---" and "-->" are values; no flag is called so.
            named = arg.startswith("--") and any(c.isalnum() for c in arg)
            values = rest if named else values
            values.append(arg)
    return rest + [x for flag, given in gathered.items() for x in _several(flag, given)]


def _several(flag: str, values: list[str]) -> list[str]:
    """A flag and its values, of which one may look like a flag itself."""
    looks = [v for v in values if re.match(r"--?\w", v) and not _is_number(v)]
    if not looks:
        return [flag, *values]
    if len(values) > 1:
        raise UserError(
            f"{flag}: {looks[0]!r} looks like a flag, which only a single value may. "
            "Give it alone, or in another spelling."
        )
    # Behind `=` tyro takes what looks like a flag for a value.
    return [f"{flag}={values[0]}"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _take_option(argv: list[str], flag: str) -> str | None:
    for i, arg in enumerate(argv):
        if arg == flag:
            if i + 1 == len(argv):
                raise UserError(f"{flag} needs a value behind it.")
            del argv[i]
            return argv.pop(i)
        if arg.startswith(f"{flag}="):
            return argv.pop(i).partition("=")[2]
    return None


def _take_switch(argv: list[str], flag: str) -> bool:
    found = flag in argv
    argv[:] = [arg for arg in argv if arg != flag]
    return found


def print_config(config, given: set[str], entries: dict[str, Entry], file) -> None:
    """Prints every value with where it came from: flag, file and line, or default."""
    for name in field_names(type(config)):
        value = config
        for part in name.split("."):
            value = getattr(value, part)
        if name in given:
            source = "flag"
        elif name in entries:
            source = f"{file}:{entries[name].line}"
        else:
            source = "default"
        print(f"{name}: {value!r}  # {source}")
