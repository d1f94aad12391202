"""What a completion says at last, apart from what was thought on the way."""

import re

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_END_OF_THOUGHT = re.compile(r"^.*</(?:think|thinking|reasoning)>", re.DOTALL)
_REPLY = re.compile(r"<answer>((?:(?!<answer>).)*?)(?:</answer>|\Z)", re.DOTALL)


def reply_of(text: str) -> str:
    """The text without its thoughts, and of that what stands in `<answer>` if any does.

    Thoughts are in `<think>`, `<thinking>` or `<reasoning>`; the first mark may have
    been in the prompt. Of a thought that was cut off nothing is left.

    >>> reply_of("<think>4 or 5?</think> <answer>4</answer> I hope."), reply_of("So 4.")
    ('4', 'So 4.')
    """
    text = without_thoughts(text)
    replies = _REPLY.findall(text)
    return replies[-1] if replies else text


def without_thoughts(text: str) -> str:
    """The text without its thoughts; see `reply_of`.

    >>> without_thoughts("<think>[[2]]?</think>[[3]]"), without_thoughts("<think>[[2]]")
    ('[[3]]', '')
    """
    return _THOUGHT.sub("", _END_OF_THOUGHT.sub("", text))
