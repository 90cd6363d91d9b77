"""Linear layers of any transformer, by one rule, as [O, K] weights whatever class holds them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.pytorch_utils import Conv1D

from cimforge.spec.errors import DataError
from cimforge_sw.monarch.module import MonarchLinear

__all__ = ["bias_vector", "block_lists", "fused_outputs", "layer_shape", "linear_layers",
           "replace_layer", "uncounted_weights", "used_by_weight", "watch_inputs", "weight_matrix"]

_LINEAR = (nn.Linear, Conv1D, MonarchLinear)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


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
    """Return every linear layer of the repeated blocks, by name.

    These are ``nn.Linear``, GPT-2's ``Conv1D``, and the `MonarchLinear` that took the place of one.

    The repeated blocks are the outermost ``nn.ModuleList`` whose elements hold linear layers (both
    of them in an encoder-decoder model), so embeddings, poolers and heads stay out in any family.
    A layer that runs in several places (ALBERT) is one layer, under its first name.

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
        No repeated blocks, so nothing says which layers count; or two layers that share one weight,
        which one mask cannot serve: their inputs differ.
    """
    found: dict[str, nn.Module] = {}
    owners: dict[int, str] = {}  # of each weight, by the identity of its parameter
    seen: set[nn.Module] = set()
    for path, blocks in block_lists(module):
        for name, part in blocks.named_modules(memo=seen, prefix=path):
            if not isinstance(part, _LINEAR):
                continue
            mine = part if isinstance(part, MonarchLinear) else part.weight
            owner = owners.setdefault(id(mine), name)
            if owner != name:
                raise DataError(f"{owner} and {name} are two layers that share one weight; "
                                "cimforge prunes only layers with a weight of their own")
            found[name] = part
    if not found:
        raise DataError(f"{type(module).__name__} has no nn.ModuleList of blocks with linear "
                        "layers; cimforge prunes repeated transformer blocks")
    return found


def uncounted_weights(module: nn.Module) -> dict[str, int]:
    """Return the weights of the blocks that are matrices, but in no layer of `linear_layers`.

    Experts of a mixture, all in one parameter [E, O, K] (Mixtral), and XLNet's attention: products
    with them cost as much as those of linear layers, but they are neither pruned nor counted.

    Parameters
    ----------
    module : nn.Module
        A whole model.

    Returns
    -------
    dict of str to int
        How many, by parameter: those of three or more dimensions, the last two larger than 1, that
        belong to no convolution.
    """
    found: dict[str, int] = {}
    for path, blocks in block_lists(module):
        for name, parameter in blocks.named_parameters(prefix=path):
            owner = module.get_submodule(name.rpartition(".")[0])
            if (parameter.ndim > 2 and min(parameter.shape[-2:]) > 1
                    and not isinstance(owner, (*_LINEAR, *_CONVOLUTIONS))):
                found[name] = parameter.numel()
    return found


def weight_matrix(layer: nn.Module) -> Tensor:
    """Return the weight as [O, K] (outputs, inputs): a view, detached; write to it in place.

    ``Conv1D`` of GPT-2 stores [K, O]; its transposed view comes back.

    Raises
    ------
    DataError
        A `MonarchLinear`, which has factors: nothing written to their product would count.
    """
    if isinstance(layer, MonarchLinear):
        raise DataError(f"a Monarch layer ({layer.extra_repr()}) has factors and no weight: prune, "
                        "quantize and pack the dense model, or leave its layer dense in d2s")
    weight = layer.weight.detach()
    return weight.T if isinstance(layer, Conv1D) else weight


def layer_shape(layer: nn.Module) -> tuple[int, int]:
    """Return (O, K) of any linear layer."""
    if isinstance(layer, MonarchLinear):
        return layer.outputs, layer.inputs
    outputs, inputs = weight_matrix(layer).shape
    return outputs, inputs


def bias_vector(layer: nn.Module) -> Tensor:
    """Return the bias as a detached [O] tensor, zeros where the layer has none."""
    if layer.bias is None:
        return next(layer.parameters()).new_zeros(layer_shape(layer)[0])
    return layer.bias.detach()


def replace_layer(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put ``layer`` in the place of the submodule called ``name``."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)


def used_by_weight(module: nn.Module, name: str) -> bool:
    """Tell whether a layer is never called: its owner multiplies by ``layer.weight`` itself.

    Mamba's mixer computes ``dt_proj.weight @ time_step`` and adds ``dt_proj.bias`` later, in the
    scan (transformers, ``MambaMixer.forward``). Nothing else is known to.
    """
    owner, _, attribute = name.rpartition(".")
    return attribute == "dt_proj" and isinstance(module.get_submodule(owner), MambaMixer)


def fused_outputs(module: nn.Module, name: str) -> tuple[int, ...]:
    """Return how many outputs belong to each of the matrices that a layer holds, in their order.

    GPT-2's ``c_attn`` is Q, K and V in one (of a cross-attention K and V), which its owner splits
    again (transformers, ``GPT2Attention.forward``); every other layer counts as one matrix.
    """
    owner, _, attribute = name.rpartition(".")
    outputs = layer_shape(module.get_submodule(name))[0]
    attention = module.get_submodule(owner)
    if attribute == "c_attn" and isinstance(attention, GPT2Attention):
        return (attention.split_size,) * (outputs // attention.split_size)
    return (outputs,)


@contextmanager
def watch_inputs(module: nn.Module, names: Iterable[str],
                 see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call ``see(name, x)`` with the input of every use of a layer, x flattened to [T, K].

    Parameters
    ----------
    module : nn.Module
        A whole model; its layers may have been replaced (`replace_layer`).
    names : iterable of str
        The layers to watch, as in `linear_layers`.
    see : callable(name, x)
        Called before the layer runs.
    """
    handles = [_watch(module, name, see) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watch(module: nn.Module, name: str, see: Callable[[str, Tensor], None]) -> RemovableHandle:
    layer = module.get_submodule(name)

    def before(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        see(name, args[0].detach().reshape(-1, args[0].shape[-1]))

    if not used_by_weight(module, name):
        return layer.register_forward_pre_hook(before)
    mixer = module.get_submodule(name.rpartition(".")[0])

    def after(_: nn.Module, __: tuple, out: Tensor) -> None:
        rank = mixer.time_step_rank  # the first of x_proj's outputs are the time step, then B, C
        see(name, out[..., :rank].detach().reshape(-1, rank))

    return mixer.x_proj.register_forward_hook(after)
