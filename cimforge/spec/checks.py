"""Checks of single values for whoever takes them: a message says what is wanted and what came."""

from collections.abc import Sequence

from cimforge.spec.errors import ConfigError

__all__ = ["check_choice", "check_flag", "check_integer", "check_power_of_two"]


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    """Refuse what is no ``int`` of a range, both ends included; without ``high``, of any size.

    Raises
    ------
    ConfigError
        Saying the range.

    Examples
    --------
    >>> check_integer("adcs", 2.5, 1, 64)
    Traceback (most recent call last):
        ...
    cimforge.spec.errors.ConfigError: adcs must be an integer in 1..64, not 2.5
    """
    integer, span = "an integer ", f"of at least {low}" if high is None else f"in {low}..{high}"
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= low and (high is None or value <= high):
            return
        integer = integer if high is None else ""
    raise ConfigError(f"{name} must be {integer}{span}, not {value!r}")


def check_power_of_two(name: str, value: object, low: int, high: int | None = None) -> None:
    """Refuse what is no ``int``, or no power of two of a range; its error."""
    span = f"of at least {low}" if high is None else f"in {low}..{high}"
    if not isinstance(value, int) or isinstance(value, bool) or value < max(low, 1) or (
            value & (value - 1)) or (high is not None and value > high):
        raise ConfigError(f"{name} must be a power of two {span}, not {value!r}")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse what is not among the choices, which 1.0 and True are not if 1 is; its error."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False; its error."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {value!r}")
