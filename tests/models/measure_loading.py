"""Prints the peak of host memory while loading a made-up model, beyond its parameters,
and the size of its largest part on one device, in bytes."""

import math
import pathlib
import sys
import threading
import time

import jax
import numpy as np

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

from jaxalign.models import (  # noqa: E402
    ModelConfig,
    Rope,
    export_model,
    load_params,
    param_shapes,
    read_config,
)


def resident() -> int:
    """Anonymous memory of this process; pages of mapped files are not counted."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def main(folder: pathlib.Path) -> None:
    layers = 8
    config = ModelConfig(
        family="llama",
        vocab_size=2048,
        hidden_size=512,
        intermediate_size=4096,
        num_layers=layers,
        num_heads=8,
        num_kv_heads=8,
        head_dim=64,
        max_positions=64,
        rotary_dim=64,
        attention_scale=64**-0.5,
        windows=(None,) * layers,
        ropes=(Rope(),) * layers,
    )
    shapes = param_shapes(config)
    zeros = jax.tree.map(lambda s: jax.device_put(np.zeros(s.shape, s.dtype)), shapes)
    export_model(folder, config, zeros)
    del zeros
    config = read_config(folder)
    sizes = [4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)]
    largest, total = max(sizes), sum(sizes)
    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    params = jax.block_until_ready(load_params(folder, config))
    done.set()
    watcher.join()
    assert len(jax.tree.leaves(params)) == len(jax.tree.leaves(shapes))
    print(max(0, peak[0] - before - total), largest)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
