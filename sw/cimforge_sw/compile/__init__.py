"""From N:M weights to programs of the digital tile (NumPy only); no model is loaded here."""

from cimforge_sw.compile.estimate import (
    Estimate,
    estimate,
    layer_cycles,
    resident_cycles,
    slot_use_by_group,
)
from cimforge_sw.compile.free_patterns import FreePattern, free_pattern, free_weights
from cimforge_sw.compile.layer import compile_layer, retarget_layer
from cimforge_sw.compile.model import compile_model, retarget

__all__ = [
    "Estimate", "FreePattern", "compile_layer", "compile_model", "estimate", "free_pattern",
    "free_weights", "layer_cycles", "resident_cycles", "retarget", "retarget_layer",
    "slot_use_by_group",
]
