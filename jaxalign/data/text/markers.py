"""The text of special tokens inside of contents.

A user can type `<|im_end|>`, and a tokenizer reads it as the token that ends a turn:
the content forges a turn, or stops in the middle. A template's own markers and those
that a content spells are told apart by their places.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxalign.data.text.backend import encode
from jaxalign.data.text.marking import TAGS

MarkersInText = Literal["text", "refuse", "keep"]
"""What becomes of them: text like any other, an error, or the special token."""

# An added token without one of these characters is a word, and no marker.
_TAG = re.compile(r"[<\[|｜]")
# Private-use plane 16 is refused in contents, and free again when they are rendered.
_FIRST_ALIAS = 0x100000


class Markers:
    """The special tokens of a tokenizer, and a way to read their text as text.

    Tags around thoughts (`<think>`) are no markers in what an assistant says: there
    they stand for themselves, whether the tokenizer calls them special or not.
    """

    def __init__(self, backend: Any, outside: str = ""):
        """Takes a tokenizer and what its chat template writes around contents.

        Args:
          backend: a `tokenizers.Tokenizer`.
          outside: some of that; tokens in it are markers, special or not.
        """
        self._backend = backend
        added = backend.get_added_tokens_decoder()
        self._tokens = {
            token.content: (i, token)
            for i, token in sorted(added.items())
            if token.special
            or (_TAG.search(token.content) and token.content in outside)
        }
        # Without special tokens a pattern that never matches.
        self._pattern = re.compile(_any_of(self._tokens) or r"(?!)")

    def found(self, messages: Iterable[Mapping[str, Any]], tools: Any) -> list[str]:
        """The markers that messages and tools spell, in order, each once."""
        pieces = [text for m in messages for text in _texts_of(m)]
        pieces += _strings(tools)
        spelt = (x for piece in pieces for x in self._pattern.findall(piece))
        return list(dict.fromkeys(spelt))

    def blanked(self, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The messages with an `x` in the place of each marker that they spell."""
        return [
            {
                key: self._blank(value, key == "content" and _is_own(message))
                for key, value in message.items()
            }
            for message in messages
        ]

    def _blank(self, value: Any, own: bool = False) -> Any:
        if isinstance(value, str):
            pieces = TAGS.split(value) if own else [value]
            pieces[::2] = [self._pattern.sub("x", piece) for piece in pieces[::2]]
            return "".join(pieces)
        if isinstance(value, Mapping):
            return {self._blank(k): self._blank(v, own) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._blank(v, own) for v in value]
        return value

    def count(self, text: str) -> int:
        """How many markers stand in a text."""
        return len(self._pattern.findall(text))

    def outside(self, text: str, pieces: Sequence[tuple[int, int]]) -> list[re.Match]:
        """The markers of a text that no piece holds or touches."""
        starts = np.array([x for x, _ in pieces], int)
        ends = np.array([x for _, x in pieces], int)
        return [
            match
            for match in self._pattern.finditer(text)
            if not ((starts < match.end()) & (ends > match.start())).any()
        ]

    def encode(
        self, text: str, pieces: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids `[n]` int32 and offsets `[n, 2]`; markers in the pieces are plain text.

        Args:
          text: a rendered conversation.
          pieces: characters from and to which its contents stand.
        """
        # Markers of the template become characters of their own, which the tokenizer
        # below knows; it knows no markers, so those of the contents are text to it.
        written, back, last = [], [], 0
        for match in self.outside(text, pieces):
            written += [text[last : match.start()], self._aliases[match.group()]]
            back += [*range(last, match.start()), match.start()]
            last = match.end()
        written.append(text[last:])
        begins = np.array([*back, *range(last, len(text) + 1)], np.int32)
        ends = np.array([0, *begins[1:]], np.int32)
        encoding = encode(self._plain, "".join(written))
        ids = np.array([self._ids.get(i, i) for i in encoding.ids], np.int32)
        offsets = np.asarray(encoding.offsets, np.int32).reshape(-1, 2)
        return ids, np.stack([begins[offsets[:, 0]], ends[offsets[:, 1]]], 1)

    @functools.cached_property
    def _aliases(self) -> dict[str, str]:
        return {text: chr(_FIRST_ALIAS + k) for k, text in enumerate(self._tokens)}

    @functools.cached_property
    def _plain(self) -> Any:
        """The tokenizer with other characters in the place of its markers."""
        import tokenizers

        described = json.loads(self._backend.to_str())
        for token in described["added_tokens"]:
            token["special"] = token["content"] in self._tokens
        backend = tokenizers.Tokenizer.from_str(json.dumps(described))
        aliases = [
            tokenizers.AddedToken(
                alias,
                lstrip=self._tokens[text][1].lstrip,
                rstrip=self._tokens[text][1].rstrip,
                normalized=False,
                special=False,
            )
            for text, alias in self._aliases.items()
        ]
        backend.add_tokens(aliases)
        # Now special tokens in a text are text to it; the aliases are not special and
        # count.
        backend.encode_special_tokens = True
        return backend

    @functools.cached_property
    def _ids(self) -> dict[int, int]:
        """The marker's id for the id of its alias."""
        return {
            self._plain.token_to_id(alias): self._tokens[text][0]
            for text, alias in self._aliases.items()
        }


def _any_of(texts: Iterable[str]) -> str:
    """A pattern that matches the longest of the texts.

    It branches by character: with a branch for each text it would be thousands of times
    slower, since some tokenizers have thousands of special tokens.
    """
    tree: dict[str, Any] = {}
    for text in texts:
        node = tree
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}

    def written(node: dict[str, Any]) -> str:
        branches = [re.escape(c) + written(node[c]) for c in sorted(node) if c]
        if not branches:
            return ""
        body = branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
        return f"(?:{body})?" if "" in node else body

    return written(tree)


def _texts_of(message: Mapping[str, Any]) -> Iterator[str]:
    """What a message says, its keys too; of an assistant without tags of thoughts."""
    for key, value in message.items():
        for text in _strings(value):
            if key == "content" and _is_own(message):
                yield from TAGS.split(text)[::2]
            else:
                yield text


def _is_own(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant"


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [x for pair in value.items() for y in pair for x in _strings(y)]
    if isinstance(value, list | tuple):
        return [x for y in value for x in _strings(y)]
    return []
