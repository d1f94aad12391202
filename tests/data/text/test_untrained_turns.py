"""Turns that a row keeps from being trained are read and not learnt from."""

import pytest

from jaxalign.data.records.record import (
    Conversation,
    Message,
    Preference,
    PromptCompletion,
)
from jaxalign.data.text.encode import Encoder
from jaxalign.errors import RowError
from tests.data.chat_fixtures import chatml

END = "<|im_end|>"
ASKED = Message("user", "hi")
GOOD, WELL = Message("assistant", "good"), Message("assistant", "well")
BAD = Message("assistant", "bad", trained=False)


@pytest.fixture(params=["chatml", "chatml.training"])
def encoder(request, tmp_path):
    def make(**options):
        import dataclasses

        from jaxalign.data.text.template_files import builtin_template

        tokenizer = chatml(tmp_path)
        template = builtin_template(request.param)
        return Encoder(dataclasses.replace(tokenizer, template=template), **options)

    return make


def trained(encoder, record):
    """The trained text of each sequence, its runs with a bar between."""
    texts = []
    for x in encoder(record).sequences:
        runs, last = [], -2
        for t in x.trained.nonzero()[0].tolist():
            if t != last + 1:
                runs.append([])
            runs[-1].append(int(x.ids[t]))
            last = t
        texts.append("|".join(encoder.tokenizer.decode(run) for run in runs))
    return texts


def test_a_turn_of_a_conversation(encoder):
    turns = (ASKED, GOOD, ASKED, BAD, ASKED, WELL)
    assert trained(encoder(), Conversation(turns)) == [f"good{END}|well{END}"]
    assert trained(encoder(), Conversation(turns[:4])) == [f"good{END}"]


def test_turns_of_responses(encoder):
    pair = Preference((ASKED,), (BAD, ASKED, GOOD), (WELL,))
    assert trained(encoder(), pair) == [f"good{END}", f"well{END}"]
    reply = PromptCompletion((ASKED, BAD, ASKED), (GOOD,))
    assert trained(encoder(), reply) == [f"good{END}"]


def test_the_last_turn_is_the_last_one_also_when_it_is_not_trained(encoder):
    turns = Conversation((ASKED, GOOD, ASKED, BAD))
    with pytest.raises(RowError, match="no token to train on"):
        encoder(loss_on="last_assistant")(turns)


def test_all_text_and_not_this_turn_contradict_each_other(encoder):
    with pytest.raises(RowError, match="--loss-on all trains all text"):
        encoder(loss_on="all")(Conversation((ASKED, BAD, ASKED, GOOD)))
