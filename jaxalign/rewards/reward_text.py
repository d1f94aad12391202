"""What the text of a reward says: `NAME(PARAMETER=VALUE)=WEIGHT`, or a path."""

import ast
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from jaxalign.errors import UserError

_FORM = re.compile(
    r"(?P<name>[^(=]+)(\((?P<given>.*)\))?\s*(=(?P<weight>[^()=]+))?", re.S
)
_BEHIND_A_FILE = re.compile(
    r":(?P<name>[^(=:]+)(\((?P<given>.*)\))?\s*(=(?P<weight>[^()=]+))?", re.S
)
_WORDS = {"true": True, "false": False, "null": None, "none": None}


class Wanted(NamedTuple):
    """What a text asks for.

    Attributes:
      name: Of a function, or a path.
      parameters: Of the function.
      weight: In the total.
    """

    name: str
    parameters: dict[str, Any]
    weight: float


def read_reward(text: str) -> Wanted:
    """Takes a text apart; nothing is looked up but whether a path exists.

    Folders of sweeps are called like `runs/lr=1e-5`: where the whole text is a path
    that exists, it is nothing else; and so is what stands in front of the last `=`.

    Args:
      text: See `parse_reward`.

    Raises:
      UserError: The text is not understood.

    >>> read_reward("length_penalty(target=20)=0.5")
    Wanted(name='length_penalty', parameters={'target': 20}, weight=0.5)
    """
    given = text.strip()
    if _exists(given):
        return Wanted(given, {}, 1.0)
    path, _, weight = given.rpartition("=")
    if _exists(path.strip()) and _is_number(weight):
        return Wanted(path.strip(), {}, float(weight))
    file, form = _file_and_form(given)
    form = form or _FORM.fullmatch(given)
    if not form:
        raise UserError(
            f"--reward {shown_reward(text)!r} is not understood. Write a name, with "
            "parameters and a weight if need be: exact_match, or "
            "exact_match(column=gold)=0.5."
        )
    weight = _number(form["weight"], text) if form["weight"] else 1.0
    name = f"{file}:{form['name'].strip()}" if file else form["name"].strip()
    return Wanted(name, _parameters(form["given"] or "", text), weight)


def shown_reward(text: str) -> str:
    """The text for messages: a key in the place of its variable's name is left out.

    >>> shown_reward("judge(url='http://host', key=sk-123)")
    "judge(url='http://host', key=...)"
    >>> shown_reward("judge(url='http://host', key=API_KEY)")
    "judge(url='http://host', key=API_KEY)"
    """
    variable = r"""["']?[A-Z][A-Z0-9_]*["']?\s*(?:[,)]|$)"""
    return re.sub(rf"(\bkey\s*=\s*)(?!{variable})[^,)]+", r"\1...", text)


def _file_and_form(text: str) -> tuple[str, re.Match[str] | None]:
    """A file whose path has signs of ours in it, and what stands behind it."""
    for match in re.finditer(r"\.py(?=:)", text):
        file, rest = text[: match.end()], text[match.end() :]
        path = Path(file)
        is_odd = "=" in file or "(" in file
        if is_odd and (_exists(file) or (len(path.parts) > 1 and _exists(path.parent))):
            return file, _BEHIND_A_FILE.fullmatch(rest)
    return "", None


def _exists(path: str | Path) -> bool:
    # Exact names of rewards never are paths: a folder `stopped` is ./stopped.
    text = str(path)
    if not text or ("=" not in text and "(" not in text):
        return False
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for a name; a NUL in it
        return False


def _parameters(given: str, text: str) -> dict[str, Any]:
    source = f"f({given})"
    try:
        with warnings.catch_warnings():  # \d is no escape of Python's, and is meant
            warnings.simplefilter("ignore")
            call = ast.parse(source, mode="eval").body
        if isinstance(call, ast.Call) and not call.args:
            return {_name(k): _literal(k.value, source) for k in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    text, given = shown_reward(text), shown_reward(given)
    raise UserError(
        f"--reward {text!r}: the parameters ({given}) are not understood. Write names "
        "and values, text with blanks or signs in quotes: (column=gold, weight=2)."
    )


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** names no parameter")
    return keyword.arg


def _literal(node: ast.expr, source: str) -> Any:
    """The value: true, false and null in any spelling; else a bare word is text.

    Text in quotes stays as it stands, for regular expressions.
    """
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.List):
        return [_literal(x, source) for x in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_literal(x, source) for x in node.elts)
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("** in a dict")
        keys = [_literal(x, source) for x in node.keys if x is not None]
        values = [_literal(x, source) for x in node.values]
        return dict(zip(keys, values, strict=True))
    written = ast.get_source_segment(source, node) or ""
    if isinstance(node, ast.Constant) and written[:1] in ("'", '"'):
        return written[1:-1]
    value = ast.literal_eval(node)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError("bytes, sets and complex numbers are no parameters")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(weight: str, text: str) -> float:
    if _is_number(weight):
        return float(weight)
    raise UserError(
        f"--reward {shown_reward(text)!r}: the weight {weight!r} is no number. Write "
        "it last: exact_match=0.5."
    )
