"""Quantized layers of a model as programs of the analog tile, one for each input."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.program import AnalogProgram
from cimforge.spec.errors import ConfigError, DataError
from cimforge_sw.analog.drives import KINDS
from cimforge_sw.analog.factors import Matrix
from cimforge_sw.analog.hybrid import hybrid
from cimforge_sw.analog.integer import IntegerMonarch
from cimforge_sw.analog.mappings import MAPPINGS
from cimforge_sw.analog.placement import Mapping
from cimforge_sw.analog.schedule import Precision, schedule
from cimforge_sw.forward import forward
from cimforge_sw.layers import linear_layers, watch_inputs
from cimforge_sw.models import Model
from cimforge_sw.quantize import IntegerModel, QuantizedLinear
from cimforge_sw.tokens import Text, encode

__all__ = ["MAPPING_NAMES", "deploy", "deploy_mapped", "shared_inputs"]

MAPPING_NAMES = (*MAPPINGS, "hybrid")
_Part = QuantizedLinear | IntegerMonarch


def deploy(model: IntegerModel, config: AnalogConfig, layers: Sequence[str] = ("*",), *,
           mapping: str = "dense", tokens: int = 16, shared: Iterable[Sequence[str]] = (),
           precision: Precision | None = None) -> list[AnalogProgram]:
    """Map layers to a tile and schedule them; the tile is programmed anew for each program.

    Parameters, errors: as of `deploy_mapped`, without the mappings.
    """
    return [program for program, _ in deploy_mapped(
        model, config, layers, mapping=mapping, tokens=tokens, shared=shared, precision=precision)]


def deploy_mapped(model: IntegerModel, config: AnalogConfig, layers: Sequence[str] = ("*",), *,
                  mapping: str = "dense", tokens: int = 16, shared: Iterable[Sequence[str]] = (),
                  precision: Precision | None = None) -> list[tuple[AnalogProgram, Mapping]]:
    """Map layers to a tile and schedule them.

    Parameters
    ----------
    model : IntegerMonarchModel or QuantizedModel
        From `quantize_monarch`; or dense layers from `quantize`, which can only be linear.
    config : AnalogConfig
        A program's arrays must fit into one tile.
    layers : sequence of str
        Globs of layer names.
    mapping : str
        One of :data:`MAPPING_NAMES`. ``"hybrid"`` chooses for the least interval within the tile's
        arrays, and never linear for a Monarch layer, whose integers it would change.
    tokens : int
        Vectors that a program processes.
    shared : iterable of sequences of str
        Layers with a common input (`shared_inputs`), which then are one program, if they are
        quantized alike.
    precision : Precision, optional
        Lossless without it.

    Returns
    -------
    list of (AnalogProgram, Mapping)
        In the order of the model.

    Raises
    ------
    ConfigError
        An unknown mapping, or one that a layer cannot have; a tile too small.
    DataError
        Globs that match no layer.
    """
    if mapping not in MAPPING_NAMES:
        raise ConfigError(f"mapping must be one of {', '.join(MAPPING_NAMES)}, not {mapping!r}")
    if isinstance(layers, str):
        raise ConfigError(f"layers must be globs in a list, such as [{layers!r}], not {layers!r}")
    if type(tokens) is not int or tokens < 1:
        raise ConfigError(f"tokens must be an integer of at least 1, not {tokens!r}")
    programs = []
    for step in _steps(_chosen(model, layers), shared):
        placed = _mapped(mapping, [_matrix(part, step) for part in step], config, precision)
        programs.append((schedule(
            placed, [part.name for part in step],
            {key: weight for part in step for key, weight in _weights(part).items()}, config,
            scales={part.name: part.scale for part in step if isinstance(part, IntegerMonarch)},
            tokens=tokens, precision=precision), placed))
    return programs


def _chosen(model: IntegerModel, globs: Sequence[str]
            ) -> dict[str, list[_Part]]:
    """Return the parts of the layers that the globs name."""
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in model.layers):
            raise DataError(f"{glob!r} matches none of {len(model.layers)} layers; the first is "
                            f"{next(iter(model.layers))}")
    return {name: list(layer) if isinstance(layer, list) else [layer]
            for name, layer in model.layers.items() if any(fnmatchcase(name, g) for g in globs)}


def _steps(layers: dict[str, list[_Part]], shared: Iterable[Sequence[str]]) -> list[list[_Part]]:
    """Return parts of layers by their common input: of a fused layer, or of a group."""
    group_of = {name: tuple(group) for group in shared for name in group}
    steps: dict[tuple, list[_Part]] = {}
    for name, parts in layers.items():
        # Other scales make other integers of one input; schedules want one structure, too.
        kind = float(parts[0].act_scale), _structure(parts[0])
        steps.setdefault((group_of.get(name, (name,)), kind), []).extend(parts)
    return list(steps.values())


def _structure(part: _Part) -> tuple[int, ...]:
    if isinstance(part, IntegerMonarch):
        return part.shape.in_blocks, part.shape.out_blocks, part.shape.rank
    return ()


def _matrix(part: _Part, step: list[_Part]) -> Matrix:
    shared = step[0].name if len(step) > 1 else ""
    if isinstance(part, IntegerMonarch):
        return part.matrix(shared)
    if (part.weight_bits, part.act_bits) != (8, 8):
        raise ConfigError(f"{part.name}: the analog tile takes INT8 weights and activations, not "
                          f"INT{part.weight_bits} and INT{part.act_bits}")
    outputs, inputs = part.weight.shape
    return Matrix(part.name, outputs, inputs, shared=shared)


def _weights(part: _Part) -> dict[tuple[str, str], np.ndarray]:
    return part.weights if isinstance(part, IntegerMonarch) else {(part.name, "W"): part.weight}


def _mapped(name: str, matrices: list[Matrix], config: AnalogConfig, precision: Precision | None
            ) -> Mapping:
    monarch = matrices[0].blocks_in > 0
    if name == "linear" and monarch:
        raise ConfigError(f"{matrices[0].name}: is a Monarch layer, and 'linear' maps dense "
                          f"weights: quantize the dense model, or take another mapping")
    if name == "hybrid":
        return hybrid(matrices, config, config.arrays, linear=False,
                      rule=dict.fromkeys(KINDS, precision or Precision()))
    return MAPPINGS[name](matrices, config.array, config.grain)


def shared_inputs(model: Model, texts: Iterable[Text]) -> list[tuple[str, ...]]:
    """Return the linear layers that are given one and the same tensor, such as Q, K and V.

    Parameters
    ----------
    model : Model
        Also one with Monarch layers.
    texts : iterable of str or of sequences of int
        The first is run.

    Returns
    -------
    list of tuple of str
        Groups of at least two.
    """
    seen: dict[tuple, list[str]] = {}
    alive: list[Tensor] = []  # so that no tensor gets the memory of another

    def see(name: str, x: Tensor) -> None:
        alive.append(x)
        names = seen.setdefault((x.data_ptr(), tuple(x.shape)), [])
        if name not in names:
            names.append(name)

    row = encode(model, texts)[0]
    with watch_inputs(model.module, linear_layers(model.module), see):
        forward(model.module, torch.tensor([row]))
    return [tuple(names) for names in seen.values() if len(names) > 1]
