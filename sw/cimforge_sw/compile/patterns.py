"""Which modes of the macro can run a layer: the gate before placement."""

from collections.abc import Mapping

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern, group_counts

__all__ = ["check_pattern", "check_weight", "legal_patterns", "most_per_block",
           "runnable_patterns", "wanted_patterns"]


def check_weight(config: DcimConfig, name: str, weight: np.ndarray, tokens: object):
    """Refuse weights or a number of tokens that no program can be made for.

    Raises
    ------
    DataError
        Naming the layer, what is wanted and what came.
    """
    if weight.ndim != 2 or 0 in weight.shape:
        raise DataError(f"{name}: weights must have shape (outputs, inputs), both at least 1, "
                        f"not {weight.shape}")
    if not np.issubdtype(weight.dtype, np.integer):
        raise DataError(f"{name}: weights must be integers, not {weight.dtype}")
    high = (1 << config.weight_bits - 1) - 1
    if weight.min() < -high - 1 or weight.max() > high:
        raise DataError(f"{name}: weights must be in {-high - 1}..{high} "
                        f"(weight_bits = {config.weight_bits}), "
                        f"not {weight.min()}..{weight.max()}")
    if weight.shape[1] > config.max_k:
        raise DataError(f"{name}: the configuration takes at most max_k = {config.max_k} inputs, "
                        f"not {weight.shape[1]}")
    if not isinstance(tokens, int) or tokens < 1:
        raise DataError(f"{name}: tokens must be an integer of at least 1, not {tokens!r}")


def check_pattern(name: str, weight: np.ndarray, pattern: NmPattern):
    """Refuse weights that do not keep to their own pattern.

    Raises
    ------
    DataError
        Naming the layer and the first group with too many nonzeros.
    """
    counts = group_counts(weight, pattern.m)
    bad = counts > pattern.n
    if bad.any():
        output, group = (int(axis[0]) for axis in np.nonzero(bad))
        first = group * pattern.m
        last = min(first + pattern.m, weight.shape[1]) - 1
        raise DataError(f"{name}: not {pattern}: output {output} keeps {counts[output, group]} "
                        f"of inputs {first}..{last}; {int(bad.sum())} of {bad.size} groups keep "
                        f"more than {pattern.n}")


def legal_patterns(config: DcimConfig, group: int | None) -> list[NmPattern]:
    """Return the N:M of the configuration's modes, with one G or any, sparsest first."""
    found = {NmPattern(mode.n, mode.m) for mode in config.modes if group in (None, mode.group)}
    return sorted(found, key=lambda p: (p.density, p.m))


def most_per_block(config: DcimConfig, weight: np.ndarray) -> dict[int, int]:
    """Return, by M of the modes, the most nonzeros in any aligned block of M inputs.

    Columns that share their index count together.
    """
    share = config.index_share
    used = np.zeros((-(-len(weight) // share) * share, weight.shape[1]), dtype=np.int8)
    used[:len(weight)] = weight != 0
    used = used.reshape(-1, share, weight.shape[1]).max(axis=1)
    return {m: int(group_counts(used, m).max()) for m in {mode.m for mode in config.modes}}


def runnable_patterns(config: DcimConfig, most: Mapping[int, int], pattern: NmPattern | None,
                      group: int | None = None) -> dict[NmPattern, int]:
    """Return the patterns that the compiler chooses from, and the passes each needs.

    ``line``: for every number of passes the sparsest N whose passes hold all groups of ``max_m``
    inputs, fewest passes first. A sparser mode has wider windows, so that buffer rows hold more
    tokens and the inputs may fill its tiles better: 4:8 also runs as two passes of 2:8 or four of
    1:8. ``pair``: the layer's own pattern where the macro has it, otherwise all that the weights
    keep to. The cost model of selection asks here, too, so that both agree.

    Parameters
    ----------
    config : DcimConfig
    most : mapping of int to int
        `most_per_block`.
    pattern : NmPattern or None
        The layer's own; without it, ``pair`` has all that the weights keep to.
    group : int, optional
        G, or any.
    """
    legal = legal_patterns(config, group)
    if config.select == "pair" and pattern in legal:
        return {pattern: 1}
    passes = {p: max(1, -(-most[p.m] // p.n)) for p in legal}
    if config.select == "pair":
        return {choice: 1 for choice, count in passes.items() if count == 1}
    sparsest: dict[int, NmPattern] = {}
    for choice, count in passes.items():  # legal patterns are in this order
        sparsest.setdefault(count, choice)
    return {sparsest[count]: count for count in sorted(sparsest)}


def wanted_patterns(config: DcimConfig, name: str, weight: np.ndarray, pattern: NmPattern,
                    group: int | None, mode: NmPattern | str | None) -> dict[NmPattern, int]:
    """Return the patterns to choose from, and the passes each needs.

    `runnable_patterns`, unless ``mode`` names one; with ``"fastest"``, ``pair`` tries others than
    the layer's own, too.

    Raises
    ------
    ConfigError
        If ``mode`` or ``group`` is not one of the configuration's.
    """
    if group is not None and group not in config.groups:
        raise ConfigError(f"{name}: group must be one of "
                          f"{', '.join(map(str, config.groups))}, not {group!r}")
    legal = legal_patterns(config, group)
    most = most_per_block(config, weight)
    if mode not in (None, "fastest"):
        wanted = mode if isinstance(mode, NmPattern) else NmPattern.parse(str(mode))
        if wanted not in legal:
            raise ConfigError(f"{name}: mode must be one of {', '.join(map(str, legal))}, "
                              f"not {wanted}")
        return {wanted: max(1, -(-most[wanted.m] // wanted.n))}
    if not legal:
        raise ConfigError(f"{name}: the configuration has no mode with group = {group}")
    return runnable_patterns(config, most, None if mode == "fastest" else pattern, group)
