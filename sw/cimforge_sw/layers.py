"""Linear layers of any transformer, by one rule, as [O, K] weights whatever class holds them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cimforge.spec.errors import DataError

__all__ = ["bias_vector", "block_lists", "linear_layers", "replace_layer", "watch_inputs",
           "weight_matrix"]

_LINEAR = (nn.Linear, Conv1D)


def _holds_linear(block: nn.Module) -> bool:
    """Tell a transformer block from a bare layer: linear layers *inside* it."""
    return not isinstance(block, _LINEAR) and any(
        isinstance(part, _LINEAR) for part in block.modules())


def block_lists(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.ModuleList]]:
    """Yield the outermost lists of blocks, by path; lists inside blocks are a part of them."""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, nn.ModuleList) and any(map(_holds_linear, child)):
            yield path, child
        else:
            yield from block_lists(child, f"{path}.")


def linear_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return every ``nn.Linear`` and GPT-2 ``Conv1D`` of the repeated blocks, by name.

    The repeated blocks are the outermost ``nn.ModuleList`` whose elements hold linear layers (both
    of them in an encoder-decoder model), so embeddings, poolers and heads stay out in any family.

    Parameters
    ----------
    module : nn.Module
        A whole model, such as ``Model.module``.

    Returns
    -------
    dict of str to nn.Module
        In the order of the model; names as ``module.named_modules()`` has them.

    Raises
    ------
    DataError
        No repeated blocks, so nothing says which layers count.
    """
    found: dict[str, nn.Module] = {}
    for path, blocks in block_lists(module):
        for name, part in blocks.named_modules(prefix=path):
            if isinstance(part, _LINEAR):
                found[name] = part
    if not found:
        raise DataError(f"{type(module).__name__} has no nn.ModuleList of blocks with linear "
                        "layers; cimforge prunes repeated transformer blocks")
    return found


def weight_matrix(layer: nn.Module) -> Tensor:
    """Return the weight as [O, K] (outputs, inputs): a view, detached; write to it in place.

    ``Conv1D`` of GPT-2 stores [K, O]; its transposed view comes back.
    """
    weight = layer.weight.detach()
    return weight.T if isinstance(layer, Conv1D) else weight


def bias_vector(layer: nn.Module) -> Tensor:
    """Return the bias as a detached [O] tensor, zeros where the layer has none."""
    if layer.bias is None:
        weight = weight_matrix(layer)
        return weight.new_zeros(weight.shape[0])
    return layer.bias.detach()


def replace_layer(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put ``layer`` in the place of the submodule called ``name``."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)


@contextmanager
def watch_inputs(layers: dict[str, nn.Module],
                 see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call ``see(name, x)`` with the input of every call of a layer, x flattened to [T, K]."""
    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            see(name, args[0].detach().reshape(-1, args[0].shape[-1]))
        return hook

    handles = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
