"""A checkpoint folder: which files it has, that they are whole, and their digest.

Weights are read as safetensors only: a pickle can run code when it is opened.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from cimforge.spec.errors import DataError

__all__ = ["MONARCH", "PACKED", "check_folder", "checkpoint_digest", "stored_dtype", "weight_files"]

PACKED = "model.packed.safetensors"
MONARCH = "model.monarch.safetensors"
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def _index_shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{index}: expected JSON with a 'weight_map' of shards") from error
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DataError(f"{index}: expected names of files in the same folder as shards")
    return [index.parent / name for name in sorted(names)]


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint folder, sorted by name.

    One dense file comes first, then shards, then a packed or a Monarch file
    (``docs/formats.md``).

    Raises
    ------
    DataError
        None there (pickled weights alone are refused), a shard missing, or a broken shard index.
    """
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if not (folder / _INDEX).is_file():
        for name in (PACKED, MONARCH):
            if (folder / name).is_file():
                return [folder / name]
        pickles = sorted(p.name for p in folder.iterdir()
                         if p.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"})
        if pickles:
            raise DataError(f"{folder}: only pickled weights ({', '.join(pickles)}), which can run "
                            f"code when opened; expected {_SINGLE} (save_pretrained writes it)")
        raise DataError(f"{folder}: no weights; expected {_SINGLE} or {_INDEX}")
    shards = _index_shards(folder / _INDEX)
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise DataError(f"{folder}: {_INDEX} names missing shard(s): {', '.join(missing)}")
    return shards


def check_folder(folder: Path) -> list[Path]:
    """Check that a folder holds a configuration and whole weight files; return the latter.

    Raises
    ------
    DataError
        No folder, no ``config.json`` or one that holds no JSON object, no safetensors, or a
        truncated one.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}; expected a Hugging Face checkpoint "
                        f"folder (config.json and {_SINGLE})")
    config = folder / "config.json"
    if not config.is_file():
        raise DataError(f"{folder}: no config.json; expected a Hugging Face checkpoint")
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{config}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{config}: expected a JSON object, not {type(content).__name__}")
    files = weight_files(folder)
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass  # opening compares the length of the file with what its header promises
        except (SafetensorError, OSError) as error:
            raise DataError(f"{file}: truncated or damaged safetensors: {error}") from error
    return files


def checkpoint_digest(files: list[Path]) -> str:
    """Return the SHA-256 over the weight files, in the order given, as 64 hex digits."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def stored_dtype(files: list[Path]) -> torch.dtype:
    """Return float16 or bfloat16 where all floating-point tensors are of that type, else float32.

    Parameters
    ----------
    files : list of Path
        Whole safetensors files (`check_folder`); only their headers are read.
    """
    kinds = set()
    for path in files:
        with safe_open(path, framework="pt") as file:
            kinds |= {file.get_slice(name).get_dtype() for name in file.keys()}
    kinds = {kind for kind in kinds if kind.startswith(("F", "BF"))}
    return {("F16",): torch.float16, ("BF16",): torch.bfloat16}.get(tuple(kinds), torch.float32)
