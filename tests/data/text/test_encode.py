"""What is trained: the decoded trained tokens of every record shape, as strings."""

import time

import numpy as np
import pytest

from jaxalign.data.records.record import (
    Conversation,
    Message,
    Preference,
    PromptCompletion,
    PromptOnly,
    Rankings,
    Scored,
    Stepwise,
    Text,
    Tokenised,
    TokenisedPair,
    Unpaired,
)
from jaxalign.data.text.encode import JOINED, Encoder
from jaxalign.data.text.encoded import NoTargetError
from jaxalign.data.text.preview import stop_share
from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import RowError, UserError
from tests.data.chat_fixtures import chatml, model_folder, template_text

USER, ANSWER = Message("user", "Hi"), Message("assistant", "Hello!")
TALK = (USER, ANSWER, Message("user", "And?"), Message("assistant", "Still here."))
END = "<|im_end|>"


@pytest.fixture
def tokenizer(tmp_path):
    return chatml(tmp_path)


def runs(tokenizer, sequence):
    """The trained text, one string for each unbroken run, by a plain walk."""
    found, run = [], []
    for token, trained in zip(sequence.ids, sequence.trained, strict=True):
        if trained:
            run.append(int(token))
        elif run:
            found.append(tokenizer.decode(run))
            run = []
    return found + ([tokenizer.decode(run)] if run else [])


def trained(tokenizer, record, **options):
    example = Encoder(tokenizer, **options)(record)
    return [runs(tokenizer, x) for x in example.sequences]


@pytest.mark.parametrize("loss_on", ["completion", "assistant", "last_assistant"])
def test_what_is_trained_of_a_text_is_all_of_it(tokenizer, loss_on):
    assert trained(tokenizer, Text("hi"), loss_on="all") == [["i" + END]]
    with pytest.raises(UserError, match=f"--loss-on {loss_on} needs a prompt"):
        trained(tokenizer, Text("hi"), loss_on=loss_on)


@pytest.mark.parametrize("name", ["reasoning_content", "name"])
def test_half_a_character_is_refused_wherever_it_stands(tokenizer, name):
    turn = Message("assistant", "4", extra={name: "cut \ud83d"})
    with pytest.raises(UserError, match="half of a surrogate pair"):
        trained(tokenizer, Conversation((USER, turn)))


def test_a_prompt_whose_end_is_read_with_the_completion_is_told(tokenizer):
    encoder = Encoder(tokenizer)
    whole = PromptCompletion(prompt="the time is", completion=" noon")
    parted = PromptCompletion(prompt="the time is ", completion="noon")
    alone, together = (
        encoder.prompt(PromptOnly(parted.prompt)).tolist(),
        encoder(parted).sequences[0].ids.tolist(),
    )
    assert together[: len(alone)] != alone  # what is to be told
    assert encoder.notes == {JOINED: 1}
    encoder(whole)
    assert encoder.notes == {JOINED: 1}


def test_every_shape(tokenizer):
    chosen, rejected = (Message("assistant", x) for x in ("good", "bad"))
    plain = PromptCompletion(prompt="the time is", completion=" noon")
    assert trained(tokenizer, plain) == [[" noon" + END]]
    assert trained(tokenizer, Unpaired(prompt="a", completion=" b", label=True)) == [
        [" b" + END]
    ]
    chat = PromptCompletion(prompt=(USER,), completion=(ANSWER,))
    assert trained(tokenizer, chat) == [["Hello!" + END]]
    pair = Preference(prompt=(USER,), chosen=(chosen,), rejected=(rejected,))
    assert trained(tokenizer, pair) == [["good" + END], ["bad" + END]]
    ranks = Rankings(prompt="a:", completions=("x", "y", "z"), scores=(2.0, 1.0, 0.0))
    assert trained(tokenizer, ranks) == [["x" + END], ["y" + END], ["z" + END]]
    assert trained(tokenizer, Conversation(messages=TALK)) == [
        ["Hello!" + END, "Still here." + END]
    ]
    # Nothing predicts the first token of a text without a BOS.
    text = tokenizer.encode("the time")[0]
    assert trained(tokenizer, Text(text="the time")) == [
        [tokenizer.decode(text[1:]) + END]
    ]


def test_loss_on(tokenizer):
    talk = Conversation(messages=TALK)
    assert trained(tokenizer, talk, loss_on="last_assistant") == [["Still here." + END]]
    assert trained(tokenizer, talk, loss_on="assistant") == trained(tokenizer, talk)
    (everything,) = Encoder(tokenizer, loss_on="all")(talk).sequences
    assert everything.trained.tolist() == [False] + [True] * (len(everything.ids) - 1)
    answer = PromptCompletion(prompt=TALK[:3], completion=TALK[3:])
    assert trained(tokenizer, answer) == [["Still here." + END]]
    assert trained(tokenizer, answer, loss_on="assistant") == [
        ["Hello!" + END, "Still here." + END]
    ]
    plain = PromptCompletion(prompt="the time is", completion=" noon")
    (both,) = Encoder(tokenizer, loss_on="all")(plain).sequences
    assert both.trained[1:].all()
    with pytest.raises(RowError, match="needs messages"):
        Encoder(tokenizer, loss_on="assistant")(plain)


def test_tool_results_and_users_within_an_answer_are_not_trained(tmp_path):
    call = {"function": {"name": "now", "arguments": {}}}
    answer = (
        Message("assistant", "", {"tool_calls": [call]}),
        Message("tool", "12:00"),
        Message("assistant", "Noon."),
        Message("user", "Thanks"),
        Message("assistant", "Bye"),
    )
    tokenizer = chatml(tmp_path, template=template_text("qwen.training.jinja"))
    record = PromptCompletion(
        prompt=(USER,), completion=answer, tools=({"name": "now"},)
    )
    written = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    last = "<think>\n\n</think>\n\nBye"
    assert trained(tokenizer, record) == [[written + END, "Noon." + END, last + END]]


def test_the_ids_are_those_of_the_whole_text(tokenizer):
    """Fault 11. A token that prompt and answer share is trained."""
    whole = tokenizer.encode("the weather")[0].tolist()
    shared = (
        tokenizer.encode("the wea")[0].tolist() + tokenizer.encode("ther")[0].tolist()
    )
    assert whole != shared
    record = PromptCompletion(prompt="the wea", completion="ther")
    (got,) = Encoder(tokenizer)(record).sequences
    assert got.ids.tolist() == [*whole, tokenizer.eos_id]
    end, first = 0, None
    for i, token in enumerate(whole):
        end += len(tokenizer.decode([token]))
        if end > len("the wea") and first is None:
            first = i
    assert got.trained.tolist() == [i >= (first or 0) for i in range(len(whole) + 1)]


@pytest.mark.parametrize("writes_bos", [True, False])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_one_bos_in_front_and_none_elsewhere(writes_bos, adds_bos, tmp_path):
    """Fault 12: the template writes a BOS and the tokenizer adds another."""
    template = ("{{ bos_token }}" if writes_bos else "") + template_text("chatml.jinja")
    tokenizer = chatml(tmp_path, bos="<s>", add_bos_token=adds_bos, template=template)
    pair = Preference(
        prompt=(USER,), chosen=(ANSWER,), rejected=(Message("assistant", "No"),)
    )
    for x in Encoder(tokenizer)(pair).sequences:
        count = int((x.ids == tokenizer.bos_id).sum())
        assert count == int(writes_bos or adds_bos)
        assert (x.ids[0] == tokenizer.bos_id) is np.bool_(count == 1)
        assert not x.trained[0]
    prompt = Encoder(tokenizer).prompt(PromptOnly(prompt=(USER,)))
    assert int((prompt == tokenizer.bos_id).sum()) == int(writes_bos or adds_bos)
    (plain,) = Encoder(tokenizer)(
        PromptCompletion(prompt="a", completion="b")
    ).sequences
    assert int((plain.ids == tokenizer.bos_id).sum()) == int(adds_bos)
    (text,) = Encoder(tokenizer)(Text(text="<s>the time is")).sequences
    assert int((text.ids == tokenizer.bos_id).sum()) == 1
    assert text.trained[1:].all()


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_text_without_tokens_is_a_bos_or_nothing(adds_bos, tmp_path):
    tokenizer = chatml(tmp_path, bos="<s>", add_bos_token=adds_bos)
    ids = Encoder(tokenizer).prompt(PromptOnly(prompt=""))
    assert ids.tolist() == [tokenizer.bos_id] * adds_bos


@pytest.mark.parametrize("stop", ["", "<|im_end|>", "</s>"])
def test_one_stop_token_at_the_end(stop, tmp_path):
    """Fault 12. Also where the text ends in one already, or in another of the set."""
    tokenizer = chatml(tmp_path, generation={"eos_token_id": [2]})
    record = PromptCompletion(prompt="the time is", completion=" noon" + stop)
    assert trained(tokenizer, record) == [[" noon" + (stop or END)]]


@pytest.mark.parametrize("behind", ["<|im_end|>", "<|im_end|>\n", "</s> \n\n", ""])
def test_text_that_was_rendered_before_gets_no_second_stop_token(behind, tmp_path):
    """People save what a template wrote, with the line feed behind it."""
    tokenizer = chatml(tmp_path, generation={"eos_token_id": [2]})
    before = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    end = behind or END
    whole = Text(text=f"{before}yo{behind}")
    (x,) = Encoder(tokenizer)(whole).sequences
    assert tokenizer.decode(x.ids) == f"{before}yo{end}"
    assert x.trained[1:].all()
    record = PromptCompletion(prompt=before, completion=f"yo{behind}")
    assert trained(tokenizer, record) == [[f"yo{end}"]]


def test_a_line_feed_within_a_generation_block_is_no_reason_for_an_eos(tmp_path):
    """Templates made for training often close the block behind it."""
    source = template_text("chatml.training.jinja").replace(
        "'<|im_end|>' -}}\n        {%- endgeneration",
        "'<|im_end|>\\n' -}}\n        {%- endgeneration",
    )
    assert source.count("<|im_end|>\\n") == 1
    tokenizer = chatml(tmp_path, template=source)
    example = Encoder(tokenizer)(Conversation(messages=TALK))
    first, last = runs(tokenizer, example.sequences[0])
    assert (first, last) == (f"Hello!{END}\n", f"Still here.{END}\n")
    assert stop_share([example], tokenizer.stop_ids) == 1


def test_a_template_without_end_of_turn_gets_an_eos(tmp_path):
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokenizer = chatml(tmp_path, template=source)
    assert trained(tokenizer, Conversation(messages=TALK)) == [
        ["Hello!", "Still here.\n" + END]
    ]


@pytest.mark.parametrize("pad", [None, "<|im_end|>", "<unk>"])
def test_the_pad_token_changes_no_mask(pad, tmp_path):
    """Fault 8: EOS is masked where it is the pad token, and no model learns to stop."""
    tokenizer = chatml(tmp_path / str(pad)[:4], pad_token=pad)
    assert trained(tokenizer, Conversation(messages=TALK)) == [
        ["Hello!" + END, "Still here." + END]
    ]


def test_eos_may_be_bos(tmp_path):
    tokenizer = chatml(tmp_path, bos="<|im_end|>", add_bos_token=True)
    (got,) = Encoder(tokenizer)(PromptCompletion(prompt="a", completion="b")).sequences
    eos = tokenizer.eos_id
    assert [got.ids[0], got.ids[-1]] == [eos, eos]
    assert runs(tokenizer, got) == ["b" + END]


def test_a_template_that_renders_the_prompt_otherwise(tmp_path):
    """The whole rendering wins, and the example says so."""
    source = template_text("chatml.jinja").replace(
        "'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>\\n'"
    )
    tokenizer = chatml(tmp_path, template=source)
    record = PromptCompletion(prompt=(USER,), completion=(ANSWER,))
    example = Encoder(tokenizer)(record)
    assert example.prompt_differs
    assert runs(tokenizer, example.sequences[0]) == ["Hello!" + END]
    text = tokenizer.decode(example.sequences[0].ids)
    assert "<think>" not in text


def test_what_the_template_adds_behind_the_header_is_trained(tmp_path):
    tokenizer = chatml(tmp_path, template=template_text("qwen.jinja"))
    record = PromptCompletion(prompt=(USER,), completion=(ANSWER,))
    assert trained(tokenizer, record) == [["<think>\n\n</think>\n\nHello!" + END]]
    quiet = PromptCompletion(
        prompt=(USER,),
        completion=(ANSWER,),
        template_kwargs={"enable_thinking": False},
    )
    assert trained(tokenizer, quiet) == [["Hello!" + END]]
    assert not Encoder(tokenizer)(record).prompt_differs
    said = trained(tokenizer, record, template_kwargs={"enable_thinking": False})
    assert said == trained(tokenizer, quiet)


def test_thoughts_and_calls_need_no_generation_blocks(tmp_path):
    tokenizer = chatml(tmp_path, template=template_text("qwen.jinja"))
    call = {"function": {"name": "now", "arguments": {}}}
    thinks = Message("assistant", "Noon.", {"reasoning_content": "hm"})
    calls = Message("assistant", "", {"tool_calls": [call]})
    for answer, said in (
        (thinks, "<think>\nhm\n</think>\n\nNoon."),
        (
            calls,
            "<think>\n\n</think>\n\n<tool_call>\n"
            '{"name": "now", "arguments": {}}\n</tool_call>',
        ),
    ):
        record = PromptCompletion(prompt=(USER,), completion=(answer,))
        assert trained(tokenizer, record) == [[said + END]]
        talk = Conversation(messages=(USER, answer))
        assert trained(tokenizer, talk) == [[said + END]]


def test_prompts_end_with_the_header(tokenizer):
    ids = Encoder(tokenizer).prompt(PromptOnly(prompt=(USER,)))
    assert tokenizer.decode(ids).endswith("Hi<|im_end|>\n<|im_start|>assistant\n")
    assert (
        tokenizer.decode(Encoder(tokenizer).prompt(PromptOnly(prompt="a b"))) == "a b"
    )


def test_ids_made_elsewhere(tokenizer):
    record = Tokenised(input_ids=(5, 6, 7), loss_mask=(False, False, True))
    (got,) = Encoder(tokenizer)(record).sequences
    assert (got.ids.tolist(), got.trained.tolist()) == ([5, 6, 7], [False, False, True])
    pair = TokenisedPair(chosen=record, rejected=Tokenised(input_ids=(5, 8)))
    chosen, rejected = Encoder(tokenizer)(pair).sequences
    assert chosen.ids.tolist() == [5, 6, 7]
    assert rejected.trained.tolist() == [False, True]


@pytest.mark.parametrize("bad", [-1, 400, 2**31, 2**40, -(2**33)])
def test_an_id_outside_of_the_vocabulary_is_named_with_its_row(bad, tokenizer):
    record = Tokenised(input_ids=(1, bad, 3), where="ids.jsonl:7")
    with pytest.raises(RowError, match=rf"ids.jsonl:7: token 1 has the id {bad}, out"):
        Encoder(tokenizer, vocab_size=400)(record)


def test_the_models_vocabulary_counts_and_not_the_tokenizers(tokenizer):
    record = PromptCompletion(prompt="the time is", completion=" noon")
    largest = int(max(Encoder(tokenizer)(record).sequences[0].ids))
    Encoder(tokenizer, vocab_size=largest + 1)(record)
    with pytest.raises(RowError, match=f"0 to {largest - 1}"):
        Encoder(tokenizer, vocab_size=largest)(record)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Conversation(messages=(USER,), where="a:1"), "no assistant turn"),
        (
            PromptCompletion(prompt="Hi", completion="", where="a:1"),
            "no assistant turn",
        ),
        (
            Tokenised(input_ids=(1, 2), loss_mask=(True, False), where="a:1"),
            "loss_mask",
        ),
        (Text(text="", where="a:1"), ""),
    ],
)
def test_a_row_without_target_is_an_error(record, reason, tokenizer):
    """Fault 13: a mask of zeros trains on nothing and reports a loss of 0."""
    with pytest.raises(NoTargetError, match=f"^a:1: the row has no token.*{reason}"):
        Encoder(tokenizer)(record)


def test_the_error_shows_the_rendered_text(tokenizer):
    with pytest.raises(NoTargetError, match=r"renders as '<\|im_start\|>user.nHi"):
        Encoder(tokenizer)(Conversation(messages=(USER,)))


def test_errors_of_the_template_carry_the_row(tmp_path):
    tokenizer = chatml(tmp_path, template="{{ raise_exception('no!') }}")
    with pytest.raises(RowError, match="a.jsonl:3: The chat template .*no!"):
        Encoder(tokenizer)(Conversation(messages=TALK, where="a.jsonl:3"))


def test_a_conversation_needs_a_template(tmp_path):
    tokenizer = load_tokenizer(model_folder(tmp_path))
    with pytest.raises(RowError, match="--chat-template"):
        Encoder(tokenizer)(Conversation(messages=TALK))


def test_a_very_long_conversation(tokenizer):
    start = time.monotonic()
    (got,) = Encoder(tokenizer)(Conversation(messages=TALK * 1_000)).sequences
    assert runs(tokenizer, got) == ["Hello!" + END, "Still here." + END] * 1_000
    assert time.monotonic() - start < 5


def test_a_weight_is_not_passed_over_in_silence(tokenizer):
    with pytest.raises(RowError, match="`weight` is 2, and no loss takes weights"):
        Encoder(tokenizer)(PromptCompletion(prompt="a", completion=" b", weight=2.0))


def test_mixed_dress_and_shapes_without_target_are_refused(tokenizer):
    with pytest.raises(RowError, match="One side"):
        Encoder(tokenizer)(PromptCompletion(prompt="Hi", completion=(ANSWER,)))
    with pytest.raises(RowError, match="Stepwise"):
        Encoder(tokenizer)(Stepwise(prompt="a", steps=("b",), labels=(True,)))


def test_what_rows_say_of_their_answers_comes_along(tokenizer):
    encode = Encoder(tokenizer)
    pair = encode(Preference("a", " b", " c", 0.5))
    assert {k: v.tolist() for k, v in pair.labels.items()} == {"margin": [0.5, 0.5]}
    assert encode(Preference("a", " b", " c")).labels["margin"].tolist() == [0, 0]
    scored = encode(Scored("a", " b", -3.0))
    assert scored.labels["score"].tolist() == [-3.0]
    assert scored.labels["score"].dtype == np.float32
    assert not encode(PromptCompletion("a", " b")).labels


def test_ranked_answers_come_best_first(tokenizer):
    record = Rankings("a", (" bad", " good", " fair", " fine"), (-3.0, 1.0, 0.0, 1.0))
    example = Encoder(tokenizer)(record)
    texts = [runs(tokenizer, x)[0].removesuffix(END) for x in example.sequences]
    assert texts == [" good", " fine", " fair", " bad"]
    assert example.labels["score"].tolist() == [1.0, 1.0, 0.0, -3.0]


@pytest.mark.parametrize(
    ("record", "loss_on"),
    [
        (Tokenised((256, 65, 66)), "completion"),
        (Tokenised((256, 65, 66)), "assistant"),
        (Tokenised((256, 65, 66), (False, False, True)), "all"),
        (TokenisedPair(Tokenised((256, 65)), Tokenised((256, 66))), "last_assistant"),
    ],
)
def test_loss_on_is_refused_beside_token_ids(tokenizer, record, loss_on):
    """What is trained of those is what the row says, and nothing may be ignored."""
    with pytest.raises(RowError, match=f"--loss-on {loss_on} needs text.*Leave out"):
        Encoder(tokenizer, loss_on=loss_on)(record)


def test_all_of_token_ids_may_be_asked_for(tokenizer):
    ids = Tokenised((256, 65, 66))
    (asked,) = Encoder(tokenizer, loss_on="all")(ids).sequences
    (plain,) = Encoder(tokenizer)(ids).sequences
    assert asked.trained.tolist() == plain.trained.tolist() == [False, True, True]
