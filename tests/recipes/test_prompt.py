"""Prompts that a template refuses are bad rows like others."""

import json

import pytest

from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.records.record import PromptOnly
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import open_source
from jaxalign.data.text.encode import Encoder
from jaxalign.errors import RowError, UserError
from jaxalign.recipes.inputs.prompt import encode_prompts
from tests.data.chat_fixtures import chatml

TEMPLATE = (
    "{% for m in messages %}{% if 'no' in m.content %}{{ raise_exception('never') }}"
    "{% endif %}{{ m.content }}{% endfor %}"
)


@pytest.fixture
def opened(tmp_path):
    """Rows of which the second and the last are refused by the template."""
    texts = ("one", "no", "two", "three", "no more")
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in texts]
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    source = open_source(str(file))
    encoder = Encoder(chatml(tmp_path / "model", template=TEMPLATE))
    return source, detect_format(source, "prompt"), encoder


def test_they_are_dropped_and_counted(opened):
    source, form, encoder = opened
    report = ReadReport()
    records = read_records(
        source, form, on_bad_row="drop", max_dropped=0.4, report=report
    )
    prompts, too_long = encode_prompts(records, encoder, report=report)
    assert [x.text for x in prompts] == ["one", "two", "three"]
    assert (too_long, report.rows, report.records) == (0, 5, 3)
    assert [error.where[-1] for error in report.bad] == ["2", "5"]


def test_more_than_may_be_dropped_is_an_error(opened):
    source, form, encoder = opened
    report = ReadReport()
    records = read_records(source, form, on_bad_row="drop", report=report)
    with pytest.raises(UserError, match=r"2 of 5 rows .*prompts.jsonl:2: .*never"):
        encode_prompts(records, encoder, report=report)


def test_by_default_the_first_is_named(opened):
    source, form, encoder = opened
    report = ReadReport()
    records = read_records(source, form, report=report)
    with pytest.raises(UserError, match=r"prompts.jsonl:2: .*never.*1 of 5 rows would"):
        encode_prompts(records, encoder, report=report)
    with pytest.raises(RowError, match=r"prompts.jsonl:2: The chat template .*never"):
        encode_prompts(read_records(source, form), encoder)


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_prompt_that_is_cut_keeps_its_bos(adds_bos, tmp_path):
    encoder = Encoder(chatml(tmp_path, bos="<s>", add_bos_token=adds_bos))
    record = PromptOnly(prompt="the time is noon")
    whole = encoder.prompt(record).tolist()

    def cut(longest, on_long):
        (prompt,), _ = encode_prompts(
            [record], encoder, longest=longest, on_long=on_long
        )
        return prompt.ids

    front = whole[:1] if adds_bos else whole[-4:-3]
    assert cut(4, "keep_end") == front + whole[-3:]
    assert cut(4, "keep_start") == whole[:4]
    assert cut(1, "keep_end") == whole[-1:]
