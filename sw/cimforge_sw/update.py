"""Pruning with weight update: SparseGPT over a whole model, block by block."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from cimforge.spec.errors import DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.blocks import Blocks, separate_blocks
from cimforge_sw.globs import matches_any
from cimforge_sw.layers import layer_shape, linear_layers, watch_inputs, weight_matrix
from cimforge_sw.models import Model
from cimforge_sw.plan import Plan
from cimforge_sw.prune import PrunedModel, check_groups, sparsity
from cimforge_sw.sparsegpt import GramAccumulator, sparsegpt
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["gram_matrices", "prune_with_update", "walk_grams"]


def prune_with_update(model: Model, plan: Plan, texts: Iterable[Text], *,
                      max_tokens: int | None = None, batch_tokens: int = 4096,
                      progress: Callable[[int, int], None] | None = None) -> PrunedModel:
    """Prune by SparseGPT (arXiv 2301.00774): the weights that stay make up for those that go.

    Blocks are pruned in order. The Gram matrices of a block come from the outputs of the blocks
    before it as they are then, pruned; they are held for one block at a time.

    Parameters
    ----------
    model : Model
        Stays as it is.
    plan : Plan
        Every glob must match a layer.
    texts : iterable of str or of sequences of int
        Calibration text.
    max_tokens, batch_tokens : int
        As for `calibrate`.
    progress : callable(done, total), optional
        Called after each layer.

    Raises
    ------
    DataError
        Unusable texts, NaN activations, a layer to prune that the text never reached, or an
        unusable Gram matrix; the message names the layer.
    """
    module = copy.deepcopy(model.module)
    layers = linear_layers(module)
    patterns = plan.resolve(layers)
    ids = [ids for _, ids in batches(encode(model, texts, max_tokens), batch_tokens)]
    weights = {name: weight_matrix(layer) for name, layer in layers.items()}
    sparse = {name: layer for name, layer in layers.items()
              if patterns[name].n < patterns[name].m}
    # Layers that stay dense need no Gram matrix, and no text that reaches them.
    masks = {name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()
             if name not in sparse}
    for grams in walk_grams(module, sparse, ids):
        for name in list(grams):
            masks[name] = _prune_layer(name, weights[name], patterns[name], plan, grams.pop(name))
            if progress is not None:
                progress(len(masks), len(layers))
    masks = {name: masks[name] for name in layers}
    return PrunedModel(replace(model, module=module), masks, patterns, plan, sparsity(weights))


def gram_matrices(model: Model, texts: Iterable[Text], *, max_tokens: int | None = None,
                  exclude: Sequence[str] = (), batch_tokens: int = 4096) -> dict[str, Tensor]:
    """Return ``X^T X`` of every layer's inputs in the dense model.

    Parameters
    ----------
    model : Model
    texts, max_tokens, batch_tokens
        As for `prune_with_update`.
    exclude : sequence of str
        Globs of layers that stay dense, and so need none.

    Returns
    -------
    dict of str to Tensor of float64, shape (K, K)
        By layer; 8 K^2 bytes each, all of them at once.

    Raises
    ------
    DataError
        Unusable texts, NaN activations, or a layer that the text never reached.
    """
    ids = [ids for _, ids in batches(encode(model, texts, max_tokens), batch_tokens)]
    found: dict[str, Tensor] = {}
    layers = {name: layer for name, layer in linear_layers(model.module).items()
              if not matches_any(name, exclude)}
    for grams in walk_grams(model.module, layers, ids):
        found |= grams
    return found


def walk_grams(module: nn.Module, layers: dict[str, nn.Module], ids: list[Tensor]
               ) -> Iterator[dict[str, Tensor]]:
    """Yield the Gram matrices of block after block; what is done to a block counts for the next.

    Parameters
    ----------
    module : nn.Module
        A whole model.
    layers : dict of str to nn.Module
        The layers to watch, by name.
    ids : list of Tensor of int64, shape (B, T)
        Calibration text in batches.

    Yields
    ------
    dict of str to Tensor of float64, shape (K, K)
        Of the layers of a block; of all, where no block runs alone.

    Raises
    ------
    DataError
        NaN activations, or a layer that the text never reached.
    """
    blocks = separate_blocks(module, ids[0])
    states: list[Tensor | None] = [None] * len(ids)
    for index in range(max(len(blocks), 1)):
        mine = {name: layer for name, layer in layers.items() if blocks.index_of(name) == index}
        yield _grams(blocks, index, mine, ids, states)
        if index + 1 < len(blocks):
            states = [blocks.states(part, index + 1, index, state)
                      for part, state in zip(ids, states, strict=True)]


def _grams(blocks: Blocks, index: int, layers: dict[str, nn.Module], ids: list[Tensor],
           states: list[Tensor | None]) -> dict[str, Tensor]:
    """Return the Gram matrix of every layer of a block; of all, where no block runs alone."""
    sums = {name: GramAccumulator(layer_shape(layer)[1]) for name, layer in layers.items()}

    def see(name: str, x: Tensor) -> None:
        try:
            sums[name].see(x)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error

    with watch_inputs(blocks.module, layers, see):
        for part, state in zip(ids, states, strict=True):
            if len(blocks):
                blocks.states(part, index + 1, index, state)
            else:
                blocks.run(part)
    unreached = [name for name, entry in sums.items() if not entry.tokens]
    if unreached:
        raise DataError(f"calibration never reached {len(unreached)} layer(s): "
                        f"{', '.join(unreached)}; leave them dense or give text that does")
    return {name: entry.gram for name, entry in sums.items()}


def _prune_layer(name: str, weight: Tensor, pattern: NmPattern, plan: Plan,
                 gram: Tensor) -> Tensor:
    """Prune and update one layer in place; return its mask."""
    try:
        updated, mask = sparsegpt(weight, gram, pattern, granularity=plan.granularity,
                                  tile_cols=plan.tile_cols)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    weight.copy_(updated)
    check_groups(name, weight, pattern)
    return mask
