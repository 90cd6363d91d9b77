"""Errors of callers' making: one clear sentence each, exit code 2 at the command line."""

__all__ = ["CimforgeError", "ConfigError", "DataError", "ToolError"]


class CimforgeError(ValueError):
    """What the caller gave cannot be used; the message says what, where and what was wanted."""


class ConfigError(CimforgeError):
    """A parameter set that no hardware can be built from."""


class DataError(CimforgeError):
    """A checkpoint, plan, program, vector set or array that is broken or for something else."""


class ToolError(CimforgeError):
    """A tool of the machine (compiler, Verilator, yosys, …) is missing or failed."""
