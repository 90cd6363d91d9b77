"""What no model and no hardware could make right in a call for a selection."""

from cimforge.spec.errors import ConfigError
from cimforge_sw.prune import SCORES
from cimforge_sw.select.budget import check_target, is_number
from cimforge_sw.select.flow import MODES

__all__ = ["METHODS", "check_request", "check_score"]

METHODS = ("uniform", "owl", "flow", "flow-x")


def check_score(score: str, update: bool = False) -> None:
    """Refuse a score that masks cannot have, or that SparseGPT's update would not use."""
    if score not in SCORES:
        raise ConfigError(f"score must be one of {', '.join(SCORES)}, not {score!r}")
    if update and score != "wanda":
        raise ConfigError(f"SparseGPT's update has a score of its own, not {score}")


def check_request(method: str, sparsity: float, mode: str = "balanced",
                  max_cycles: float | None = None) -> None:
    """Refuse what `Selector.check` refuses whatever the model; its errors."""
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    check_target(sparsity)
    if mode not in MODES:
        raise ConfigError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if mode != "balanced" and method != "flow":
        raise ConfigError(f"only flow takes a mode, not {method}")
    if max_cycles is None:
        return
    if method != "flow-x":
        raise ConfigError(f"only flow-x takes a limit on cycles, not {method}")
    if not is_number(max_cycles) or not max_cycles > 0:
        raise ConfigError(f"max_cycles must be a positive number, not {max_cycles!r}")
