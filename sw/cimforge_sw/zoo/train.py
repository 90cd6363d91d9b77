"""Train a model of the zoo on the standard library's sources; resumable, with a record."""

import json
import math
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from cimforge.spec.errors import ConfigError, DataError
from cimforge.spec.files import check_writable, write_atomic
from cimforge_sw.models import load_model
from cimforge_sw.zoo.corpus import Corpus, load_corpus
from cimforge_sw.zoo.fine_tune import FineTune
from cimforge_sw.zoo.recipes import (
    CONTEXT,
    END_OF_FILE,
    RECIPES,
    VOCABULARY,
    MonarchRecipe,
    Recipe,
)
from cimforge_sw.zoo.scan import trainable_scan
from cimforge_sw.zoo.scores import held_out_scores, quoted_score
from cimforge_sw.zoo.state import TrainingState

__all__ = ["train"]

_CHECK_EVERY = 100  # steps between validations and resumable states
_SEED = 7


def _tokenizer(corpus: Corpus) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the training files only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus.train, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END_OF_FILE], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_FILE, bos_token=END_OF_FILE,
        pad_token=END_OF_FILE, model_max_length=CONTEXT)


def _stream(tokenizer: PreTrainedTokenizerFast, texts: tuple[str, ...]) -> Tensor:
    """Return all files as one run of token ids [T], an end mark before each."""
    tokenizer.backend_tokenizer.no_truncation()  # whoever cut texts last left that on
    rows = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return torch.cat([torch.tensor([tokenizer.eos_token_id, *row.ids]) for row in rows])


def _windows(stream: Tensor) -> Tensor:
    """Cut a run into [R, CONTEXT + 1] overlapping by one, so that every token is predicted once."""
    return stream.unfold(0, CONTEXT + 1, CONTEXT)


def _bits_per_byte(module: nn.Module, stream: Tensor, texts: tuple[str, ...],
                   device: torch.device, windows: int | None = None) -> float:
    """Return bits per byte of files; of a share of them where ``windows`` limits the work."""
    module.eval()
    rows = _windows(stream)[:windows].to(device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.inference_mode():
        for chunk in rows.split(32):
            total += _loss(module, chunk).double() * chunk[:, 1:].numel()
    module.train()
    per_token = float(total) / (len(rows) * CONTEXT) / math.log(2)
    return per_token * len(stream) / sum(len(text.encode()) for text in texts)


def _loss(module: nn.Module, rows: Tensor) -> Tensor:
    logits = module(input_ids=rows[:, :-1], use_cache=False).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def _optimizer(module: nn.Module, recipe: Recipe | MonarchRecipe) -> tuple[
        torch.optim.Optimizer, list[Tensor]]:
    """Return AdamW; vectors, factors, and the decay rates of a state space, are not decayed."""
    named = dict(module.named_parameters())
    matrices = [p for name, p in named.items() if p.ndim == 2 and "A_log" not in name]
    others = [p for name, p in named.items() if p.ndim != 2 or "A_log" in name]
    groups = [{"params": matrices, "weight_decay": recipe.decay},
              {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95)), matrices + others


def _rate(step: int, recipe: Recipe | MonarchRecipe) -> float:
    warm = recipe.steps // 20
    if step < warm:
        return recipe.rate * (step + 1) / warm
    done = (step - warm) / (recipe.steps - warm)
    return recipe.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _about(recipe: Recipe | MonarchRecipe, corpus: Corpus) -> dict:
    """Return all that a run depends on."""
    start = ({"start": recipe.start, "rule": recipe.rule, "spans": recipe.spans}
             if isinstance(recipe, MonarchRecipe) else {"config": recipe.config.to_dict()})
    return {**start, "steps": recipe.steps, "batch": recipe.batch,
            "rate": recipe.rate, "decay": recipe.decay, "context": CONTEXT,
            "vocabulary": VOCABULARY, "seed": _SEED, "corpus": corpus.digest}


def train(name: str, out: Path, progress: Callable[[int, int], None] | None = None) -> dict:
    """Train a model, or go on where an interrupted run stopped; write it as a checkpoint.

    Parameters
    ----------
    name : str
        One of :data:`RECIPES`.
    out : Path
        Folder of the checkpoint: config, float16 weights, tokenizer, ``training.json``.
    progress : callable(done, total), optional
        Called after each step.

    Returns
    -------
    dict
        The training record.

    Raises
    ------
    ConfigError
        Another name.
    DataError
        A folder that holds a trained model, or an interrupted run of another recipe or corpus, or a
        damaged one; or that cannot be written.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    if (out / "training.json").exists():
        raise DataError(f"{out}: holds a trained model already; give another folder, or remove it")
    check_writable(out)
    recipe, corpus = RECIPES[name], load_corpus()
    state = TrainingState(out, _about(recipe, corpus))
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(_SEED)
    start = FineTune(recipe) if isinstance(recipe, MonarchRecipe) else _Fresh(recipe, corpus)
    module = start.module.to(device).train()
    optimizer, parameters = _optimizer(module, recipe)
    record = state.load(parameters, optimizer) or {"step": 0, "seconds": 0.0, "curve": []}
    stream, validation = (_stream(start.tokenizer, texts) for texts in (
        corpus.train, corpus.validation))
    with trainable_scan() if device.type == "cpu" else nullcontext():
        if isinstance(start, FineTune) and record["step"] == 0:
            record["before"] = start.before(lambda model: quoted_score(model, corpus))
            module.train()
        _run(recipe, module, optimizer, parameters, stream, validation, corpus, state, record,
             device, progress)
        score = _bits_per_byte(module, validation, corpus.validation, device)
    start.save(module.half(), out)
    held_out = held_out_scores(load_model(out), corpus)  # of the very files that are used later
    record |= {
        "model": name, "parameters": sum(p.numel() for p in module.parameters()),
        "bits_per_byte": {"validation": score} | {
            key: held_out.pop(key) for key in ("test", "gzip", "xz")},
        "held_out": held_out,
        "corpus": {"python": corpus.python, "digest": corpus.digest},
        "tokens": recipe.steps * recipe.batch * CONTEXT, "device": device.type,
        "threads": torch.get_num_threads(), "processor": platform.machine(),
        "recipe": {"steps": recipe.steps, "batch": recipe.batch, "context": CONTEXT,
                   "rate": recipe.rate, "decay": recipe.decay, "seed": _SEED}} | start.about
    write_atomic(out / "training.json", (json.dumps(record, indent=2) + "\n").encode())
    state.path.unlink(missing_ok=True)
    return record


class _Fresh:
    """A model with random weights, and a tokenizer of the training files."""

    def __init__(self, recipe: Recipe, corpus: Corpus):
        self.module, self.tokenizer = recipe.build(), _tokenizer(corpus)
        self.about: dict[str, Any] = {}

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the trained module as a checkpoint of ``transformers``."""
        module.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)  # safetensors writes for its owner only
        self.tokenizer.save_pretrained(folder)


def _run(recipe: Recipe | MonarchRecipe, module: nn.Module, optimizer: torch.optim.Optimizer,
         parameters: list[Tensor], stream: Tensor, validation: Tensor, corpus: Corpus,
         state: TrainingState, record: dict, device: torch.device,
         progress: Callable[[int, int], None] | None) -> None:
    start = time.monotonic() - record["seconds"]
    for step in range(record["step"], recipe.steps):
        picks = torch.Generator().manual_seed(_SEED + step)  # the same batch after a resume
        offsets = torch.randint(len(stream) - CONTEXT - 1, (recipe.batch,), generator=picks)
        rows = torch.stack([stream[o:o + CONTEXT + 1] for o in offsets.tolist()]).to(device)
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, recipe)
        loss = _loss(module, rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1, recipe.steps)
        if (step + 1) % _CHECK_EVERY == 0 or step + 1 == recipe.steps:
            score = _bits_per_byte(module, validation, corpus.validation, device, windows=64)
            record["curve"].append({"step": step + 1, "loss": round(loss.item(), 4),
                                    "bits_per_byte": round(score, 4)})
            record |= {"step": step + 1, "seconds": round(time.monotonic() - start, 1)}
            state.save(record, parameters, optimizer)
