"""Golden models of the analog tile: one exact NumPy function per block, and the whole tile."""

from cimforge_verif.analog.adc import lfsr_states, transfer
from cimforge_verif.analog.drive import Array, drive
from cimforge_verif.analog.monarch import linear, monarch
from cimforge_verif.analog.tile import AnalogTile

__all__ = ["AnalogTile", "Array", "drive", "lfsr_states", "linear", "monarch", "transfer"]
