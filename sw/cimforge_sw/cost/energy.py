"""Energy of a macro in closed form, from counted events."""

from dataclasses import dataclass

from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.features import features, instances
from cimforge_sw.cost.technology import Technology

__all__ = ["Events", "activity", "energy_counts", "flip_flops", "macro_energy"]


@dataclass(frozen=True)
class Events:
    """What happens in a macro while it runs a layer.

    Attributes
    ----------
    cycles : float
        Clock cycles, waiting ones included: flip-flops are clocked in all of them.
    cells : float
        Cells that take part, summed over the vectors of activations: tiles' cells times tokens.
    products : float
        Of these, the ones with a weight that is not zero.
    words : float
        Words written to rows of column units: of a tile's weights, slots times units.
    """

    cycles: float
    cells: float
    products: float
    words: float = 0.0


def flip_flops(config: DcimConfig) -> float:
    """Return the flip-flops of a macro: weights, indices, lines and sums; within 2 %."""
    counts = features(config)
    column = counts["Column"]
    return (instances(config)["Column"] * (column["stored bit"] + column["register"])
            + counts["Macro"]["register"])


def energy_counts(config: DcimConfig, events: Events) -> dict[str, float]:
    """Return how often each term of the energy occurs.

    A flip-flop's clock pin takes energy in every cycle. A cell's column sums toggle with every bit
    of the activations, its select with every line of them, whatever its weight is; its products
    only where the weight is not zero; the lines of a slot once for all columns. A weight that is
    written into the only bank passes through the adders as well.
    """
    chosen = config.lines / config.index_share if config.lines > 1 else 0
    bits = events.cells * config.act_bits
    in_use = config.index_share * config.weight_bits * config.act_slice
    return {"flip-flop clocked": events.cycles * flip_flops(config),
            "bit of a line": bits * config.lines / config.cols,
            "slot": bits, "line select of a bit": bits * chosen,
            "product of two bits": events.products * config.act_bits * config.weight_bits,
            "bit written": events.words * config.unit_bits,
            "product written": events.words * in_use * (config.weight_banks == 1)}


def activity(config: DcimConfig, technology: Technology) -> float:
    """Return what narrow operands leave of the toggles: quantized to 4 bits, most are near 0."""
    share = 1.0
    if config.act_bits == 4:
        share *= technology.activity["4-bit activations"]
    if config.weight_bits == 4:
        share *= technology.activity["4-bit weights"]
    return share


def macro_energy(config: DcimConfig, technology: Technology, events: Events) -> float:
    """Return picojoules of a macro; memories are not in it."""
    counts = energy_counts(config, events)
    clock = technology.energy["flip-flop clocked"] * counts.pop("flip-flop clocked")
    return clock + activity(config, technology) * sum(
        technology.energy[term] * count for term, count in counts.items())
