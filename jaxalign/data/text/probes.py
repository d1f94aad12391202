"""How a chat template ends turns and surrounds contents, found from three turns."""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from jaxalign.data.text.templates import ChatTemplate
from jaxalign.errors import UserError

_TURNS = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
)


def stop_of_turn(
    backend: Any, template: ChatTemplate | None, special_ids: Collection[int]
) -> int | None:
    """The special token that the template ends an assistant turn with, or None.

    It is the last of those directly behind the text that are the same at the end of a
    conversation and within: some templates close the whole with a further token, and
    some open the next turn directly behind.

    Args:
      backend: a `tokenizers.Tokenizer`.
      template: or None.
      special_ids: ids of the special tokens.
    """
    behind = []
    for count in (2, 3):
        text, pieces = _rendered(template, count)
        if len(pieces) == count:
            ids = backend.encode(text[pieces[1][1] :], add_special_tokens=False).ids
            behind.append(list(itertools.takewhile(special_ids.__contains__, ids)))
    if not any(behind):
        return None
    same = itertools.takewhile(lambda x: len(set(x)) == 1, zip(*behind, strict=False))
    common = [ids[0] for ids in same]
    return common[-1] if common else next(ids[0] for ids in behind if ids)


def around_contents(template: ChatTemplate | None) -> str:
    """What the template writes around the turns and as the header of another."""
    text, pieces = _rendered(template, len(_TURNS), add_generation_prompt=True)
    ends = [0, *(end for _, end in pieces)]
    begins = [*(begin for begin, _ in pieces), len(text)]
    # Between the pieces, which together could spell a marker that none of them holds.
    return "\0".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))


def _rendered(
    template: ChatTemplate | None, count: int, **options: Any
) -> tuple[str, Sequence[tuple[int, int]]]:
    """The text of the first turns and the places of their contents, if there are."""
    if template is None:
        return "", ()
    try:
        rendered = template.render_marked(_TURNS[:count], spans=False, **options)
    # A template that refuses so few words shows nothing here, and still gets its rows.
    except UserError:
        return "", ()
    return rendered.text, rendered.pieces or ()
