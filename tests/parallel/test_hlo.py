"""The reader of compiled programs, on programs whose exchanges are known."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.parallel import make_mesh
from jaxalign.parallel.hlo import Array, HloProgram

TEXT = """HloModule jit_step, entry_computation_layout={()->f32[]}

%all-reduce-scatter.3 (input: bf16[64,8]) -> bf16[16,8] {
  %input = bf16[64,8]{1,0} parameter(0)
  %all-reduce.1 = bf16[64,8]{1,0:T(8,128)} all-reduce(%input), channel_id=4, to_apply=%add
  ROOT %slice = bf16[16,8]{1,0} dynamic-slice(%all-reduce.1, %x), dynamic_slice_sizes={16,8}
}

%body (state: (s32[], f32[4])) -> (s32[], f32[4]) {
  %a = (f32[4]{0:T(256)}, /*index=1*/f32[8]{0}) all-gather-start(%b), channel_id=1, metadata={op_name="layers/gate"}
  %c = f32[8]{0} all-gather-done(%a)
  %piece = f32[32]{0} all-gather(%b), channel_id=2, metadata={op_name="layers/up"}
  %other = f32[32]{0} all-gather(%b), channel_id=2, metadata={op_name="layers/up"}
  %d = (f32[6]{0}, f32[6]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%b), channel_id=3, metadata={op_name="layers/down"}
  ROOT %t = (s32[], f32[4]) tuple(%i, %c)
}

%condition (state: (s32[], f32[4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(24)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (p: f32[4]) -> f32[] {
  %loop = (s32[], f32[4]) while(%t), condition=%condition, body=%body, metadata={op_name="layers/while"}
  %f = bf16[16,8]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter.3
  ROOT %k = f32[] custom-call(%f), custom_call_target="tpu_custom_call"
}
"""  # noqa: E501


def test_loops_pieces_and_fused_sums_are_read():
    program = HloProgram(TEXT)
    found = {(c.kind, c.source, c.loops): c for c in program.collectives}
    assert len(found) == len(program.collectives) == 4
    start = found["all-gather", "layers/gate", ("layers/while",)]
    assert start.arrays == (Array("f32", (8,)),), "what is received, not what is sent"
    passed_on = found["collective-permute", "layers/down", ("layers/while",)]
    assert passed_on.arrays == (Array("f32", (6,)),)
    pieces = found["all-gather", "layers/up", ("layers/while",)]
    assert (pieces.nbytes, pieces.times) == (128, 24)
    scattered = found["reduce-scatter", "", ()]
    assert (scattered.nbytes, scattered.times) == (64 * 8 * 2, 1)
    assert program.custom_kernels == {"tpu_custom_call"}
    assert str(Array("bf16", (16, 8))) == "bf16[16,8]"


def test_a_real_program_is_read_as_it_was_written():
    mesh = make_mesh({"fsdp": 8})

    def fn(x):
        def body(total, row):
            return total + jax.lax.psum(row, "fsdp"), None

        start = jax.lax.all_gather(x, "fsdp", tiled=True).sum(0)
        return jax.lax.scan(body, start, x)[0]

    mapped = jax.shard_map(
        fn, mesh=mesh, in_specs=P("fsdp"), out_specs=P(), check_vma=False
    )
    text = jax.jit(mapped).lower(jnp.zeros((40, 3))).compile().as_text()
    kinds = {c.kind: c for c in HloProgram(text or "").collectives}
    assert kinds.keys() == {"all-gather", "all-reduce"}
    assert kinds["all-gather"].arrays == (Array("f32", (40, 3)),)
    assert kinds["all-gather"].loops == ()
    assert kinds["all-reduce"].times == 5
    assert kinds["all-reduce"].nbytes == 12
