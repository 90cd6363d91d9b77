"""Scores of a model: how far its sentence embeddings are from the dense model's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge_sw.models import Model
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["cosine_to", "embed"]


def embed(model: Model, texts: Sequence[Text], batch_tokens: int = 4096) -> Tensor:
    """Return sentence embeddings: the mean of the last hidden states, L2-normalized.

    This is the pooling all-MiniLM-L6-v2 was trained with (its model card).

    Returns
    -------
    Tensor of float32, shape (len(texts), H)

    Raises
    ------
    DataError
        A model without ``last_hidden_state`` (one with a head), or unusable texts (`encode`).
    """
    rows = encode(model, texts)
    out: list[Tensor] = [torch.empty(0)] * len(rows)
    with torch.inference_mode():
        for positions, ids in batches(rows, batch_tokens):
            states = getattr(model.module(input_ids=ids), "last_hidden_state", None)
            if states is None:
                raise DataError(f"{model.name}: {type(model.module).__name__} returns no "
                                "last_hidden_state, so it has no sentence embeddings")
            pooled = torch.nn.functional.normalize(states.mean(1), dim=-1)
            for position, row in zip(positions, pooled, strict=True):
                out[position] = row
    return torch.stack(out)


def cosine_to(reference: Model, other: Model, texts: Sequence[Text]) -> float:
    """Return the mean cosine of both models' embeddings of the same texts, in -1..1."""
    return float((embed(reference, texts) * embed(other, texts)).sum(-1).double().mean())
