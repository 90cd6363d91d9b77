"""Area of a macro in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import read_bytes, shipped
from cimforge.spec.yaml_text import yaml_path
from cimforge_sw.cost.features import BLOCKS, features, instances

__all__ = ["STORAGE", "MacroArea", "Technology", "load_technology", "macro_area"]

#: Terms of a column that weights and indices take as flip-flops with their write gates.
STORAGE = ("stored bit", "word")
#: The technology that ships: netlists of OSU's 180 nm cells.
DEFAULT = "osu018"


@dataclass(frozen=True)
class Technology:
    """What one of everything costs in cells of a library.

    Attributes
    ----------
    name : str
    node_nm : float
    terms : dict of str to dict of str to float
        Square micrometres of every term of `features`, by block.
    sram_bit : float
        Square micrometres of a bit of SRAM.
    uncertainty : float
        Largest relative error of a macro's area on netlists that calibration did not see.
    """

    name: str
    node_nm: float
    terms: Mapping[str, Mapping[str, float]]
    sram_bit: float
    uncertainty: float


@dataclass(frozen=True)
class MacroArea:
    """Square micrometres.

    Attributes
    ----------
    blocks : dict of str to float
        Of all blocks of a kind, each without those in it.
    storage : float
        The part of the columns that is weights and indices as flip-flops with their write gates.
    with_sram : float
        The whole, if they were SRAM.
    """

    blocks: Mapping[str, float]
    storage: float
    with_sram: float

    @property
    def total(self) -> float:
        """All blocks."""
        return sum(self.blocks.values())


@lru_cache(maxsize=8)
def load_technology(source: str | Path = DEFAULT) -> Technology:
    """Return a technology that ships by its name, or one from a YAML file by its path.

    Raises
    ------
    DataError
        No such technology; or a file that is not there, is none, or lacks a term.
    """
    path = yaml_path(source, shipped("cost/silicon"), "technology", DataError)
    text = read_bytes(path)
    try:
        data: Any = yaml.safe_load(text)
        terms = {block: {term: float(entry["value"]) for term, entry in data["area"][block].items()}
                 for block in BLOCKS}
        found = Technology(str(data["name"]), float(data["node_nm"]), terms,
                           float(data["sram_bit"]["value"]), float(data["uncertainty"]["value"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: no technology: wanted name, node_nm, sram_bit, uncertainty and "
                        f"area of {', '.join(BLOCKS)} (see cost/silicon/{DEFAULT}.yaml); "
                        f"{type(error).__name__}: {error}") from error
    for block, wanted in features(DcimConfig()).items():
        missing = set(wanted) - set(terms[block])
        if missing:
            raise DataError(f"{path}: {block} lacks {', '.join(sorted(missing))}")
    return found


def macro_area(config: DcimConfig, technology: Technology) -> MacroArea:
    """Return the area of a configuration's macro."""
    counts, times = features(config), instances(config)
    blocks = {block: times[block] * sum(technology.terms[block][term] * count
                                        for term, count in counts[block].items())
              for block in BLOCKS}
    column, of_column = counts["Column"], technology.terms["Column"]
    storage = times["Column"] * sum(of_column[term] * column[term]
                                    for term in STORAGE)
    as_sram = times["Column"] * column["stored bit"] * technology.sram_bit
    return MacroArea(blocks, storage, sum(blocks.values()) - storage + as_sram)
