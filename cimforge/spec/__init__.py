"""The contract: configuration, N:M patterns, layouts, commands, programs, timing.

Everything else depends on this package; it imports only the standard library, NumPy and PyYAML.
"""
