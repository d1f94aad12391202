"""The `tokenizers` library, whose failures become sentences about the file."""

import contextlib
import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from jaxalign.errors import UserError

# A time that doubles with each character passes any limit at 48 of them; a sound
# pattern stays far below this one.
_MOST_PROBE_SECONDS = 0.5
# Rising, so that a bad pattern shows at a length at which it still comes to an end.
_PROBE_LENGTHS = (12, 24, 48)
_PROBE_ALPHABET = "a1 \n!é中"


def read_backend(file: pathlib.Path) -> Any:
    """The `tokenizers.Tokenizer` of a `tokenizer.json`, without truncation or padding.

    Raises:
      UserError: It is not such a file, holds no tokens, or has a pattern that takes
        ever longer to match.
    """
    import tokenizers

    if not file.is_file():
        raise UserError(f"{file} is no regular file. Put the tokenizer there.")
    with _explained(file), _without_panic_messages():
        backend = tokenizers.Tokenizer.from_file(str(file))
        # Files may carry both over from training, and would cut texts here unsaid.
        backend.no_truncation()
        backend.no_padding()
        if not backend.get_vocab(with_added_tokens=True):
            raise UserError(f"{file} holds no tokens. Fetch it again.")
        _probe(backend, file)
    return backend


def encode(backend: Any, text: str) -> Any:
    """`backend.encode` without special tokens; its failure is a sentence."""
    try:
        return backend.encode(text, add_special_tokens=False)
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise UserError(
            f"The tokenizer cannot split a text of {len(text):,} characters that "
            f"begins with {text[:40]!r}: {_reason(error)}. A pattern of its "
            "tokenizer.json takes too long there: leave the text out, or take the "
            "original model's tokenizer."
        ) from None


@contextlib.contextmanager
def _explained(file: pathlib.Path) -> Iterator[None]:
    """Whatever the library raises becomes a `UserError`; it raises bare `Exception`."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not _is_panic(error):
            raise
        raise UserError(
            f"{file} is not a tokenizer file that can be used: {_reason(error)}. Fetch "
            "it again."
        ) from None


def _is_panic(error: BaseException) -> bool:
    # It is no `Exception`, and its class cannot be imported from anywhere.
    return type(error).__name__ == "PanicException"


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__


@contextlib.contextmanager
def _without_panic_messages() -> Iterator[None]:
    """Rust prints where it panicked to file descriptor 2 before Python hears of it."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # there is no such descriptor
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _probe(backend: Any, file: pathlib.Path) -> None:
    """Refuses a pattern that needs twice the time for every further character.

    Each of its own characters and a few others are repeated, ever longer, with one
    behind them that makes a match fail: a nested repetition that matches the run then
    tries all ways to divide it.
    """
    splitter, normalizer = backend.pre_tokenizer, backend.normalizer
    for run in (
        splitter and splitter.pre_tokenize_str,
        normalizer and normalizer.normalize_str,
    ):
        if run is None:
            continue
        # Without a regular expression nothing can take ever longer, so nothing is
        # probed.
        patterns = _patterns(json.loads(run.__self__.__getstate__()))
        alphabet = {c for pattern in patterns for c in pattern if c.isprintable()}
        for character in sorted(alphabet | set(_PROBE_ALPHABET)) if patterns else ():
            for length in _PROBE_LENGTHS:
                taken = _seconds(run, character * length + "\x01")
                if taken > _MOST_PROBE_SECONDS:
                    raise UserError(
                        f"{file}: its pattern {_longest(patterns)!r} takes "
                        f"{taken:.1f} s on {length + 1} characters, and doubles with "
                        "each further one. Take the original model's tokenizer."
                    )


def _seconds(run: Callable[[str], Any], text: str) -> float:
    """How long it computes; for ever, where the library gives up."""
    start = time.thread_time()  # other programs of the machine do not count
    try:
        run(text)
    except BaseException as error:
        if not _is_panic(error):
            raise
        return max(time.thread_time() - start, 2 * _MOST_PROBE_SECONDS)
    return time.thread_time() - start


def _patterns(part: Any) -> list[str]:
    """All regular expressions in a part of a `tokenizer.json`."""
    if isinstance(part, dict):
        own = part.get("Regex")
        found = [own] if isinstance(own, str) else []
        return found + [p for x in part.values() for p in _patterns(x)]
    if isinstance(part, list):
        return [p for x in part for p in _patterns(x)]
    return []


def _longest(patterns: list[str]) -> str:
    longest = max(patterns, key=len)
    return re.sub(r"\s+", " ", longest)[:60]
