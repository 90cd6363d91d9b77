"""Whole models: every layer for the same tile and number of tokens."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.program import Program
from cimforge_sw.compile.layer import compile_layer, retarget_layer

__all__ = ["compile_model", "retarget"]


def compile_model(config: DcimConfig, layers: Mapping[str, Any], tokens: int,
                  progress: Callable[[int, int, str], None] | None = None,
                  mode: str | None = None, origin: dict | None = None) -> Program:
    """Compile the layers of a model.

    Parameters
    ----------
    config : DcimConfig
        The hardware.
    layers : mapping of str to object
        Each with ``weight`` (integers, shape (O, K)) and ``pattern`` (NmPattern), and perhaps
        ``kept``, the weights its pruner kept.
    tokens : int
        T of every layer.
    progress : callable, optional
        Called with (layers done, layers, name) after each layer.
    mode : str, optional
        As for :func:`compile_layer`.
    origin : dict, optional
        Whatever reproduces the layers; kept in the program.

    Returns
    -------
    Program

    Raises
    ------
    DataError, ConfigError
        Of the first layer that cannot be compiled; or if there is none.
    """
    if not layers:
        raise DataError("a program needs at least one layer, got none")
    programs = {}
    for done, (name, layer) in enumerate(layers.items(), 1):
        programs[name] = compile_layer(config, name, np.asarray(layer.weight), layer.pattern,
                                       tokens, mode=mode, kept=getattr(layer, "kept", None))
        if progress is not None:
            progress(done, len(layers), name)
    return Program(config=config, layers=programs, origin=dict(origin or {}))


def retarget(program: Program, tokens: int) -> Program:
    """Recompile a program for another number of tokens; see :func:`retarget_layer`."""
    layers = {name: retarget_layer(program.config, layer, tokens)
              for name, layer in program.layers.items()}
    return Program(config=program.config, layers=layers, origin=program.origin)
