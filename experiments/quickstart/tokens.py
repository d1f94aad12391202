"""From text to the arrays that objectives read: a tokenizer of one token per word."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from jaxalign.objectives import Tokens

WIDTH = 16
"""Positions in a row; the longest question with its answer has 15."""


class Vocabulary(NamedTuple):
    """A tokenizer, and the two tokens that are not words.

    Attributes:
      tokenizer: Splits at white space; a token per word.
      bos: What every sequence begins with.
      eos: What every sequence ends with.
    """

    tokenizer: tokenizers.Tokenizer
    bos: int
    eos: int

    @property
    def size(self) -> int:
        """Token ids are below it."""
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of the words, with nothing added."""
        return self.tokenizer.encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The words, without bos and eos."""
        return self.tokenizer.decode(ids)

    def prompt(self, text: str) -> list[int]:
        """What the model reads before it answers."""
        return [self.bos, *self.encode(text)]


def make_vocabulary(words: Sequence[str]) -> Vocabulary:
    """A tokenizer for texts made of `words`; any other word is an error."""
    ids = {word: i for i, word in enumerate(["<bos>", "<eos>", *words])}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(ids))  # no unk_token: an error
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    tokenizer.add_special_tokens(["<bos>", "<eos>"])
    return Vocabulary(tokenizer, ids["<bos>"], ids["<eos>"])


def encode_texts(vocabulary: Vocabulary, texts: Sequence[str]) -> Tokens:
    """Rows for pretraining: every token is a target."""
    return encode_answers(vocabulary, [""] * len(texts), texts)


def encode_answers(
    vocabulary: Vocabulary, questions: Sequence[str], answers: Sequence[str]
) -> Tokens:
    """Rows `[N, WIDTH]` in which the answer and its end are targets."""
    prompts = [vocabulary.prompt(question) for question in questions]
    ends = [[*vocabulary.encode(answer), vocabulary.eos] for answer in answers]
    return rows_of(prompts, ends)


def rows_of(prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Tokens:
    """Rows `[N, WIDTH]` in which the tokens of the response are targets.

    This is the only place where tokens are shifted: position t of `targets` is the
    token behind position t of `inputs`.
    """
    shape = len(prompts), WIDTH
    inputs, targets = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    mask = np.zeros(shape, bool)
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        ids = [*prompt, *response]
        n = len(ids) - 1
        inputs[i, :n] = ids[:-1]
        targets[i, :n] = ids[1:]
        mask[i, len(prompt) - 1 : n] = True
    arrays: Any = inputs, targets, mask
    return Tokens(*arrays)
