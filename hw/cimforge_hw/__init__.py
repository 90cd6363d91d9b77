"""Amaranth generators of the hardware. Depends on ``cimforge.spec`` and nothing else of ours."""
