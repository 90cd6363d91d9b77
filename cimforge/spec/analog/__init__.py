"""The contract of the analog tile: configuration, commands, streams, timing, programs.

Like its parent, standard library, NumPy and YAML only.
"""
