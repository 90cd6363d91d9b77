"""The batch backend: a verilated tile as a shared library, NumPy arrays in and out."""
