"""From text to the arrays that objectives read: a tokenizer of one token per word."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from jaxalign.batch import Batch
from jaxalign.data.packing import make_batch

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


def encode_texts(vocabulary: Vocabulary, texts: Sequence[str]) -> Batch:
    """Rows for pretraining: every token is a target."""
    return encode_answers(vocabulary, [""] * len(texts), texts)


def encode_answers(
    vocabulary: Vocabulary, questions: Sequence[str], *answers: Sequence[str]
) -> Batch:
    """A question and an answer in each row, or K of them; answers are targets."""
    prompts = [vocabulary.prompt(question) for question in questions]
    ends = [[[*vocabulary.encode(x), vocabulary.eos] for x in own] for own in answers]
    return rows_of(prompts, *ends)


def rows_of(
    prompts: Sequence[list[int]], *completions: Sequence[Sequence[int]]
) -> Batch:
    """The batch of `[N, K]` sequences in which the tokens of completions are targets.

    Args:
      prompts: N of them.
      *completions: K times N.
    """
    ids = np.zeros((len(prompts), len(completions), WIDTH + 1), np.int32)
    mask = np.zeros(ids.shape, bool)
    for k, own in enumerate(completions):
        for i, (prompt, completion) in enumerate(zip(prompts, own, strict=True)):
            whole = [*prompt, *completion]
            ids[i, k, : len(whole)] = whole
            mask[i, k, len(prompt) : len(whole)] = True
    return make_batch(ids, mask)
