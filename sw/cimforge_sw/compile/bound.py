"""What a tiling cannot be faster than, so that only few are looked at closely."""

from collections.abc import Sequence

import numpy as np

from cimforge_sw.compile.estimate import loop_cycles
from cimforge_sw.compile.geometry import Geometry
from cimforge_sw.compile.loop import Loop
from cimforge_sw.compile.tiling import Tiling

__all__ = ["contenders", "least_cycles"]


def least_cycles(geometry: Geometry, tokens: np.ndarray) -> np.ndarray:
    """Return fewer cycles than layers take, one step per tile: int64 [L].

    The largest of four, all of which follow from :mod:`cimforge.spec.timing`:

    - loading all weights, with what they wait for banks (`_wait`);
    - computing, where the last tile of a block issues a vector no faster than results leave;
    - chunk by chunk, its activations, then either of both for all blocks but the first: that one
      needs all activations, and two tiles later at the earliest a bank is free again.

    Parameters
    ----------
    geometry : Geometry
        L layers that fit.
    tokens : ndarray of int64 [L]
    """
    config, chunks = geometry.config, geometry.chunks(tokens)
    parts, blocks, (short, full) = geometry.tiles_per_block, geometry.blocks, geometry.beats
    beats, wait = config.weight_beats, _wait(geometry, tokens // chunks)
    resident = parts * blocks <= config.weight_banks
    weights = np.where(resident, parts * blocks * beats,
                       parts * blocks * chunks * beats + wait * (blocks * chunks - 1))
    later = np.where(resident | (blocks == 1), 0, chunks * (
        ((blocks - 1) * parts - 1) * beats + wait * (blocks - 2)))
    # The last vector of a Compute holds the macro for its slices only.
    sending = np.maximum(geometry.out_beats - config.slices, 0)
    computing = tokens * config.slices * parts + (tokens - chunks) * sending
    acts = tokens * ((geometry.windows - 1) * full + short)
    return np.maximum(np.maximum(weights, computing * blocks),
                      acts + np.maximum(computing * (blocks - 1), later))


def _wait(geometry: Geometry, count: np.ndarray) -> np.ndarray:
    """Return for how long, at the least, loads stand still because of a block's last tile.

    Two loads on, its bank must be free. Compute pops in the cycle after its weights have come and
    issues from the next one on; the bank is empty, then popped, a cycle after its last slice each.
    Meanwhile the other bank was loaded. (A block of a single tile computes longer than it loads.)

    Parameters
    ----------
    geometry : Geometry
    count : ndarray of int64 [L]
        Vectors of the smallest chunk.
    """
    slices, beats = geometry.config.slices, geometry.config.weight_beats
    held = (count - 1) * np.maximum(geometry.out_beats, slices) + slices + 4
    return np.where(geometry.tiles_per_block > 1, np.maximum(held - beats, 0), 0)


def contenders(tilings: Sequence[Tiling], tokens: int) -> dict[Tiling, int]:
    """Return the exact cycles, one step per tile, of tilings among which the fastest ones are.

    Parameters
    ----------
    tilings : sequence of Tiling
        Of one configuration; each fits.
    tokens : int
        T.

    Returns
    -------
    dict of Tiling to int
        In the order given. Those left out take more cycles than the fastest.
    """
    if not tilings:
        return {}
    sizes = np.array([(each.outputs, each.inputs, each.passes) for each in tilings]).T
    geometry = Geometry.of(tilings[0].config, [each.mode for each in tilings], *sizes)
    bounds = least_cycles(geometry, np.full(len(tilings), tokens))
    found: dict[int, int] = {}
    for i in np.argsort(bounds, kind="stable").tolist():
        if found and bounds[i] >= min(found.values()):
            break
        steps = np.ones(tilings[i].tiles, dtype=np.int64)
        found[i] = loop_cycles(Loop(tilings[i], tokens, steps))
    return {tilings[i]: found[i] for i in sorted(found)}
