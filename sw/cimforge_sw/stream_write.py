"""The shards that a streamed run writes: blocks pruned one by one, then everything else."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from cimforge.spec.pattern import NmPattern
from cimforge_sw.layers import weight_matrix
from cimforge_sw.plan import Plan
from cimforge_sw.prune import check_groups, layer_mask
from cimforge_sw.skeleton import Skeleton
from cimforge_sw.stream_work import DoneBlock, file_digest

__all__ = ["BlockWriter"]

_INDEX = "model.safetensors.index.json"
_COPIED = {".json", ".txt", ".model", ".jinja"}  # configuration and tokenizer


@dataclass(frozen=True, eq=False)
class BlockWriter:
    """Prunes blocks and writes them, and the rest of the model, into the work folder.

    Parameters
    ----------
    skeleton : Skeleton
    folder : Path
        The work folder.
    plan : Plan
    patterns : dict of str to NmPattern
        The plan, resolved, in the order of the model.
    score : str
        ``"wanda"`` or ``"magnitude"``.
    """

    skeleton: Skeleton
    folder: Path
    plan: Plan
    patterns: dict[str, NmPattern]
    score: str

    def _shard(self, index: int) -> str:
        """Return the name of a block's shard; the first shard, -1, is everything else."""
        return f"model-{index + 2:05d}-of-{len(self.skeleton.blocks) + 1:05d}.safetensors"

    def _save(self, index: int, tensors: dict[str, Tensor]) -> Path:
        path = self.folder / self._shard(index)
        part = path.with_suffix(".part")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part,
                  metadata={"format": "pt"})
        part.replace(path)
        return path

    def prune_block(self, index: int, norms: dict[str, Tensor]) -> DoneBlock:
        """Prune the layers of a loaded block in place and write it in the source's types."""
        shards, sources = self.skeleton.shards, self.skeleton.tensors_of(index)
        tensors = {source: shards[source] for source in sources.values()}
        zeros = weights = 0
        for name in (n for n in self.patterns if f"{n}.weight" in sources):
            layer = self.skeleton.module.get_submodule(name)
            weight = weight_matrix(layer)
            self._prune_layer(name, weight, norms.get(name))
            zeros += weight.numel() - int(torch.count_nonzero(weight))
            weights += weight.numel()
            source = sources[f"{name}.weight"]
            tensors[source] = layer.weight.detach().to(tensors[source].dtype)
            del weight
            self.skeleton.drop(f"{name}.weight")  # from here on in the source's type only
        path = self._save(index, tensors)
        return DoneBlock(path.name, file_digest(path), zeros, weights)

    def _prune_layer(self, name: str, weight: Tensor, norm: Tensor | None) -> None:
        pattern = self.patterns[name]
        if pattern.n == pattern.m:
            return
        weight.mul_(layer_mask(name, weight, pattern, self.plan, norm, self.score))
        check_groups(name, weight, pattern)

    def finish(self, source: Path) -> None:
        """Write what belongs to no block, the index, and the small files of ``source``."""
        skeleton = self.skeleton
        outside = skeleton.outside()
        self._save(-1, {name: skeleton.shards[name] for name in outside})
        where = dict.fromkeys(outside, self._shard(-1))
        for index in range(len(skeleton.blocks)):
            where |= dict.fromkeys(skeleton.tensors_of(index).values(), self._shard(index))
        size = sum(skeleton.shards[name].nbytes for name in where)
        index_file = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
        (self.folder / _INDEX).write_text(json.dumps(index_file, indent=1))
        for path in sorted(source.iterdir()):
            if path.suffix in _COPIED and not path.name.endswith(".safetensors.index.json"):
                shutil.copyfile(path, self.folder / path.name)
        self.plan.save(self.folder / "plan.yaml")
