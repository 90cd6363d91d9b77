"""A calibrated technology as YAML: every number with its unit and where it is from."""

import yaml

from cimforge_sw.cost.area import Technology

__all__ = ["technology_yaml"]


def technology_yaml(technology: Technology, library: str, source: str, sram_source: str) -> str:
    """Return the text of ``cost/silicon/NAME.yaml``.

    Parameters
    ----------
    technology : Technology
    library : str
        File name of the cells.
    source, sram_source : str
        What was fitted, and where the density of SRAM is from.
    """
    data = {
        "name": technology.name, "node_nm": technology.node_nm, "library": library,
        "source": source,
        "uncertainty": {"value": round(technology.uncertainty, 4), "unit": "relative",
                        "source": "largest error of a macro's area on netlists that the fit did "
                                  "not see"},
        "sram_bit": {"value": round(technology.sram_bit, 4), "unit": "um2/bit",
                     "source": sram_source},
        "area": {block: {term: {"value": round(value, 4), "unit": "um2"}
                         for term, value in terms.items()}
                 for block, terms in technology.terms.items()}}
    return ("# What one of everything in a macro costs; made by cimforge paper --netlists.\n"
            + yaml.safe_dump(data, sort_keys=False, width=96))
