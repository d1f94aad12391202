"""A plan in words and columns."""

from typing import Any

from jaxalign.recipes.planning.chips import GIB


def text_of(found: dict[str, Any]) -> str:
    """What people read of a plan.

    Args:
      found: What the compiling process answered.
    """
    memory = found.get("memory_of_a_device")
    each = f"{memory / GIB:.2f} GiB each" if memory else "memory not known"
    lines = [
        f"jaxalign {found['recipe']} on {found['topology']}: "
        f"{found['devices']} devices ({found['chip']}, {each})"
    ]
    for program in found["programs"]:
        lines += ["", *_program(program)]
    for row in found.get("tried", ()):
        fits = "fits" if row["fits"] else "does not fit"
        lines.append(f"tried {' '.join(row['flags'])}: {fits}, {_size(row['peak'])}")
    lines += ["", _verdict(found)]
    return "\n".join(lines)


def _verdict(found: dict[str, Any]) -> str:
    if found["fits"] is None:
        # None is not false: where the memory is not known, it may fit.
        return "No verdict: the memory of such a device is not known."
    if found.get("suggestion"):
        return f"Verdict: it fits with {' '.join(found['suggestion'])}"
    if found["fits"]:
        return "Verdict: it fits."
    large = [p["name"] for p in found["programs"] if p["fits"] is False]
    what = f": {', '.join(large)}" if large else ""
    return f"Verdict: it does not fit{what}. `--suggest` looks for settings that do."


def _program(p: dict[str, Any]) -> list[str]:
    lines = [f"{p['name']} ({p['planned_for']})"]
    sizes = p.get("bytes", {})
    share = p.get("share_of_memory")
    peak = f"peak {_size(sizes.get('peak', 0))}"
    peak += f", {share:.0%} of a device's memory" if share is not None else ""
    if "arguments" in sizes:
        given = ", their memory given to the results" if p["donated"] else ""
        peak += (
            f" (arguments {_size(sizes['arguments'])}{given}; temporaries "
            f"{_size(sizes['temporaries'])}"
        )
        beside = sizes["beside"]
        peak += f"; beside it the run holds {_size(beside)})" if beside else ")"
    lines.append(f"  memory      {peak}")
    if "compiler_says" in p:
        lines.append(f"  refused     {p['compiler_says']}")
    for x in p.get("largest_arrays", ())[:4]:
        lines.append(f"  holds       {x['array']}, {_size(x['bytes'])}")
    if p["fits"] is False:
        lines += [f"  to shrink   {text}" for text in p["shrink"]]
    for x in p.get("collectives", ()):
        lines.append(
            f"  {x['kind']:19} {x['count']:6} times, {_size(x['bytes'])}, the largest "
            f"{x.get('largest', '')}"
        )
    if "in_loops" in p:
        inside = p["in_loops"]
        lines.append(
            f"  in loops    {inside['layers']} exchanges a layer, "
            f"{inside['chunks']} a chunk of the unembedding"
        )
    lines += [f"  WARNING     {text}" for text in p.get("suspicious", ())]
    if "kernels" in p:
        kernels = ", ".join(p["kernels"]) or "the compiler's own"
        lines.append(f"  kernels     {kernels}")
    if "estimate" in p:
        lines.append(f"  estimate    {_estimate(p['estimate'])}")
    return lines


def _estimate(x: dict[str, Any]) -> str:
    text = f"{x['flops'] / 1e12:.3g} TFLOP a device by formula"
    if "seconds" in x:
        text += (
            f"; at least {x['seconds']:.3g} s, bound by {x['bound_by']} "
            f"(MFU at most {x['mfu']:.0%}); a roofline, not a measurement"
        )
    return text


def _size(count: float) -> str:
    """Bytes in words.

    >>> _size(3 << 29), _size(5000)
    ('1.50 GiB', '0.0 MiB')
    """
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / (1 << 20):.1f} MiB"
