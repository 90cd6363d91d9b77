"""Golden models, replay of programs, vectors and comparison. Never imports ``cimforge_hw``."""
