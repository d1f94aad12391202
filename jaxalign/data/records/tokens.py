"""Rows of token ids made elsewhere: what is padding, and which tokens are trained.

The columns are those that trainers write: `input_ids` with `labels` (-100 where nothing
is trained), `attention_mask` (0 on padding), `completion_mask`, `assistant_masks`, ...;
or the ids of a prompt beside those of what follows it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxalign.data.records import checks
from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.keys import IDS, LAYOUT, MASKS, SIDES, UNTRAINED
from jaxalign.data.records.record import Tokenised

_OF_COMPLETIONS = ["completion_mask"]
"""Masks that are of the completion where its ids stand by themselves."""


class _Ids(NamedTuple):
    """Token ids without padding; `trained` is None where the row does not say."""

    ids: list[int]
    trained: list[bool] | None


def tokenised(row: Mapping[str, Any]) -> Tokenised:
    """The sequence of a row: `input_ids`, or a prompt and its completion.

    Raises:
      Flaw: names the column that contradicts the ids, or that layouts are mixed.

    >>> tokenised({"input_ids": [5, 6, 7], "labels": [-100, 6, -100]}).loss_mask
    (False, True, False)
    """
    prompt, whole = _sequence(row, "prompt_"), _sequence(row, "")
    completion = _sequence(row, "completion_")
    if completion and not whole:
        _check_owned(row)
    if whole and completion:
        raise Flaw(
            "the row has `input_ids` and the ids of a completion",
            "Keep one of them: the whole sequence, or prompt and completion.",
        )
    if whole and prompt and not _begins(whole, prompt):
        raise Flaw(
            "`input_ids` does not begin with the ids of the prompt",
            "Keep the whole sequence alone, or mend the ids of the prompt.",
        )
    part = whole or completion
    if part is None:
        # Always raises; its message lists the columns that the row has.
        checks.need(row, "input_ids")
        raise AssertionError("unreachable")
    if prompt is None:
        return _record(part)
    # What is called `input_ids` may hold the prompt, as KTO's trainers write it; a
    # completion by itself may well begin as its prompt does.
    return _record(_behind(prompt, part, within="completion_ids" not in row))


def _check_owned(row: Mapping[str, Any]) -> None:
    """Refuses masks beside a prompt and a completion that may be of either."""
    for name in (*MASKS, *LAYOUT):
        if name in row and name not in _OF_COMPLETIONS:
            raise Flaw(
                f"`{name}` does not say which ids it is of",
                f"Call it `completion_{name}`, or give the whole sequence as "
                "`input_ids`.",
            )


def tokenised_sides(row: Mapping[str, Any]) -> tuple[Tokenised, Tokenised]:
    """Both sequences of a pair; ids of a prompt stand before sides without it.

    Raises:
      Flaw: as `tokenised`, or if one side begins with the prompt and the other not.
    """
    prompt = _sequence(row, "prompt_")
    sides = []
    for side in SIDES:
        found = _sequence(row, f"{side}_")
        if found is None:
            checks.need(row, f"{side}_input_ids")
        sides.append(found)
    if prompt is not None:
        # Some trainers write the prompt's ids into both sides, others only before them.
        whole = [_begins(side, prompt) for side in sides]
        if any(whole) and not all(whole):
            raise Flaw(
                "one side begins with the ids of the prompt, the other does not",
                "Give both sides with the prompt, or both without it.",
            )
        sides = [_behind(prompt, side, within=True) for side in sides]
    return _record(sides[0]), _record(sides[1])


def _record(sequence: _Ids) -> Tokenised:
    trained = sequence.trained
    return Tokenised(tuple(sequence.ids), None if trained is None else tuple(trained))


def _begins(sequence: _Ids, prompt: _Ids) -> bool:
    return sequence.ids[: len(prompt.ids)] == prompt.ids


def _behind(prompt: _Ids, part: _Ids, *, within: bool) -> _Ids:
    """A sequence whose prompt is not trained, put before it where it is not there.

    Args:
      prompt: Its ids.
      part: What follows it.
      within: Whether the part may begin with the prompt.
    """
    n = len(prompt.ids)
    if within and _begins(part, prompt):
        trained = part.trained or [i >= n for i in range(len(part.ids))]
        return _Ids(part.ids, trained)
    trained = part.trained or [True] * len(part.ids)
    return _Ids(prompt.ids + part.ids, [False] * n + trained)


def _sequence(row: Mapping[str, Any], prefix: str) -> _Ids | None:
    """The ids of one side and what its masks say, without padding."""
    names = ("input_ids",) if not prefix else tuple(prefix + name for name in IDS)
    found = [name for name in names if name in row]
    if len(found) > 1:
        raise Flaw(f"the row has `{found[0]}` and `{found[1]}`", "Keep one of them.")
    if not found:
        return None
    name = found[0]
    ids = _token_ids(row[name], name)
    wanted = [f"{prefix}{mask}" for mask in MASKS]
    if prefix == "completion_":
        wanted += _OF_COMPLETIONS
    masks = [m for m in wanted if m in row]
    trained = None
    for mask in masks:
        # Several masks hold together, as in the trainers that write them.
        says = _mask(row[mask], mask, ids, name)
        both = zip(trained or says, says, strict=True)
        trained = [a and b for a, b in both]
    keep = _attended(row, prefix, ids, name)
    _check_layout(row, prefix, keep, len(ids), name)
    cut = None if trained is None else trained[keep]
    return _Ids(ids[keep], cut)


def _token_ids(value: Any, name: str) -> list[int]:
    ids = checks.entries(value, name)
    for i, token in enumerate(ids):
        # True is an int in Python, and no token.
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise Flaw(
                f"`{name}[{i}]` is {token!r}, not a token id",
                "Ids are whole numbers from 0 on.",
            )
    return ids


def _mask(value: Any, mask: str, ids: list[int], name: str) -> list[bool]:
    entries = checks.entries(value, mask)
    checks.same_length(ids, name, entries, mask)
    if not mask.endswith("labels"):
        return [checks.flag(v, f"{mask}[{i}]") for i, v in enumerate(entries)]
    for i, (token, label) in enumerate(zip(ids, entries, strict=True)):
        # `True == 1`, so a flag would pass for token 1.
        if label not in (token, UNTRAINED) or isinstance(label, bool):
            raise Flaw(
                f"`{mask}[{i}]` is {label!r} where `{name}` has {token}",
                f"A label is the id at its own place, or {UNTRAINED} where nothing is "
                "trained; labels that are shifted by one are not understood.",
            )
    return [label != UNTRAINED for label in entries]


def _attended(row, prefix: str, ids: list[int], name: str) -> slice:
    """The ids that are not padding, which may stand on either side."""
    mask = f"{prefix}attention_mask"
    if mask not in row:
        return slice(0, len(ids))
    entries = checks.entries(row[mask], mask)
    checks.same_length(ids, name, entries, mask)
    if any(x not in (0, 1) for x in entries):
        raise Flaw(
            f"`{mask}` has entries other than 0 and 1, so several texts share the row",
            "Give each text a row of its own; rows are packed later.",
        )
    if 1 not in entries:
        raise Flaw(f"`{mask}` is 0 everywhere", "Remove the row.")
    start, end = entries.index(1), len(entries) - entries[::-1].index(1)
    if 0 in entries[start:end]:
        at = start + entries[start:end].index(0)
        raise Flaw(
            f"`{mask}[{at}]` is 0 between tokens that are 1",
            "Only padding at the ends can be left out; remove what is not to be read.",
        )
    return slice(start, end)


def _check_layout(row, prefix: str, keep: slice, length: int, name: str) -> None:
    """Refuses positions, types and lengths that do not belong to one plain text."""
    real = keep.stop - keep.start
    positions = f"{prefix}position_ids"
    if positions in row:
        found = checks.entries(row[positions], positions)[keep]
        # Positions that also count the padding on the left are those of one text.
        if found != list(range(real)) and found != list(range(keep.start, keep.stop)):
            raise Flaw(
                f"`{positions}` does not count {name} from 0, so several texts share "
                "the row",
                "Give each text a row of its own; rows are packed later.",
            )
    types = f"{prefix}token_type_ids"
    kinds = checks.entries(row[types], types)[keep] if types in row else []
    if any(x != kinds[0] or isinstance(x, list) for x in kinds):
        raise Flaw(
            f"`{types}` tells kinds of tokens apart, and models read only one",
            "Remove the column if it is not needed.",
        )
    lengths = f"{prefix}seq_lengths"
    # The length may be given with the padding, or without it.
    parts = checks.entries(row.get(lengths, [real]), lengths)
    if parts not in ([length], [real]):
        raise Flaw(
            f"`{lengths}` is {parts}, so several texts share the row",
            "Give each text a row of its own; rows are packed later.",
        )
    # `prompt_length` is not the length of ids: it says where something else begins.
    said = row.get("length", real) if not prefix else real
    if said not in (length, real, [length], [real]):
        raise Flaw(
            f"`length` is {said!r}, and `{name}` has {length} ids",
            "Mend the row, or remove the column.",
        )
