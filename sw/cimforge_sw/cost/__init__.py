"""Closed forms of what a macro costs in silicon, calibrated on netlists."""
