"""Shapes of the linear layers of the models that arXiv 2510.11192 reports on."""

from dataclasses import dataclass

from cimforge.spec.errors import ConfigError
from cimforge_sw.analog.factors import Matrix

__all__ = ["WORKLOADS", "Workload", "workload"]

_WIDTH, _INNER, _LAYERS = 1024, 4096, 24  # of all three models


@dataclass(frozen=True)
class Workload:
    """Linear layers of a model, and what its attention multiplies besides.

    Parameters
    ----------
    name : str
    tokens : int
        Length of the sequence; BART's encoder and decoder have one of this length each.
    matrices : tuple of Matrix
    attentions : int
        Attention layers: each multiplies QK^T and AV, ``2 * tokens * 1024`` products per token.
    """

    name: str
    tokens: int
    matrices: tuple[Matrix, ...]
    attentions: int

    @property
    def attention_products(self) -> int:
        """Multiplications per token of QK^T and AV, without a causal mask."""
        return self.attentions * 2 * self.tokens * _WIDTH

    @property
    def flops_ratio(self) -> float:
        """Multiplications with dense layers over those with Monarch factors, attention in both."""
        dense = sum(matrix.outputs * matrix.inputs for matrix in self.matrices)
        monarch = sum(f.weights for matrix in self.matrices for f in matrix.monarch())
        return (dense + self.attention_products) / (monarch + self.attention_products)


def _attention(name: str, shared: bool = True) -> tuple[Matrix, ...]:
    """Return Q, K, V and O, n = 1024 with b = 32; ``shared``: Q has the input of K and V."""
    def square(part: str, group: str) -> Matrix:
        return Matrix(f"{name}.{part}", _WIDTH, _WIDTH, 32, 32, shared=group)

    return (square("q", name if shared else ""), square("k", name), square("v", name),
            square("o", ""))


def _ffn(name: str, padded: bool) -> tuple[Matrix, ...]:
    """Return both FFN matrices with b = 64: as rectangles, or padded to 4096 x 4096."""
    side = _INNER if padded else 0
    return (Matrix(f"{name}.up", _INNER, _WIDTH, 64, 64, padded_inputs=side),
            Matrix(f"{name}.down", _WIDTH, _INNER, 64, 64, padded_outputs=side))


def _stack(padded: bool) -> tuple[Matrix, ...]:
    """Return 24 layers of self-attention and FFN: BERT-large; GPT-2-medium, its c_attn split."""
    return tuple(matrix for n in range(_LAYERS) for matrix in (
        *_attention(f"{n}.self"), *_ffn(str(n), padded)))


def _bart(padded: bool) -> tuple[Matrix, ...]:
    """Return 12 encoder layers, and 12 decoder layers with cross-attention."""
    half = _LAYERS // 2
    encoder = [(*_attention(f"e{n}.self"), *_ffn(f"e{n}", padded)) for n in range(half)]
    decoder = [(*_attention(f"d{n}.self"), *_attention(f"d{n}.cross", shared=False),
                *_ffn(f"d{n}", padded)) for n in range(half)]
    return tuple(matrix for layer in (*encoder, *decoder) for matrix in layer)


WORKLOADS = {"BERT-large": (512, _LAYERS, _stack), "BART-large": (1024, 36, _bart),
             "GPT-2-medium": (1024, _LAYERS, _stack)}


def workload(name: str, padded: bool) -> Workload:
    """Return a model by name.

    Parameters
    ----------
    name : str
        One of `WORKLOADS`.
    padded : bool
        Whether FFN matrices are padded to squares, as the paper seems to do.

    Raises
    ------
    ConfigError
        Another name.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"model must be one of {', '.join(WORKLOADS)}, not {name!r}")
    tokens, attentions, make = WORKLOADS[name]
    return Workload(name, tokens, make(padded), attentions)
