"""Models: load, calibrate, prune, quantize (PyTorch). No hardware library is imported here."""
