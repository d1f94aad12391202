"""Token ids made elsewhere: padding goes, and the masks of trainers are followed."""

from typing import Any

import pytest

from jaxalign.data.records.build_records import to_record
from jaxalign.data.records.formats import detect
from jaxalign.data.records.record import Tokenised
from jaxalign.errors import RowError

IDS = [10, 11, 12, 13]
PADDED = {"input_ids": [*IDS, 0, 0], "attention_mask": [1, 1, 1, 1, 0, 0]}


def record(row, task: Any = "sft") -> Any:
    return to_record(row, detect(row, row, task), "here")


def only(*trained):
    """Ids 10 to 13 of which those at these places are trained."""
    return Tokenised(tuple(IDS), tuple(i in trained for i in range(4)))


# what a row holds, and which of the ids 10 to 13 are trained (None: nothing is said)
WHOLE = {
    "ids alone": ({"input_ids": IDS}, None),
    "padding": (PADDED, None),
    "padding on the left": (
        {"input_ids": [0, *IDS], "attention_mask": [0, 1, 1, 1, 1]}, None),
    "labels": ({"input_ids": IDS, "labels": [-100, -100, 12, 13]}, (2, 3)),
    "labels and padding": (
        {**PADDED, "labels": [-100, -100, 12, 13, -100, -100]}, (2, 3)),
    "all labelled": ({"input_ids": IDS, "labels": IDS}, (0, 1, 2, 3)),
    "loss_mask": ({"input_ids": IDS, "loss_mask": [0, 1, 0, 1]}, (1, 3)),
    "completion_mask": ({"input_ids": IDS, "completion_mask": [0, 0, 1, 1]}, (2, 3)),
    "assistant_masks": ({"input_ids": IDS, "assistant_masks": [0, 1, 1, 0]}, (1, 2)),
    "two masks hold both": (
        {"input_ids": IDS, "assistant_masks": [0, 1, 1, 0],
         "completion_mask": [False, False, True, True]}, (2,)),
    "layout that says nothing new": (
        {**PADDED, "position_ids": [0, 1, 2, 3, 1, 1], "token_type_ids": [0] * 6,
         "length": 4, "special_tokens_mask": [1, 0, 0, 0, 1, 1], "seq_lengths": [4]},
        None),
    "a prompt beside the whole": ({"input_ids": IDS, "prompt_ids": [10, 11]}, (2, 3)),
    "prompt and completion": (
        {"prompt_ids": [10, 11], "completion_ids": [12, 13]}, (2, 3)),
    "prompt and completion with a mask": (
        {"prompt_input_ids": [10, 11], "completion_input_ids": [12, 13],
         "completion_loss_mask": [0, 1]}, (3,)),
    "prompt and completion, padded": (
        {"prompt_ids": [0, 10, 11], "prompt_attention_mask": [0, 1, 1],
         "completion_ids": [12, 13, 0], "completion_attention_mask": [1, 1, 0]},
        (2, 3)),
    "a completion with its prompt": (
        {"prompt_input_ids": [10, 11], "completion_input_ids": IDS}, (2, 3)),
    "a prompt's length beside labels": (
        {"input_ids": IDS, "labels": [-100, -100, 12, 13], "prompt_length": 2}, (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_sequence(name):
    row, trained = WHOLE[name]
    found = record(row)
    expected = Tokenised(tuple(IDS)) if trained is None else only(*trained)
    assert (found.input_ids, found.loss_mask) == (
        expected.input_ids,
        expected.loss_mask,
    )


def test_the_mask_beside_a_completion_is_of_it():
    row = {"prompt_ids": [10], "completion_ids": [11, 12, 13]}
    masked = {**row, "completion_mask": [1, 0, 1]}
    assert record(masked).loss_mask == only(1, 3).loss_mask
    with pytest.raises(RowError, match="`completion_ids` has 3 entries"):
        record({**row, "completion_mask": [0, 1, 0, 1]})


@pytest.mark.parametrize("name", ["labels", "loss_mask", "attention_mask"])
def test_a_mask_beside_prompt_and_completion_says_whose_it_is(name):
    row = {"prompt_ids": [10], "completion_ids": [11, 12, 13], name: [1, 1, 1]}
    with pytest.raises(RowError, match=f"Call it `completion_{name}`"):
        record(row)


def test_a_completion_may_begin_as_its_prompt_does():
    found = record({"prompt_ids": [10], "completion_ids": [10, 11]})
    assert found.input_ids == (10, 10, 11)
    assert found.loss_mask == (False, True, True)


def sides(**changes):
    return {"chosen_input_ids": IDS, "rejected_input_ids": [10, 11, 7], **changes}


PAIRS = {
    "whole": (sides(), None, None),
    "labels": (
        sides(chosen_labels=[-100, -100, 12, 13], rejected_labels=[-100, -100, 7]),
        (2, 3), (2,)),
    "a shared prompt": (sides(prompt_input_ids=[10, 11]), (2, 3), (2,)),
    "a prompt and what follows": (
        {"prompt_ids": [10, 11], "chosen_ids": [12, 13], "rejected_ids": [7]},
        (2, 3), (2,)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair(name):
    row, chosen, rejected = PAIRS[name]
    found = record(row, "preference")
    for side, ids, trained in (
        (found.chosen, (10, 11, 12, 13), chosen),
        (found.rejected, (10, 11, 7), rejected),
    ):
        assert side.input_ids == ids
        mask = None if trained is None else tuple(i in trained for i in range(len(ids)))
        assert side.loss_mask == mask


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"labels": [11, 12, 13, -100]},
            r"`labels\[0\]` is 11 where `input_ids` has 10",
        ),
        ({"labels": [-100, 11]}, "`input_ids` has 4 entries and `labels` 2"),
        ({"loss_mask": [0, 1, 2, 1]}, r"`loss_mask\[2\]` is 2, not a boolean"),
        ({"attention_mask": [1, 0, 1, 1]}, r"`attention_mask\[1\]` is 0 between"),
        ({"attention_mask": [1, 1, 2, 2]}, "entries other than 0 and 1, so several"),
        ({"attention_mask": [0, 0, 0, 0]}, "is 0 everywhere"),
        (
            {"attention_mask": [1, 1, 1]},
            "`input_ids` has 4 entries and `attention_mask",
        ),
        ({"position_ids": [0, 1, 0, 1]}, "`position_ids` does not count"),
        ({"token_type_ids": [0, 0, 1, 1]}, "`token_type_ids` tells kinds of tokens"),
        ({"seq_lengths": [2, 2]}, r"`seq_lengths` is \[2, 2\], so several texts"),
        ({"length": 3}, "`length` is 3, and `input_ids` has 4 ids"),
        ({"prompt_ids": [10, 12]}, "does not begin with the ids of the prompt"),
        ({"completion_ids": [12]}, "`input_ids` and the ids of a completion"),
        ({"prompt_len": 2}, "`prompt_len` says where something begins"),
    ],
)
def test_what_contradicts_the_ids_is_refused(changes, said):
    row = {"input_ids": IDS, **changes}
    format = detect({"input_ids": 0}, {"input_ids": IDS}, "sft")
    with pytest.raises(RowError, match=said):
        to_record(row, format, "here")


def test_sides_of_a_pair_share_a_prompt_or_none_does():
    with pytest.raises(RowError, match="one side begins with the ids of the prompt"):
        record(sides(prompt_ids=[10, 11, 12]), "preference")
