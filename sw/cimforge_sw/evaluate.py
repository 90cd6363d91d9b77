"""Scores of a model: its sentence embeddings beside the dense model's, or its bits per byte."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cimforge.spec.errors import DataError
from cimforge_sw.forward import forward
from cimforge_sw.models import Model
from cimforge_sw.tokens import Text, batches, context_length, encode, whole_rows

__all__ = ["bits_per_byte", "cosine_to", "embed"]


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
    for positions, ids in batches(rows, batch_tokens):
        states = getattr(forward(model.module, ids), "last_hidden_state", None)
        if states is None:
            raise DataError(f"{model.name}: {type(model.module).__name__} returns no "
                            "last_hidden_state, so it has no sentence embeddings")
        pooled = torch.nn.functional.normalize(states.mean(1), dim=-1)
        for position, row in zip(positions, pooled, strict=True):
            out[position] = row
    return torch.stack(out)


def cosine_to(reference: Model, other: Model, texts: Sequence[Text]) -> float:
    """Return the mean cosine of both models' embeddings of the same texts, in -1..1.

    Raises
    ------
    DataError
        As `embed`, or embeddings of different widths.
    """
    ours, theirs = embed(reference, texts), embed(other, texts)
    if ours.shape != theirs.shape:
        raise DataError(f"{reference.name} has embeddings of {ours.shape[1]} numbers and "
                        f"{other.name} of {theirs.shape[1]}; expected models of equal width")
    return float((ours * theirs).sum(-1).double().mean())


def bits_per_byte(model: Model, texts: Sequence[str], batch_tokens: int = 4096) -> float:
    """Return the bits a causal language model needs per byte of text: lower is better.

    Texts longer than the context are cut into windows that overlap by one token, so that every
    token but a text's first is predicted once; the first is, too, after the tokenizer's start
    token, where it has one.

    Parameters
    ----------
    model : Model
        With logits and a tokenizer.
    texts : sequence of str
        Bytes are those of their UTF-8.
    batch_tokens : int
        Tokens that run at once.

    Raises
    ------
    DataError
        A model without logits or tokenizer, or one with an encoder; no text, or none with a token
        to predict.
    """
    if getattr(model.module.config, "is_encoder_decoder", False):
        raise DataError(f"{model.name}: {type(model.module).__name__} has an encoder that sees the "
                        "text it would have to predict, so it has no bits per byte")
    window = context_length(model) + 1
    rows: list[list[int]] = []
    for row in whole_rows(model, texts):
        rows += [row[at:at + window] for at in range(0, max(len(row) - 1, 1), window - 1)]
    size = sum(len(text.encode()) for text in texts)
    if not size or all(len(row) < 2 for row in rows):
        raise DataError(f"expected texts with a token to predict, not {len(texts)} text(s) of "
                        f"{size} bytes")
    total = 0.0
    for _, ids in batches([row for row in rows if len(row) > 1], batch_tokens):
        logits = getattr(forward(model.module, ids[:, :-1]), "logits", None)
        if logits is None or logits.ndim != 3:
            raise DataError(f"{model.name}: {type(model.module).__name__} predicts no next "
                            "tokens, so it has no bits per byte")
        total += float(torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"))
    return total / math.log(2) / size
