"""The tokenizer of a Hugging Face folder: text to ids with offsets, and back."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.data.text.backend import encode, read_backend
from jaxalign.data.text.clock import template_time
from jaxalign.data.text.folder_files import (
    flag_of,
    read_optional,
    special_tokens,
    stop_ids_of,
)
from jaxalign.data.text.markers import Markers
from jaxalign.data.text.probes import around_contents, stop_of_turn
from jaxalign.data.text.template_files import builtin_template, read_template
from jaxalign.data.text.templates import BUILTIN, ChatTemplate
from jaxalign.errors import UserError
from jaxalign.json_file import read_text


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """A tokenizer with what training and sampling must know about it.

    Attributes:
      backend: a `tokenizers.Tokenizer`.
      vocab_size: one more than its largest id. A model may have more rows.
      bos_id: what a sequence begins with, if `adds_bos`.
      eos_id: what ends a text, or None.
      pad_id: for padding; the EOS where there is no pad token. Never used for masks.
      stop_ids: every id after which a response is over: those of the generation
        config (without one, of the model's), the EOS, and the template's end of turn.
      special_ids: ids of the special tokens.
      adds_bos: whether the model reads a BOS before each sequence.
      template: the chat template, or None.
      fingerprint: hex digest over the tokenizer's file, template and special ids.
    """

    backend: Any
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int
    stop_ids: frozenset[int]
    special_ids: frozenset[int]
    adds_bos: bool
    template: ChatTemplate | None
    fingerprint: str

    @functools.cached_property
    def longest_token(self) -> int:
        """No token stands for more characters than this."""
        return max(map(len, self.backend.get_vocab(with_added_tokens=True)))

    @functools.cached_property
    def stop_texts(self) -> tuple[str, ...]:
        """Texts of the stop tokens, as a chat template writes them."""
        added = self.backend.get_added_tokens_decoder()
        # A stop id that is no added token has no text that a template could write.
        return tuple(added[i].content for i in sorted(self.stop_ids) if i in added)

    @functools.cached_property
    def markers(self) -> Markers:
        """The special tokens, and those with which the template divides turns."""
        return Markers(self.backend, around_contents(self.template))

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids `[n]` int32 of `text` and the characters `[n, 2]` each stands for.

        Special tokens written in the text are recognised; none is added.
        """
        encoding = encode(self.backend, text)
        ids = np.asarray(encoding.ids, np.int32)
        return ids, np.asarray(encoding.offsets, np.int32).reshape(-1, 2)

    def decode(self, ids: Sequence[int] | np.ndarray, *, skip_special=False) -> str:
        """The text of `ids`."""
        return self.backend.decode(
            [int(i) for i in ids], skip_special_tokens=skip_special
        )

    def same_words(self, other: "Tokenizer") -> bool:
        """Whether every id means the same to both, special tokens included."""
        return self.backend.get_vocab(True) == other.backend.get_vocab(True)

    def unused_ids(self, rows: int) -> tuple[tuple[int, int], ...]:
        """Which of a model's ids stand for nothing, as `(first, end)` ranges.

        Models have more rows than their tokenizer has tokens, so that the number of
        rows divides well, and some tokenizers leave ids out. A stop token stands for
        the end even where it has no text.

        Args:
          rows: Ids of the model are below it.
        """
        known = np.zeros(rows + 2, bool)
        known[[0, -1]] = True  # one place more at both ends
        vocabulary = self.backend.get_vocab(with_added_tokens=True)
        ids = np.array([*vocabulary.values(), *self.stop_ids], np.int64)
        known[ids[ids < rows] + 1] = True
        edges = np.flatnonzero(np.diff(known))
        return tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2))

    def token(self, token_id: int) -> str:
        """The text of one special token, for messages."""
        return self.backend.id_to_token(int(token_id))


def load_tokenizer(
    folder: str | os.PathLike, *, chat_template: str | None = None
) -> Tokenizer:
    """Reads the tokenizer of a model folder.

    Args:
      folder: holds `tokenizer.json` and, as far as they exist, `tokenizer_config.json`,
        `special_tokens_map.json`, `generation_config.json`, `chat_template.jinja`.
      chat_template: None for the checkpoint's own; the name of a built-in one
        (`chatml`, `chatml.training`, ...); the path of a `.jinja` file; or the name of
        one of several that the checkpoint has.

    Raises:
      UserError: a file is missing or contradicts the others.
    """
    folder = pathlib.Path(folder)
    file = folder / "tokenizer.json"
    if not file.exists():
        _refuse(folder)
    backend = read_backend(file)
    config = read_optional(folder / "tokenizer_config.json")
    special = special_tokens(folder, config)
    ids = {name: _token_id(backend, special[name], name, folder) for name in special}
    bos, eos = ids.get("bos_token"), ids.get("eos_token")
    added = backend.get_added_tokens_decoder()
    special_ids = frozenset(i for i, token in added.items() if token.special)
    template = _choose_template(folder, chat_template, special)
    turn_end = stop_of_turn(backend, template, special_ids)
    stops = stop_ids_of(folder)
    stops |= {i for i in (eos, turn_end) if i is not None}
    pad = ids.get("pad_token")
    adds_bos = bos is not None and _adds_bos(backend, folder, config, bos)
    source: Any = template.source if template else None
    if template and template.for_tools:
        source = list(template.sources)
    # Rows that show the time are other rows at another time.
    if template and template.reads_clock:
        source = [source, template_time()]
    digest = hashlib.sha256(file.read_bytes())
    digest.update(json.dumps([source, sorted(ids.items()), sorted(stops)]).encode())
    digest.update(b"bos" if adds_bos else b"")
    return Tokenizer(
        backend=backend,
        vocab_size=1 + max(backend.get_vocab(with_added_tokens=True).values()),
        bos_id=bos,
        eos_id=eos,
        # Any id would do, because masks tell what is padding.
        pad_id=pad if pad is not None else (eos if eos is not None else 0),
        stop_ids=frozenset(stops),
        special_ids=special_ids,
        adds_bos=adds_bos,
        template=template,
        fingerprint=digest.hexdigest(),
    )


def _refuse(folder: pathlib.Path):
    if not folder.is_dir():
        raise UserError(f"There is no model folder at {folder}.")
    pieces = [x for x in ("tokenizer.model", "spiece.model") if (folder / x).exists()]
    if pieces:
        raise UserError(
            f"{folder} has a SentencePiece file ({pieces[0]}) and no tokenizer.json."
            " Convert it once: transformers' AutoTokenizer.from_pretrained(DIR)"
            ".save_pretrained(DIR) writes a tokenizer.json beside it."
        )
    raise UserError(
        f"{folder} has no tokenizer.json. Name a folder in the Hugging Face layout."
    )


def _token_id(backend, text: str, name: str, folder: pathlib.Path) -> int:
    token_id = backend.token_to_id(text)
    if token_id is None:
        raise UserError(
            f"{folder}: `{name}` is {text!r}, which tokenizer.json does not know."
            " Correct tokenizer_config.json, or add the token to tokenizer.json."
        )
    return token_id


def _adds_bos(backend, folder: pathlib.Path, config: Mapping, bos: int) -> bool:
    said = flag_of(folder / "tokenizer_config.json", config, "add_bos_token")
    if said is not None:
        return said
    # Without the key it is the post-processor that adds a BOS, or nothing does.
    return backend.encode("", add_special_tokens=True).ids[:1] == [bos]


def _choose_template(folder, chosen: str | None, special) -> ChatTemplate | None:
    if chosen is None:
        return read_template(folder, special)
    if chosen.removesuffix(".training") in BUILTIN:
        return builtin_template(chosen, special)
    file = pathlib.Path(chosen)
    if not file.is_file():
        return read_template(folder, special, chosen)
    return ChatTemplate(read_text(file), str(file), special)
