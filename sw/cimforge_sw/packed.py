"""Pruned models on disk: packed N:M, and as dense checkpoints that any tool can read."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cimforge.spec.errors import DataError
from cimforge_sw.checkpoint import PACKED, check_folder
from cimforge_sw.folders import new_folder
from cimforge_sw.layers import linear_layers, weight_matrix
from cimforge_sw.models import Model, packed_model, quiet
from cimforge_sw.packed_file import PackedFile, PackedLayer, write_packed
from cimforge_sw.packed_layer import PackedShape
from cimforge_sw.plan import Plan
from cimforge_sw.prune import PrunedModel, sparsity

__all__ = ["load_packed", "round_weights", "save_description", "save_packed", "save_pruned",
           "state_tensors"]

_PLAN = "plan.yaml"


def save_pruned(pruned: PrunedModel, folder: str | Path) -> None:
    """Write a pruned model as a dense checkpoint with zeros, which `load_model` reads.

    Weights have the type of the checkpoint that the model came from, where it holds them exactly
    (`round_weights` sees to it after an update), else float32.

    Parameters
    ----------
    pruned : PrunedModel
    folder : str or Path
        Must be new or empty. Gets what ``save_pretrained`` of the model and of its tokenizer
        writes, and ``plan.yaml``.

    Raises
    ------
    DataError
        The folder is in use, or cannot be written; nothing is left behind.
    """
    with new_folder(Path(folder)) as temporary:
        dtype = _exact_dtype(pruned.model)
        with quiet():
            pruned.model.module.save_pretrained(
                temporary, state_dict=_cast_state(pruned.model.module, dtype))
        save_description(pruned.model, temporary, dtype)
        pruned.plan.save(temporary / _PLAN)


def save_packed(pruned: PrunedModel, folder: str | Path,
                dtype: torch.dtype | None = None) -> None:
    """Write a pruned model as packed N:M safetensors (``docs/formats.md``).

    Parameters
    ----------
    pruned : PrunedModel
        Its masks say which weights are kept; a kept weight that is 0 stays a kept one.
    folder : str or Path
        Must be new or empty. Gets ``model.packed.safetensors``, ``config.json``, the tokenizer's
        files and ``plan.yaml``; both `load_packed` and `load_model` read it.
    dtype : torch.dtype, optional
        Type of the floating-point tensors in the file; by default that of the checkpoint the model
        came from where it holds the weights exactly, else float32.

    Raises
    ------
    DataError
        The folder is in use or cannot be written, a mask that does not keep N of every M, or
        weights that ``dtype`` cannot hold exactly; nothing is left behind.
    """
    module, dtype = pruned.model.module, dtype or _exact_dtype(pruned.model)
    layers = {}
    for name, layer in linear_layers(module).items():
        pattern, weight = pruned.patterns[name], weight_matrix(layer)
        if pattern.n < pattern.m:
            kind = str(dtype).removeprefix("torch.")
            shape = PackedShape(weight.shape[0], weight.shape[1], pattern)
            layers[name] = PackedLayer(shape, kind, isinstance(layer, Conv1D))
    tensors = {name: _cast(name, tensor, dtype) for name, tensor in state_tensors(module).items()}
    with new_folder(Path(folder)) as temporary:
        write_packed(temporary / PACKED, PackedFile(tensors, pruned.masks, layers))
        save_description(pruned.model, temporary, dtype)
        pruned.plan.save(temporary / _PLAN)


def round_weights(pruned: PrunedModel) -> None:
    """Round the linear layers to the type of the checkpoint that the model came from, in place.

    SparseGPT computes in float32; what is saved should be as small as what was loaded.

    Raises
    ------
    DataError
        A weight beyond the range of that type.
    """
    for name, layer in linear_layers(pruned.model.module).items():
        weight = weight_matrix(layer)
        rounded = weight.to(pruned.model.dtype)
        if not torch.isfinite(rounded).all():
            raise DataError(f"{name}: an updated weight is beyond the range of "
                            f"{pruned.model.dtype}, the source's type")
        weight.copy_(rounded)


def save_description(model: Model, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write all of a checkpoint but its weights: configurations, and the tokenizer's files."""
    config = copy.deepcopy(model.module.config)
    if dtype is not None:
        config.dtype = dtype
    config.architectures = [type(model.module).__name__]
    config.save_pretrained(folder)
    for part in (getattr(model.module, "generation_config", None), model.tokenizer):
        if part is not None:
            part.save_pretrained(folder)


def state_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and persistent buffers, tied ones under their first name only."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor.detach()))
    return dict(found.values())


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    cast = tensor.to(dtype)
    if not torch.equal(cast.to(tensor.dtype), tensor):
        raise DataError(f"{name}: {dtype} cannot hold these weights exactly; leave out dtype to "
                        f"store {tensor.dtype}")
    return cast


def _exact_dtype(model: Model) -> torch.dtype:
    """Return the type of the model's checkpoint if it holds the weights exactly, else float32."""
    exact = all(torch.equal(tensor.to(model.dtype).to(tensor.dtype), tensor)
                for tensor in state_tensors(model.module).values() if tensor.is_floating_point())
    return model.dtype if exact else torch.float32


def _cast_state(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the module's state; tensors that are tied stay so."""
    cast: dict[int, Tensor] = {}
    state = module.state_dict(keep_vars=True)
    for tensor in state.values():
        if id(tensor) not in cast:
            plain = tensor.detach()
            cast[id(tensor)] = plain.to(dtype) if plain.is_floating_point() else plain
    return {name: cast[id(tensor)] for name, tensor in state.items()}


def load_packed(folder: str | Path) -> PrunedModel:
    """Read what `save_packed` wrote: every tensor, mask and pattern as it was, in float32.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    PrunedModel
        Removed weights are 0; ``model.digest`` is that of the packed file.

    Raises
    ------
    DataError
        No packed checkpoint, a damaged file (`read_packed`), a plan that is missing or that says
        something else than the file, or weights of another architecture; names the place.
    """
    folder = Path(folder)
    files = check_folder(folder)
    if files != [folder / PACKED]:
        raise DataError(f"{folder}: a dense checkpoint; expected {PACKED}")
    model, packed = packed_model(str(folder), folder, files)
    plan = Plan.load(folder / _PLAN)
    weights = {name: weight_matrix(layer) for name, layer in linear_layers(model.module).items()}
    patterns = plan.resolve(weights)
    masks = {}
    for name, pattern in patterns.items():
        entry = packed.layers.get(name)
        stored = "dense" if entry is None else str(entry.shape.pattern)
        if stored != ("dense" if pattern.n == pattern.m else str(pattern)):
            raise DataError(f"{folder / _PLAN}: {name} is planned {pattern}, but {PACKED} holds it "
                            f"{stored}")
        masks[name] = packed.masks.get(name, torch.ones(weights[name].shape, dtype=torch.bool))
    return PrunedModel(model, masks, patterns, plan, sparsity(weights))
