"""`jaxalign plan`: from flags to a verdict, compiled for eight virtual CPU devices."""

import json
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxalign.__main__ import main
from jaxalign.errors import UserError
from jaxalign.models.hf.config import read_config
from jaxalign.parallel import make_mesh, replicated
from jaxalign.recipes import sft
from jaxalign.recipes.plan import order_of, with_defaults
from jaxalign.recipes.planning.chips import chip_of
from jaxalign.recipes.planning.formulas import forward_flops, matrix_params
from jaxalign.recipes.planning.measured import measured, refused
from jaxalign.recipes.planning.order import candidates
from jaxalign.recipes.planning.program import Planned, bytes_on_device
from jaxalign.recipes.planning.report import text_of
from jaxalign.recipes.planning.topology import environment
from jaxalign.recipes.planning.training import examples_for, shape_of, within_context

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 512,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
}


@pytest.fixture
def folder(tmp_path):
    """A model of which nothing is there but its configuration."""
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    return tmp_path


def planned(capsys, *argv):
    with pytest.raises(SystemExit) as end:
        main(["plan", *argv, "--json"])
    said = capsys.readouterr()
    assert said.out, said.err
    out = json.loads(said.out)
    return end.value.code, out, {p["name"]: p for p in out["programs"]}


FLAGS = ("--topology", "cpu:4", "--mesh.fsdp", "4", "--max-length", "32")


def test_a_step_of_fine_tuning_from_a_configuration_alone(folder, capsys, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "8")  # of this process, not of the plan
    flags = ("--model", str(folder), *FLAGS, "--batch-size", "4")
    code, out, programs = planned(capsys, "sft", *flags)
    assert code == 0
    assert (out["devices"], out["fits"]) == (4, None)
    step = programs["train step"]
    assert step["donated"]
    assert step["in_loops"]["chunks"] == 0
    assert step["in_loops"]["layers"] > 0
    # Parameters and two moments of AdamW, a quarter of each, and the batch.
    matrices = 2 * (32 * (2 * 32 + 2 * 16) + 3 * 32 * 64) + 2 * 512 * 32
    assert 3 * 4 * matrices / 4 < step["bytes"]["arguments"] < 3.3 * 4 * matrices / 4
    text = text_of(out)
    assert "train step" in text
    assert "No verdict" in text


@pytest.mark.parametrize(("given", "planned"), [(4096, 128), (128, 128), (64, 64)])
def test_rows_are_as_long_as_the_model_reads_at_most(given, planned, folder):
    where = {"model": str(folder), "data": "none", "output_dir": "none"}
    config = within_context(sft.Config(**where, max_length=given), read_config(folder))
    examples = examples_for(config, "sft", 512)
    assert {len(x.sequences[0].ids) for x in examples} == {planned}


@pytest.mark.slow
def test_no_row_is_planned_that_the_model_cannot_read(folder, capsys):
    short = json.dumps(MODEL | {"max_position_embeddings": 64})
    (folder / "config.json").write_text(short)
    flags = ("--model", str(folder), *FLAGS[:4], "--batch-size", "4")
    bytes_at = [
        planned(capsys, "sft", *flags, *more)[2]["train step"]["bytes"]
        for more in ((), ("--max-length", "64"), ("--max-length", "32"))
    ]
    assert bytes_at[0] == bytes_at[1]
    assert bytes_at[1]["arguments"] > bytes_at[2]["arguments"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ("dpo", {"train step", "reference scorer"}),
        ("kto", {"train step", "reference scorer"}),
        ("reward", {"train step"}),
        ("grpo", {"prefill", "decode", "scorer", "update"}),
        ("ppo", {"prefill", "decode", "scorer", "update"}),
    ],
)
def test_every_recipe_is_compiled_as_it_runs(recipe, names, folder, capsys):
    flags = ["--model", str(folder), *FLAGS, "--batch-size", "4"]
    flags += ["--max-new-tokens", "8"] if recipe in ("grpo", "ppo") else []
    code, _, programs = planned(capsys, recipe, *flags)
    assert code == 0
    assert programs.keys() == names
    for program in programs.values():
        assert program["in_loops"]["chunks"] == 0
        assert not program["suspicious"]


class Compiled:
    """A program whose temporaries are never all there at once, for a 15.75 GiB chip."""

    def __init__(self, array="f32[]"):
        self.array = array

    def compile(self):
        return self

    def as_text(self):
        head = "ENTRY %main (a: s32[]) -> s32[] {"
        return f"{head}\n  %x = {self.array} add(%a)"

    def memory_analysis(self):
        sizes = {"argument": 6, "output": 6, "alias": 6, "temp": 11}
        sizes = {f"{name}_size_in_bytes": n << 30 for name, n in sizes.items()}
        return types.SimpleNamespace(**sizes, peak_memory_in_bytes=14 << 30)


@pytest.mark.parametrize(("beside", "fits"), [(0, True), (2, False)])
def test_the_compilers_own_peak_decides(beside, fits):
    """And what the run holds beside the program, which the compiler does not know."""
    planned = a_program(beside << 30)._replace(lower=Compiled)
    found = measured(planned, chip_of("TPU v5 lite"), lambda text: None)
    assert found["bytes"]["peak"] == (14 + beside) << 30
    assert found["bytes"]["temporaries"] == (14 - 6) << 30
    assert found["fits"] is fits


@pytest.mark.parametrize(
    ("array", "found"), [("bf16[4,2,512]", 0), ("bf16[1,8,512]", 1), ("f32[9,512]", 1)]
)
def test_logits_of_all_positions_are_not_taken_for_an_unembedding(array, found):
    """Of width 8, gathered from four devices; one row has 8 targets."""
    planned = a_program()._replace(vocab=512, width=8, targets=8)
    planned = planned._replace(lower=lambda: Compiled(array))
    assert len(measured(planned, None, lambda text: None)["suspicious"]) == found


def test_what_a_device_holds_is_counted_by_hand():
    mesh = make_mesh({"data": 2, "fsdp": 4}, jax.devices()[:8])
    split = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    tree = {
        "kernel": jax.ShapeDtypeStruct((3, 8), jnp.bfloat16, sharding=split),
        "step": jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(mesh)),
    }
    # A quarter of the columns, on both replicas; and the number on all of them.
    assert bytes_on_device(tree) == 3 * 2 * 2 + 4


def test_rows_of_a_device_do_not_depend_on_how_positions_are_split():
    tokens = types.SimpleNamespace(
        inputs=np.zeros((8, 16)), target_ids=np.zeros((8, 4))
    )
    mesh = types.SimpleNamespace(size=8, shape={"tensor": 2})
    config = types.SimpleNamespace(vocab_size=512, hidden_size=32)
    # data 1, fsdp 2, sequence 2, tensor 2: each row lies on four devices.
    policy: Any = types.SimpleNamespace(mesh=mesh, row_devices=2, config=config)
    host: Any = types.SimpleNamespace(tokens=tokens)
    assert shape_of(host, policy, 16)["rows"] == 4


@pytest.mark.slow
def test_what_lies_beside_a_program_counts(folder, capsys):
    """GRPO keeps its reference and the optimizer's state while it samples."""
    flags = ["--model", str(folder), *FLAGS, "--batch-size", "4"]
    flags += ["--max-new-tokens", "8", "--kl-coef", "0.1"]
    programs = planned(capsys, "grpo", *flags)[2]
    matrices = 2 * (32 * (2 * 32 + 2 * 16) + 3 * 32 * 64) + 2 * 512 * 32
    # A quarter of each; the norms, which are not split, are a few hundred numbers.
    copy = 4 * matrices / 4
    beside = {name: program["bytes"]["beside"] for name, program in programs.items()}
    assert copy < beside["update"] < 1.05 * copy, "the reference"
    assert 2 * copy < beside["scorer"] < 2.1 * copy, "two moments"
    assert 4 * copy < beside["decode"] < 4.2 * copy, "state and reference"
    assert beside["prefill"] > beside["decode"], "and the cache"
    for program in programs.values():
        assert program["bytes"]["peak"] > program["bytes"]["beside"]


def test_work_is_counted_by_hand(folder):
    config = read_config(folder)
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64
    assert matrix_params(config) == 2 * layer
    # 5 tokens that attend to 7 keys each, with 3 targets: 2 for product and sum.
    attention = 2 * 2 * (4 * 8) * 7
    expected = 5 * 2 * (2 * layer + attention) + 3 * 2 * 32 * 512
    assert forward_flops(config, 5, 3, 7) == expected


def a_program(beside=0):
    """One of a run whose other arrays take so much of a device."""
    sizes = {"rows": 1, "tokens": 8, "targets": 4, "vocab": 0, "width": 4}
    return Planned(
        "step", lambda: None, 1.0, 1.0, **sizes, args="1 row", grows=(), beside=beside
    )


@pytest.mark.parametrize(
    "said",
    [
        "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used "
        "70.50G of 15.75G hbm. Exceeded hbm capacity by 54.75G.",
        "Ran out of memory on HBM, the total memory required for HLO temporaries "
        "(70.50G) exceeds available HBM (15.75G).",
    ],
)
def test_the_compilers_refusal_is_read(said):
    found = refused(f"RESOURCE_EXHAUSTED: {said}", a_program(beside=1 << 30))
    assert found["fits"] is False
    assert found["bytes"]["peak"] == int(71.5 * 2**30)
    assert round(found["share_of_memory"], 3) == round(71.5 / 15.75, 3)


def test_flags_of_the_plan_and_of_the_recipe_are_told_apart():
    order = order_of(
        ["dpo", "--model=m", "--topology", "v5e:4x4", "--suggest", "--beta", "0.2"]
    )
    assert order["topology"] == "v5e:4x4"
    assert order["suggest"]
    assert not order["json"]
    assert order["argv"][:3] == ["--model=m", "--beta", "0.2"]
    assert with_defaults("sft", ["--dtype", "float32"], "v5e:1x1").count("--dtype") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["sfd", "--topology", "v5e:1x1"], "no such recipe"),
        (["sft", "--model", "m"], "needs --topology"),
        (["sft", "--topology"], "needs a value"),
        (["sft", "--topology", "v5e:1x1", "--num-slices", "x"], "must be 1 or more"),
    ],
)
def test_what_cannot_be_planned_is_said_in_words(argv, said):
    with pytest.raises(UserError, match=said):
        order_of(argv)


@pytest.mark.parametrize("name", ["v5e", "v9:2x2", "cpu:0", "v5e:4"])
def test_a_machine_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="names no machine"):
        environment(name)


def test_flags_of_other_compilers_do_not_reach_the_one_for_tpus(monkeypatch):
    """It ends its process at a flag that it does not know."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")
    assert "XLA_FLAGS" not in environment("v5e:1x1")
    flags = environment("cpu:8")["XLA_FLAGS"].split()
    assert flags[0] == "--xla_gpu_autotune_level=0"
    assert flags[1].endswith("device_count=8")


def test_a_suggestion_begins_with_what_costs_least():
    tried = list(candidates([], 4))
    assert tried[0] == ["--mesh.fsdp", "4", "--mesh.tensor", "1", "--remat", "dots"]
    assert tried[-1][:4] == ["--mesh.fsdp", "1", "--mesh.tensor", "4"]
    assert tried[-1][-2:] == ["--microbatch-size", "1"]
    own = list(candidates(["--mesh.tensor", "2", "--remat=full"], 4))
    assert own == [[], ["--microbatch-size", "1"]]
