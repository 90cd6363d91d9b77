"""A decoder of a billion weights through the tile's RTL, block by block, every product compared.

Run as ``python -m cimforge.bench_decoder``. The shapes are those of Llama-3.2-1B's 16 blocks (its
published ``config.json``); the weights are random, drawn block by block, as only sizes matter here.
What one block computes, with every product from the RTL, is what the next one is given.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimforge as cf
from cimforge.report.progress import progress
from cimforge.report.records import write_records
from cimforge.spec.config import DcimConfig

if TYPE_CHECKING:
    from torch import Tensor

    from cimforge_sw.models import Model

__all__ = ["LLAMA_1B", "run_bench_decoder", "run_blocks"]

LLAMA_1B = dict(hidden_size=2048, intermediate_size=8192, num_attention_heads=32,
                num_key_value_heads=8, head_dim=64, rope_theta=500000.0)
_BLOCKS, _TOKENS, _PATTERN = 16, 16, "3:8"  # 62.5 % of the weights are zero


@dataclass(frozen=True, kw_only=True)
class _Block:
    """What one block took."""

    seconds: float
    weights: int
    cycles_predicted: int
    cycles_counted: int


def _model(shape: dict[str, Any], hidden: "Tensor", seed: int) -> "Model":
    """Return a model of one block; token i is row i of ``hidden`` [T, H]."""
    import torch
    import transformers as hf

    from cimforge_sw.models import Model

    torch.manual_seed(seed)
    config = hf.LlamaConfig(**shape, num_hidden_layers=1, vocab_size=len(hidden), use_cache=False,
                            max_position_embeddings=len(hidden), bos_token_id=0, eos_token_id=0)
    module = hf.LlamaModel(config).eval().requires_grad_(False)
    module.embed_tokens.weight.copy_(hidden)
    module.norm = torch.nn.Identity()
    return Model(f"block {seed}", module, None, f"{seed:064x}")


def run_blocks(shape: dict[str, Any], blocks: int, config: DcimConfig, *, tokens: int = _TOKENS,
               pattern: str = _PATTERN, backend: str = "batch") -> Iterator[_Block]:
    """Prune, quantize and execute random blocks one after the other; compare all products.

    Parameters
    ----------
    shape : dict
        Of ``transformers.LlamaConfig``.
    blocks, tokens : int
    config : DcimConfig
    pattern : str
        N:M of every layer.
    backend : str
        As of `simulate_model`.

    Raises
    ------
    AssertionError
        An accumulator differs from the integer model's.
    """
    import torch

    hidden = torch.randn(tokens, shape["hidden_size"], generator=torch.Generator().manual_seed(0))
    row = [list(range(tokens))]
    for number in range(blocks):
        begin = time.perf_counter()
        model = _model(shape, hidden, number)
        stats = cf.calibrate(model, row)
        quantized = cf.quantize(cf.prune(model, cf.Plan.uniform(pattern), stats), stats)
        made = cf.simulate_model(quantized, config, _last_hidden(row), backend=backend,
                                 tokens=tokens)
        if not torch.equal(made.integer, made.hardware):
            raise AssertionError(f"block {number}: the tile's hidden states are not the integers'")
        hidden = made.hardware[0] / made.hardware.std()  # random blocks let it grow or fade
        counted = [layer.cycles_counted or 0 for layer in made.layers]
        yield _Block(seconds=time.perf_counter() - begin,
                     weights=sum(layer.outputs * layer.inputs for layer in made.layers),
                     cycles_predicted=sum(layer.cycles_predicted for layer in made.layers),
                     cycles_counted=sum(counted))


def _last_hidden(row: list[list[int]]) -> Callable[["Model"], "Tensor"]:
    import torch

    from cimforge_sw.forward import forward

    return lambda model: forward(model.module, torch.tensor(row)).last_hidden_state


def run_bench_decoder(out: Path, config_name: str = "default") -> str:
    """Measure into ``bench_decoder.json``; return a line of text.

    Parameters
    ----------
    out : Path
        Folder of the report.
    config_name : str
        Preset or YAML file of the tile.
    """
    config, begin, done = cf.load_config(config_name), time.perf_counter(), []
    with progress() as bars, bars.task("blocks", _BLOCKS) as bar:
        for block in run_blocks(LLAMA_1B, _BLOCKS, config):
            done.append(block)
            bar.at(len(done))
    seconds, weights = time.perf_counter() - begin, sum(block.weights for block in done)
    predicted = sum(block.cycles_predicted for block in done)
    counted = sum(block.cycles_counted for block in done)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    write_records(out / "bench_decoder.json", "python -m cimforge.bench_decoder", [
        {"what": what, "config": config_name, "value": value, "unit": unit, "baseline": None,
         "ratio": None} for what, value, unit in (
            ("weights", weights, "weights"), ("time", seconds, "s"), ("peak memory", peak, "bytes"),
            ("cycles predicted", predicted, "cycles"), ("cycles counted", counted, "cycles"))],
        tokens=_TOKENS, pattern=_PATTERN)
    return (f"{weights / 1e6:.0f} M weights, {_TOKENS} tokens, {counted} cycles counted "
            f"({predicted} predicted), all bit-exact: {seconds:.0f} s, "
            f"{peak / 2**30:.1f} GiB at most\n")


if __name__ == "__main__":
    sys.stdout.write(run_bench_decoder(Path("reports")))
