"""Types of what callers hand to the API: a wrong one is named where it came in."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import ConfigError, DataError

__all__ = ["BACKENDS", "check_run", "checked"]

BACKENDS = ("golden", "cocotb")

_Function = TypeVar("_Function", bound=Callable)

# Where callers get an object of each class.
_MADE_BY = {
    "AnalogConfig": "cf.load_analog_config", "IntegerModel": "cf.quantize or cf.quantize_monarch",
    "DcimConfig": "cf.load_config", "Model": "cf.load_model", "MonarchModel": "cf.d2s",
    "MonarchPlan": "cf.MonarchPlan.uniform or .load", "Plan": "cf.Plan.uniform or .load",
    "Program": "cf.compile or cf.load_program", "PrunedModel": "cf.prune",
    "QuantizedModel": "cf.quantize", "Stats": "cf.calibrate",
}


def checked(function: _Function) -> _Function:
    """Return a function that first checks its arguments of the project's own classes.

    Only parameters annotated with one of them count; whatever else is wrong, the function says.

    Raises
    ------
    ConfigError
        From the returned function: something else in the place of a configuration.
    DataError
        The same for any other class.

    Examples
    --------
    >>> from cimforge.spec.config import DcimConfig
    >>> @checked
    ... def rows(config: DcimConfig): return config.rows
    >>> rows("tiny")
    Traceback (most recent call last):
        ...
    cimforge.spec.errors.ConfigError: rows: config must be a DcimConfig (from cf.load_config), \
not 'tiny'
    """
    signature = inspect.signature(function)
    hints = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    kinds = {name: hint for name, hint in hints.items()
             if isinstance(hint, type) and hint.__name__ in _MADE_BY}

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        given = signature.bind(*arguments, **named).arguments
        for name, kind in kinds.items():
            if name in given and not isinstance(given[name], kind):
                error = ConfigError if kind in (AnalogConfig, DcimConfig) else DataError
                raise error(f"{function.__name__}: {name} must be a {kind.__name__} (from "
                            f"{_MADE_BY[kind.__name__]}), not {_short(given[name])}")
        return function(*arguments, **named)
    return cast(_Function, call)


def _short(value: object) -> str:
    """Return text and numbers as they are, and of all else the class: models print as pages."""
    plain = value is None or isinstance(value, (str, int, float))
    return repr(value) if plain else f"a {type(value).__name__}"


def check_run(backend: object, stalls: Any, seed: Any) -> None:
    """Refuse options of ``simulate_many`` that it cannot follow; its errors."""
    if backend not in BACKENDS:
        raise DataError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
    if not isinstance(stalls, (int, float)) or not 0 <= stalls < 1:
        raise ConfigError(f"stalls must be a probability from 0 to below 1, not {stalls!r}")
    if stalls and backend == "golden":
        raise ConfigError(f"stalls must be 0 with backend 'golden', which has no streams that "
                          f"wait, not {stalls!r}; backend 'cocotb' has")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed must be an integer of at least 0, not {seed!r}")
