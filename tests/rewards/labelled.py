"""Phrases that abstain or answer, labelled by hand.

`english.txt` and `others.txt` were written before the detector. Half of them, by a hash
of their text, are held back: they were counted now and then while the grammars were
made, and never shown. `later.txt` was written in rounds, each with wordings that were
not thought of before, and the grammars were mended by what each round missed.
"""

import hashlib
import pathlib
from typing import NamedTuple

FOLDER = pathlib.Path(__file__).parent / "phrases"


class Phrase(NamedTuple):
    text: str
    abstains: bool
    language: str


def read(*files: str) -> list[Phrase]:
    """The phrases of files, whose sections begin with `[language label]`."""
    phrases, language, label = [], "", ""
    for file in files:
        for line in (FOLDER / file).read_text(encoding="utf-8").splitlines():
            if line.startswith("[") and line.endswith("]"):
                words = line[1:-1].split()
                label = next(x for x in words if x in ("abstains", "answers"))
                language = words[0] if words[0] != label else "en"
            elif line.strip():
                text = line.replace("\\n", "\n")
                phrases.append(Phrase(text, label == "abstains", language))
    return phrases


def is_held_back(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1
