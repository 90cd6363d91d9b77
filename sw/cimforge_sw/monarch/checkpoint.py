"""Converted models on disk: a folder that any part of this project can load again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimforge.spec.errors import CimforgeError, DataError
from cimforge.spec.files import read_bytes
from cimforge_sw.checkpoint import MONARCH, check_folder
from cimforge_sw.folders import new_folder
from cimforge_sw.layers import linear_layers
from cimforge_sw.models import load_model
from cimforge_sw.monarch.convert import MonarchModel
from cimforge_sw.monarch.cost import Cost
from cimforge_sw.monarch.fidelity import Errors, LayerFidelity
from cimforge_sw.monarch.file import write_monarch
from cimforge_sw.monarch.module import MonarchLinear
from cimforge_sw.monarch.plan import MonarchPlan
from cimforge_sw.packed import save_description, state_tensors

__all__ = ["load_monarch", "save_monarch"]

_PLAN, _FIDELITY = "monarch.yaml", "fidelity.json"


def save_monarch(converted: MonarchModel, folder: str | Path) -> None:
    """Write a converted model (``docs/formats.md``).

    Parameters
    ----------
    converted : MonarchModel
    folder : str or Path
        Must be new or empty. Gets ``model.monarch.safetensors``, ``config.json``, the tokenizer's
        files, ``monarch.yaml`` and ``fidelity.json``; both `load_monarch` and `load_model` read it.

    Raises
    ------
    DataError
        The folder is in use, or cannot be written; nothing is left behind.
    """
    module = converted.model.module
    layers = {name: layer for name, layer in linear_layers(module).items()
              if isinstance(layer, MonarchLinear)}
    with new_folder(Path(folder)) as temporary:
        write_monarch(temporary / MONARCH, state_tensors(module), layers)
        save_description(converted.model, temporary)
        converted.plan.save(temporary / _PLAN)
        records = [asdict(layer) for layer in converted.layers.values()]
        (temporary / _FIDELITY).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def load_monarch(folder: str | Path) -> MonarchModel:
    """Read what `save_monarch` wrote: every tensor, the plan and the fidelity as they were.

    Raises
    ------
    DataError
        No Monarch checkpoint, a damaged file (`read_monarch`), weights of another architecture, a
        plan that says something else than the file, or figures of other layers; names the place.
    """
    folder = Path(folder)
    files = check_folder(folder)
    if files != [folder / MONARCH]:
        raise DataError(f"{folder}: holds {files[0].name}; expected {MONARCH}")
    model = load_model(folder)
    plan = MonarchPlan.load(folder / _PLAN)
    stored = {name: layer.shapes for name, layer in linear_layers(model.module).items()
              if isinstance(layer, MonarchLinear)}
    try:
        planned = plan.shapes(model.module)
    except CimforgeError as error:
        raise DataError(f"{folder / _PLAN}: {error}") from error
    for name in {**planned, **stored}:
        if planned.get(name) != stored.get(name):
            raise DataError(f"{folder / _PLAN}: {name} is planned {_text(planned.get(name))}, but "
                            f"{MONARCH} holds it {_text(stored.get(name))}")
    return MonarchModel(model, plan, _fidelity(folder / _FIDELITY, list(stored)))


def _text(shapes: tuple | None) -> str:
    if shapes is None:
        return "dense"
    return " + ".join(f"{shape} {shape.order} of {shape.full[0]} x {shape.full[1]}"
                      for shape in shapes)


def _fidelity(path: Path, names: list[str]) -> dict[str, LayerFidelity]:
    try:
        found = [_record(raw) for raw in json.loads(read_bytes(path))]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not the figures of a converted model; expected those that "
                        f"{MONARCH} was written with") from error
    if [layer.name for layer in found] != names:
        raise DataError(f"{path}: figures of {len(found)} layer(s), not of the {len(names)} that "
                        f"{MONARCH} holds as factors")
    return {layer.name: layer for layer in found}


def _record(raw: dict[str, Any]) -> LayerFidelity:
    recovered = raw["recovered"]
    return LayerFidelity(**{**raw, "cost": Cost(**raw["cost"]),
                            "projected": Errors(**raw["projected"]),
                            "recovered": None if recovered is None else Errors(**recovered)})
