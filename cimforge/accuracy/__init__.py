"""The accuracy table: every method on every model of the machine, cell by cell."""

from cimforge.accuracy.run import run_accuracy

__all__ = ["run_accuracy"]
