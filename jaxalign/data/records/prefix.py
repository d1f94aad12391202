"""The prompt that two completions share when nobody wrote it down."""

import os
import re

from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.record import Message

_HEADER = re.compile(r"\n\n(Human|Assistant):")
_ROLE = {"Human": "user", "Assistant": "assistant"}

Turns = tuple[Message, ...]


def split_messages(chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """Prompt, chosen, rejected of two conversations: whole shared messages.

    The prompt is the longest common prefix behind which both go on with an assistant
    turn.

    Raises:
      Flaw: if there is no such prefix.
    """
    n = 0
    while n < min(len(chosen), len(rejected)) and _same(chosen[n], rejected[n]):
        n += 1
    # What they share may end on the user's side; go back to where both reply.
    while n and not (_answers(chosen, n) and _answers(rejected, n)):
        n -= 1
    if not n:
        raise _nothing_shared("messages")
    return chosen[:n], chosen[n:], rejected[n:]


def split_text(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt, chosen, rejected of two plain texts.

    The prompt is the longest common prefix, moved back to the end of a word, so that
    both responses begin with white space and no token straddles the cut.

    Raises:
      Flaw: if there is no such prefix.

    >>> split_text("Q: 2+2? A: 4", "Q: 2+2? A: 5")
    ('Q: 2+2? A:', ' 4', ' 5')
    """
    # Characters may agree up to the middle of a word, and of a token.
    n = len(os.path.commonprefix([chosen, rejected]))
    while n and not (_word_ends(chosen, n) and _word_ends(rejected, n)):
        n -= 1
    if not chosen[:n].strip():
        raise _nothing_shared("words")
    return chosen[:n], chosen[n:], rejected[n:]


def split_transcripts(chosen: str, rejected: str) -> tuple[str, str, str]:
    r"""Prompt, chosen, rejected of two `\n\nHuman:` / `\n\nAssistant:` transcripts.

    Whole turns are shared; the prompt ends with the header of the assistant turn in
    which the two part.

    Raises:
      Flaw: if they share no turn.

    >>> asked = "\n\nHuman: hi\n\nAssistant:"
    >>> split_transcripts(asked + " yo", asked + " no")
    ('\n\nHuman: hi\n\nAssistant:', ' yo', ' no')
    """
    # White space before the first header is no part of the prompt that is put together.
    chosen, rejected = map(_from_header, (chosen, rejected))
    turns = [_split(side) for side in (chosen, rejected)]
    n = 0
    while n < min(map(len, turns)) and turns[0][n] == turns[1][n]:
        n += 1
    while n and not all(len(t) > n and t[n][0] == "Assistant" for t in turns):
        n -= 1
    # Without a shared turn there is no prompt, as for messages.
    if not n:
        raise _nothing_shared("turns")
    prompt = "".join(f"\n\n{who}:{said}" for who, said in turns[0][:n])
    prompt += "\n\nAssistant:"
    return prompt, chosen[len(prompt) :], rejected[len(prompt) :]


def transcript_messages(transcript: str, field: str) -> list[dict[str, str]]:
    r"""The turns of an HH transcript as messages; a speaker's turns in a row are one.

    Raises:
      Flaw: if the text does not begin with a header.

    >>> transcript_messages("\n\nHuman: hi\n\nAssistant: yo", "chosen")
    [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'yo'}]
    """
    turns: list[dict[str, str]] = []
    for who, said in _split(transcript):
        if turns and turns[-1]["role"] == _ROLE[who]:
            both = turns[-1]["content"], said.strip()
            turns[-1]["content"] = "\n\n".join(filter(None, both))
        else:
            turns.append({"role": _ROLE[who], "content": said.strip()})
    if not turns:
        raise Flaw(
            f"`{field}` does not begin with a line `Human:` behind an empty line",
            "HH transcripts do; for other text say --format preference.",
        )
    return turns


def _split(transcript: str) -> list[tuple[str, str]]:
    before, *parts = _HEADER.split(transcript)
    # Text before the first header belongs to no speaker.
    if before.strip():
        return []
    return list(zip(parts[::2], parts[1::2], strict=True))


def _from_header(transcript: str) -> str:
    first = _HEADER.search(transcript)
    blank = first and not transcript[: first.start()].strip()
    return transcript[first.start() :] if first and blank else transcript


def _same(a: Message, b: Message) -> bool:
    """Whether both say the same; what is trained of it does not matter in a prompt."""
    return (a.role, a.content, a.extra) == (b.role, b.content, b.extra)


def _answers(turns: Turns, n: int) -> bool:
    return n < len(turns) and turns[n].role == "assistant"


def _word_ends(text: str, n: int) -> bool:
    return n < len(text) and text[n].isspace() and not text[n - 1].isspace()


def _nothing_shared(unit: str) -> Flaw:
    return Flaw(
        f"`chosen` and `rejected` share no {unit} at their beginning, hence no prompt",
        "Give the prompt in a column of its own (--columns prompt=NAME), or mend it.",
    )
