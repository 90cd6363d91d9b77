"""What a training run needs to go on after an interruption, as safetensors and JSON."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cimforge.spec.errors import DataError

__all__ = ["TrainingState"]


class TrainingState:
    """The file of an interrupted run, which goes on with the same recipe and corpus only.

    Parameters
    ----------
    folder : Path
        Of the checkpoint.
    about : dict
        All that the result depends on, as JSON knows it.

    Raises
    ------
    DataError
        A file there that is damaged or belongs to another run.
    """

    def __init__(self, folder: Path, about: dict[str, Any]):
        self.path = folder / "state.safetensors"
        self._about = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        if self.path.exists():
            self._read()

    def save(self, record: dict, parameters: list[Tensor],
             optimizer: torch.optim.Optimizer) -> None:
        """Write a training record, the parameters, and AdamW's means for them."""
        tensors = {f"model.{i}": p.detach() for i, p in enumerate(parameters)}
        for i, p in enumerate(parameters):
            entry = optimizer.state[p]
            tensors |= {f"mean.{i}": entry["exp_avg"], f"square.{i}": entry["exp_avg_sq"]}
        scratch = self.path.with_suffix(".part")
        save_file(tensors, scratch, metadata={"record": json.dumps(record), "about": self._about})
        scratch.replace(self.path)

    def load(self, parameters: list[Tensor], optimizer: torch.optim.Optimizer) -> dict | None:
        """Put back what `save` wrote and return the record; None where there is nothing.

        Raises
        ------
        DataError
            As the constructor, or tensors of other shapes.
        """
        if not self.path.exists():
            return None
        record, tensors = self._read()
        for i, p in enumerate(parameters):
            parts = [tensors[name] for kind in ("model", "mean", "square")
                     if (name := f"{kind}.{i}") in tensors]
            if [part.shape for part in parts] != [p.shape] * 3:
                raise self._damaged(f"tensors of parameter {i} are not of shape {list(p.shape)}")
            p.data.copy_(parts[0])
            optimizer.state[p] = {"step": torch.tensor(float(record["step"])),
                                  "exp_avg": parts[1].to(p.device),
                                  "exp_avg_sq": parts[2].to(p.device)}
        return record

    def _read(self) -> tuple[dict, dict[str, Tensor]]:
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            record = json.loads(metadata["record"])
            record["step"], record["seconds"] = int(record["step"]), float(record["seconds"])
            record["curve"] = list(record["curve"])
        except (SafetensorError, OSError, ValueError, LookupError, TypeError,
                RecursionError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._damaged(first) from error
        if metadata.get("about") != self._about:
            raise DataError(f"{self.path}: an interrupted run of another recipe or corpus; give "
                            "another folder, or remove this file to start anew")
        return record, tensors

    def _damaged(self, why: str) -> DataError:
        return DataError(f"{self.path}: not the state of an interrupted run ({why}); remove it to "
                         "start anew")
