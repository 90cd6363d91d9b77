"""Plans of the tables: uniform, a mix of two levels by depth, and a zoo plan transferred."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimforge.accuracy.cells import sharing
from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern

if TYPE_CHECKING:
    from cimforge_sw.shapes import ModelShapes

__all__ = ["DONORS", "LARGE", "UNIFORM", "accuracy_rows", "mixed", "transferred", "uniform"]

#: The large shapes, and the model of the accuracy table whose levels they are given.
DONORS = {"Llama-2-7B": "stdlib-llama", "Llama-2-13B": "stdlib-llama", "OPT-6.7B": "stdlib-llama",
          "Mamba-2.8B": "stdlib-mamba", "BERT-large": "all-MiniLM-L6-v2",
          "BART-large": "all-MiniLM-L6-v2", "GPT-2-medium": "stdlib-llama"}
LARGE = tuple(DONORS)
UNIFORM = {0.5: "4:8", 0.625: "3:8", 0.75: "2:8", 0.875: "1:8"}
#: Plans near 70 %: N of the first blocks, up to which depth, and of the others 2. Shares are such
#: that the models come nearest to 2.4 of 8; 4:8 and 2:8 fill the slots, 3:8 leaves some empty.
_MIXES = {"mix 3:8, 2:8": (3, 0.4), "mix 4:8, 2:8": (4, 0.19)}
_ALIASES = {"qkv": "q"}  # one matrix for three gets the level of the first

Patterns = dict[str, NmPattern]


def uniform(shapes: "ModelShapes", pattern: str) -> Patterns:
    """Return the same pattern for every layer."""
    return dict.fromkeys((layer.name for layer in shapes.layers), NmPattern.parse(pattern))


def mixed(shapes: "ModelShapes") -> dict[str, Patterns]:
    """Return plans of two levels by depth, near 70 %: the first blocks of a stack keep more."""
    return {name: {layer.name: NmPattern(n if layer.depth < share else 2, 8)
                   for layer in shapes.layers} for name, (n, share) in _MIXES.items()}


def transferred(shapes: "ModelShapes", donor: "ModelShapes", levels: list[NmPattern]) -> Patterns:
    """Return, for every layer, the level of the donor's layer of its role nearest in depth.

    Raises
    ------
    DataError
        A role that the donor does not have, or another number of levels than it has layers.
    """
    if len(levels) != len(donor.layers):
        raise DataError(f"{donor.model} has {len(donor.layers)} layers, but the plan has "
                        f"{len(levels)} levels")
    found = {}
    for layer in shapes.layers:
        role = _ALIASES.get(layer.role, layer.role)
        near = [(abs(theirs.depth - layer.depth), level)
                for theirs, level in zip(donor.layers, levels, strict=True) if theirs.role == role]
        if not near:
            raise DataError(f"{layer.name}: {donor.model} has no layer of the role {role!r}")
        found[layer.name] = min(near, key=lambda pair: pair[0])[1]
    return found


def accuracy_rows(path: Path) -> list[dict[str, Any]]:
    """Return the records of the accuracy table, with ``levels``: the pattern of every layer.

    Those with shared positions are left out: their scores are not those of the levels alone.

    Raises
    ------
    DataError
        Unreadable, or no such records.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, but wanted the accuracy table's; make accuracy "
                        "writes it")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["records"]
        return [{**record, "levels": [NmPattern.parse(text) for text in record["plan"].split()]}
                for record in records if sharing(record["method"]) == "free"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a report of the accuracy table; make accuracy writes "
                        "it") from error
