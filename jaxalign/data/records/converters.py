"""Popular row layouts into standard ones: pure functions from a row to rows.

Each takes a row and whether plain text is wanted (else messages), and returns rows
with the standard columns (`messages`; `prompt` with `completion`; ...). Columns that
were not used stay. A row that cannot be converted raises `Flaw`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from jaxalign.data.records import checks, keys
from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.prefix import split_transcripts, transcript_messages
from jaxalign.data.records.sharegpt import turns_of

Row: TypeAlias = dict[str, Any]


def sharegpt(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """`conversations: [{from, value}]` into `messages`.

    With `chosen` and `rejected` turns beside them, the conversation is the `prompt`.

    >>> sharegpt({"conversations": [{"from": "human", "value": "hi"}]})
    [{'messages': [{'role': 'user', 'content': 'hi'}]}]
    """
    if plain:
        raise Flaw("a conversation has no plain form", "Leave out --conversational no.")
    rest = _without(row, "conversations")
    turns = turns_of(checks.need(row, "conversations"), "conversations")
    if row.get("chosen") is None:
        return [{**rest, "messages": turns}]
    sides = {
        side: turns_of(_as_list(checks.need(row, side)), side)
        for side in ("chosen", "rejected")
    }
    return [{**rest, "prompt": turns, **sides}]


def alpaca(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    r"""`instruction`, `input`, `output` (and `history`) into prompt and completion.

    The input follows the instruction behind a blank line. A plain prompt ends with a
    blank line, so that the completion does not stick to the question.

    >>> alpaca({"instruction": "Add.", "input": "2, 3", "output": "5"})
    [{'prompt': 'Add.\n\n2, 3', 'completion': '5'}]
    """
    (out,) = alpaca_prompt(row, plain)
    return [{**_without(out, "output"), "completion": checks.need(row, "output")}]


def alpaca_prompt(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """`instruction`, `input` and `history` into the prompt alone; the rest stays.

    >>> alpaca_prompt({"instruction": "Add 2, 3.", "chosen": "5", "rejected": "6"})
    [{'chosen': '5', 'rejected': '6', 'prompt': 'Add 2, 3.'}]
    """
    instruction = checks.text(checks.need(row, "instruction"), "instruction")
    given = checks.text(row.get("input") or "", "input", blank=True)
    prompt: Any = f"{instruction}\n\n{given}" if given.strip() else instruction
    history = row.get("history") or ()
    if plain:
        if history:
            raise Flaw("`history` has no plain form", "Leave out --conversational no.")
        prompt += "\n\n"
    elif history:
        prompt = [*_history(history), {"role": "user", "content": prompt}]
    return [{**_without(row, "instruction", "input", "history"), "prompt": prompt}]


def dolly(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    r"""`instruction`, `context` and `response` as Alpaca's columns.

    >>> dolly({"instruction": "Add.", "context": "2, 3", "response": "5"})
    [{'prompt': 'Add.\n\n2, 3', 'completion': '5'}]
    """
    (out,) = dolly_prompt(row, plain)
    return [{**_without(out, "response"), "completion": checks.need(row, "response")}]


def dolly_prompt(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """`instruction` and `context` into the prompt alone; the rest stays."""
    return alpaca_prompt(
        {**_without(row, "context"), "input": row.get("context")}, plain
    )


def hh(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    r"""`\n\nHuman:` / `\n\nAssistant:` transcripts into message lists.

    The prompt is found later, as the messages that both sides share; in plain form it
    ends with the header of the assistant turn in which they part.
    """
    sides = {k: checks.text(checks.need(row, k), k) for k in ("chosen", "rejected")}
    if not plain:
        return [{**row, **{k: transcript_messages(v, k) for k, v in sides.items()}}]
    # A tie is reported later; here no turn would be found in which they part.
    if sides["chosen"] == sides["rejected"]:
        return [dict(row)]
    # Only to check them: the plain form keeps its text as it is.
    for side, transcript in sides.items():
        transcript_messages(transcript, side)
    parts = split_transcripts(sides["chosen"], sides["rejected"])
    return [{**row, **dict(zip(("prompt", "chosen", "rejected"), parts, strict=True))}]


def ultrafeedback(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """Binarised pairs whose two message lists begin with the prompt.

    `score_chosen` less `score_rejected` becomes the `margin`.
    """
    if plain:
        raise Flaw("message lists have no plain form", "Leave out --conversational no.")
    _check_asked(row)
    # Both sides begin with the prompt, so the column would give it twice.
    out = _without(row, "prompt")
    if "margin" not in row and all(row.get(name) is not None for name in keys.SCORES):
        better, worse = (checks.number(out[name], name) for name in keys.SCORES)
        out["margin"] = better - worse
    return [out]


def _check_asked(row: Mapping[str, Any]) -> None:
    """Refuses a prompt that says what neither side begins with."""
    asked, chosen = row.get("prompt"), row.get("chosen")
    if not asked or not isinstance(chosen, list):
        return
    turns = asked if isinstance(asked, list) else [{"content": asked}]
    said, wanted = (
        [str(x.get("content")).strip() for x in side if isinstance(x, Mapping)]
        for side in (chosen, turns)
    )
    if not all(x in said for x in wanted):
        raise Flaw(
            "`prompt` says what `chosen` does not begin with",
            "Put it before both sides, or rename it away if it is of no use "
            "(--columns asked=prompt).",
        )


def question_answer(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """`question` and `answer` (text, or a list whose first entry is the answer).

    The answer is kept as a column too, for graders.

    >>> question_answer({"question": "2 + 2?", "answer": ["4", "four"]})
    [{'answer': ['4', 'four'], 'prompt': '2 + 2?', 'completion': '4'}]
    """
    (out,) = question(row, plain)
    answer = checks.need(row, "answer")
    if isinstance(answer, list | tuple):
        if not answer:
            raise Flaw("`answer` is an empty list", "Give one, or remove the row.")
        answer = answer[0]
    return [{**out, "completion": answer}]


def question(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """`question` into the prompt; the rest stays.

    >>> question({"question": "2 + 2?", "answer": "4"})
    [{'answer': '4', 'prompt': '2 + 2?'}]
    """
    asked = checks.text(checks.need(row, "question"), "question")
    return [{**_without(row, "question"), "prompt": asked + "\n\n" if plain else asked}]


def oasst_rankings(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """A message tree into one ranking for each turn that has ranked replies."""
    rows = []
    for path, node in _walk(_root(row), []):
        replies = [r for r in _replies(node) if _role(r) == "assistant"]
        ranked = [r for r in replies if isinstance(r.get("rank"), int | float)]
        # A reply alone has nothing to be compared with.
        if _role(node) != "user" or len(ranked) < 2:
            continue
        _no_plain_tree(plain)
        answers = [[_tree_message(r)] for r in ranked]
        ranks = [r["rank"] for r in ranked]
        ids = {"message_id": node.get("message_id")}
        ranking = {"prompt": path, "completions": answers, "ranks": ranks}
        rows.append({**_without(row, *ranking), **ranking, **ids})
    return rows


def oasst_best_path(row: Mapping[str, Any], plain: bool = False) -> list[Row]:
    """A message tree into the conversation along its best ranked replies."""
    _no_plain_tree(plain)
    node, path = _root(row), []
    while node:
        path.append(_tree_message(node))
        # Replies that nobody ranked come last.
        node = min(
            _replies(node),
            key=lambda r: r["rank"] if isinstance(r.get("rank"), int | float) else 1e9,
            default=None,
        )
    # The path may end with a question that nobody answered.
    if path[-1]["role"] == "user":
        path.pop()
    if not path:
        raise Flaw("the tree has no reply", "Remove the tree.")
    return [{**_without(row, "prompt"), "messages": path}]


CONVERTERS: dict[tuple[str, str], Callable[[Mapping[str, Any], bool], list[Row]]] = {
    ("sharegpt", "messages"): sharegpt,
    ("sharegpt", "preference"): sharegpt,
    ("alpaca", "prompt-completion"): alpaca,
    ("alpaca", "preference"): alpaca_prompt,
    ("alpaca", "prompt-only"): alpaca_prompt,
    ("dolly", "prompt-completion"): dolly,
    ("dolly", "prompt-only"): dolly_prompt,
    ("hh", "preference"): hh,
    ("ultrafeedback", "preference"): ultrafeedback,
    ("question_answer", "prompt-completion"): question_answer,
    ("question_answer", "prompt-only"): question,
    ("oasst", "rankings"): oasst_rankings,
    ("oasst", "messages"): oasst_best_path,
}
"""The converter for a layout's name and the shape wanted of it."""


def _history(history: Any) -> list[dict[str, Any]]:
    turns = []
    for i, pair in enumerate(history):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Flaw(
                f"`history[{i}]` is not a pair of question and answer",
                'History looks like [["question", "answer"], ...].',
            )
        turns.append({"role": "user", "content": pair[0]})
        turns.append({"role": "assistant", "content": pair[1]})
    return turns


def _root(row: Mapping[str, Any]) -> Mapping[str, Any]:
    root = checks.need(row, "prompt")
    if not isinstance(root, Mapping) or _role(root) != "user":
        raise Flaw(
            "`prompt` is not the root of a message tree",
            'Roots look like {"role": "prompter", "text": ..., "replies": [...]}.',
        )
    return root


def _walk(node: Mapping[str, Any], path: list):
    path = [*path, _tree_message(node)]
    yield path, node
    for reply in _replies(node):
        yield from _walk(reply, path)


def _replies(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(
        isinstance(r, Mapping) for r in replies
    ):
        raise Flaw("`replies` is not a list of messages", "Mend or remove the tree.")
    # The export keeps what its moderators deleted.
    return [r for r in replies if not r.get("deleted")]


def _role(node: Mapping[str, Any]) -> str | None:
    return {"prompter": "user", "assistant": "assistant"}.get(node.get("role", ""))


def _tree_message(node: Mapping[str, Any]) -> dict[str, Any]:
    role = _role(node)
    if role is None:
        raise Flaw(
            f"a message's role is {node.get('role')!r}",
            "Trees hold `prompter` and `assistant`.",
        )
    return {"role": role, "content": checks.text(node.get("text"), "text")}


def _no_plain_tree(plain: bool) -> None:
    if plain:
        raise Flaw("a message tree has no plain form", "Leave out --conversational no.")


def _as_list(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def _without(row: Mapping[str, Any], *columns: str) -> Row:
    return {k: v for k, v in row.items() if k not in columns}
