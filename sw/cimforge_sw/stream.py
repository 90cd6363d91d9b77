"""Pruning a model larger than memory: one block of it at a time, from the shards to new shards.

Every block runs dense on all calibration batches, which gives the norms of its inputs and what the
next block is given; then it is pruned, written, and let go. The result is that of `calibrate` and
`prune` on the whole model, bit by bit.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.pattern import NmPattern
from cimforge_sw.calibration import Collector
from cimforge_sw.checkpoint import checkpoint_digest
from cimforge_sw.folders import check_new, real_folder
from cimforge_sw.globs import matches_any
from cimforge_sw.layers import linear_layers, uncounted_weights, weight_matrix
from cimforge_sw.models import Model, load_tokenizer, source_folder
from cimforge_sw.plan import Plan
from cimforge_sw.prune import SCORES, of_all
from cimforge_sw.skeleton import Skeleton
from cimforge_sw.stream_work import Progress, StateFiles
from cimforge_sw.stream_write import BlockWriter
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["StreamedModel", "stream_layers", "stream_prune"]


@dataclass(frozen=True, eq=False)
class StreamedModel:
    """What a streamed run wrote.

    Parameters
    ----------
    folder : Path
        A dense checkpoint with zeros; `load_model` reads it where memory allows.
    patterns : dict of str to NmPattern
        The plan, resolved.
    plan : Plan
    sparsity : float
        Zeros among the weights of all linear layers, counted in the tensors.
    source_digest : str
        SHA-256 over the source's weight files.
    uncounted : dict of str to int
    sparsity_of_all : float
        As in `PrunedModel`.
    """

    folder: Path
    patterns: dict[str, NmPattern]
    plan: Plan
    sparsity: float
    source_digest: str
    uncounted: dict[str, int]
    sparsity_of_all: float


class _Run:
    """A skeleton, its calibration batches, and passes over one block after the other."""

    def __init__(self, source: str | Path, texts: Iterable[Text] | None, max_tokens: int | None,
                 exclude: Sequence[str], batch_tokens: int):
        self.source = source_folder(str(source))
        self.skeleton = Skeleton(self.source)
        self.module, self.blocks = self.skeleton.module, self.skeleton.blocks
        model = Model(str(source), self.module, load_tokenizer(self.source), "")
        self.rows = [] if texts is None else encode(model, texts, max_tokens)
        self.ids = [ids for _, ids in batches(self.rows, batch_tokens)] if self.rows else []
        self.layers: list[dict[str, int]] = [{} for _ in self.blocks.names]
        for name, layer in linear_layers(self.module).items():
            if not matches_any(name, exclude):
                self.layers[self.blocks.index_of(name)][name] = weight_matrix(layer).shape[1]

    def verify(self) -> None:
        """Refuse a model whose blocks need more than the states of the one before.

        Without calibration text no block is given any.
        """
        if not self.ids:
            return
        count = min(2, len(self.blocks))  # the others are like them
        with self.skeleton.in_turn(count):
            if count > 1 and not self.blocks.verify(self.ids[0], count):
                raise DataError(f"{self.source}: {type(self.module).__name__} cannot be streamed: "
                                "its blocks hand each other more than hidden states; load it "
                                "whole instead")

    def passes(self, work: Path, start: int = 0
               ) -> Iterator[tuple[int, dict[str, Tensor], Path | None]]:
        """Yield (block, norms of its layers, states of the next), its dense weights loaded.

        Without calibration text nothing runs, and there are neither norms nor states.
        """
        if not self.ids:
            for index in range(start, len(self.blocks)):
                self.skeleton.load(index)
                yield index, {}, None
                self.skeleton.release(index)
            return
        states = StateFiles(work, [(len(ids), ids.shape[1]) for ids in self.ids])
        for index in range(start, len(self.blocks)):
            self.skeleton.load(index)
            collector = Collector(self.module, self.layers[index])
            last = index + 1 == len(self.blocks)
            with collector.watching():
                if last:
                    deque(self._through(index, states), maxlen=0)
                else:
                    states.write(index + 1, self._through(index, states))
            norms = {name: entry.norm for name, entry in collector.finish().items()}
            yield index, norms, None if last else states.path(index + 1)
            self.skeleton.release(index)
            states.remove(index)

    def _through(self, index: int, states: StateFiles) -> Iterator[Tensor]:
        given: Iterable[Tensor | None] = states.read(index) if index else [None] * len(self.ids)
        for ids, x in zip(self.ids, given, strict=True):
            yield self.blocks.states(ids, index + 1, index, x)


@contextmanager
def _run(source: str | Path, texts: Iterable[Text] | None, max_tokens: int | None,
         exclude: Sequence[str], batch_tokens: int) -> Iterator[_Run]:
    run = _Run(source, texts, max_tokens, exclude, batch_tokens)
    try:
        run.verify()
        yield run
    except (OSError, SafetensorError) as error:
        raise DataError(f"{source}: cannot be streamed: {error}") from error
    finally:
        run.skeleton.shards.close()


def stream_layers(source: str | Path, texts: Iterable[Text], *, max_tokens: int | None = None,
                  exclude: Sequence[str] = (), batch_tokens: int = 4096,
                  work: str | Path | None = None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield every linear layer with what dense calibration says of it, in the model's order.

    Parameters
    ----------
    source : str or Path
        As `load_model` takes it; dense.
    texts, max_tokens, exclude, batch_tokens
        As `calibrate` takes them; excluded layers are left out.
    work : str or Path, optional
        Where a temporary folder for hidden states may be made: two files of float32,
        tokens x hidden size. By default where the system puts temporary files.

    Yields
    ------
    name : str
    weight : Tensor of float32, shape (O, K)
        Dense; only until the next one is asked for.
    norm : Tensor of float32, shape (K,)
        ``||X_j||_2`` of every input channel.

    Raises
    ------
    DataError
        As `load_model` and `calibrate`, or a model whose blocks do not run once each, in order.
    """
    with (_run(source, texts, max_tokens, exclude, batch_tokens) as run,
          tempfile.TemporaryDirectory(dir=work) as folder):
        for _, norms, _ in run.passes(Path(folder)):
            for name, norm in norms.items():
                yield name, weight_matrix(run.module.get_submodule(name)), norm


def stream_prune(source: str | Path, plan: Plan, texts: Iterable[Text] | None, out: str | Path, *,
                 score: str = "wanda", max_tokens: int | None = None,
                 exclude: Sequence[str] = (), batch_tokens: int = 4096,
                 progress: Callable[[int, int], None] | None = None) -> StreamedModel:
    """Prune a checkpoint into a new one, block by block.

    Memory holds one block in float32, what runs before the blocks (embeddings), one batch of
    activations, and the score and mask of one layer. An interrupted run leaves the folder
    ``.<out>.partial`` beside ``out``; the same call goes on after the last block written there.

    Parameters
    ----------
    source : str or Path
        As `load_model` takes it; dense. float16 and bfloat16 are computed in float32 and written
        as they were.
    plan : Plan
        Every glob must match a layer.
    texts, max_tokens, exclude, batch_tokens
        As `calibrate` takes them; layers excluded must be dense in the plan. ``"magnitude"`` uses
        no text: with None for it, no block is run.
    out : str or Path
        Must be new or empty. Gets a shard for each block and one for everything else, their index,
        the source's configuration and tokenizer, and ``plan.yaml``.
    score : str
        ``"wanda"``, or ``"magnitude"``.
    progress : callable(done, total), optional
        Called after each block.

    Raises
    ------
    DataError
        As `load_model`, `calibrate` and `prune`; a model whose blocks do not run once each, in
        order; ``out`` in use; or a partial folder of another job.
    ConfigError
        An unknown score, or a pattern the plan's granularity cannot have.
    """
    if score not in SCORES:
        raise ConfigError(f"score must be one of {', '.join(SCORES)}, not {score!r}")
    if texts is None and score != "magnitude":
        raise ConfigError(f"score {score} needs calibration texts; only magnitude does not")
    check_new(Path(out))
    out = real_folder(Path(out))
    with _run(source, texts, max_tokens, exclude, batch_tokens) as run:
        patterns = plan.resolve(linear_layers(run.module))
        uncounted = uncounted_weights(run.module)
        digest = checkpoint_digest(run.skeleton.shards.files)
        job = {"source": digest, "plan": repr(plan), "rows": run.rows, "score": score,
               "exclude": list(exclude), "batch_tokens": batch_tokens}
        with Progress(out.with_name(f".{out.name}.partial"), job) as record:
            writer = BlockWriter(run.skeleton, record.folder, plan, patterns, score)
            for index, norms, states in run.passes(record.folder, len(record.blocks)):
                record.add(writer.prune_block(index, norms), states)
                if progress is not None:
                    progress(index + 1, len(run.blocks))
            writer.finish(run.source)
            record.finish(out)
    weights = sum(block.weights for block in record.blocks)
    share = sum(block.zeros for block in record.blocks) / weights
    return StreamedModel(out, patterns, plan, share, digest, uncounted,
                         of_all(share, weights, uncounted))
