"""Energy of a macro in closed form, from counted events."""

from dataclasses import dataclass

from cimforge.spec.config import DcimConfig
from cimforge_sw.cost.features import features, instances
from cimforge_sw.cost.technology import Technology

__all__ = ["Events", "energy_counts", "flip_flops", "macro_energy"]


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
    """

    cycles: float
    cells: float
    products: float


def flip_flops(config: DcimConfig) -> float:
    """Return the flip-flops of a macro: weights, indices, lines and sums; within 2 %."""
    counts = features(config)
    column = counts["Column"]
    return (instances(config)["Column"] * (column["stored bit"] + column["register"])
            + counts["Macro"]["register"])


def energy_counts(config: DcimConfig, events: Events) -> dict[str, float]:
    """Return how often each term of the energy occurs.

    A flip-flop's clock pin takes energy in every cycle. A cell's column sums and the lines through
    it toggle with every bit of the activations, its select with every line of them, whatever its
    weight is; its products only where the weight is not zero. That activations and weights are
    those of a real layer is in what a term costs.
    """
    chosen = config.lines / config.index_share if config.lines > 1 else 0
    bits = events.cells * config.act_bits
    return {"flip-flop clocked": events.cycles * flip_flops(config),
            "slot": bits, "line select of a bit": bits * chosen,
            "product of two bits": events.products * config.act_bits * config.weight_bits}


def macro_energy(config: DcimConfig, technology: Technology, events: Events) -> float:
    """Return picojoules of a macro; loading weights is not in it, nor are memories."""
    return sum(technology.energy[term] * count
               for term, count in energy_counts(config, events).items())
