"""Sweeps of the design space on Dask: designs, what runs on them, and what that costs."""
