"""A model zoo of our own: small, useful language models of Python source, and their text."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["training_record", "zoo_folder", "zoo_names"]


def _root() -> Path:
    return Path(str(files("cimforge_sw.zoo"))) / "checkpoints"


def zoo_names() -> list[str]:
    """Return the names that ``load_model`` takes."""
    return sorted(path.name for path in _root().glob("*") if (path / "config.json").is_file())


def zoo_folder(name: str) -> Path:
    """Return the checkpoint folder of one of `zoo_names`."""
    return _root() / name


def training_record(name: str) -> dict[str, Any]:
    """Return how one of `zoo_names` was made, and what it scores on which text."""
    return json.loads((zoo_folder(name) / "training.json").read_text(encoding="utf-8"))
