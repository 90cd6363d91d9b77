"""What is trained: the shapes of the zoo's models, and how long each is trained."""

from dataclasses import dataclass

from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM

__all__ = ["CONTEXT", "RECIPES", "MonarchRecipe", "Recipe"]

CONTEXT = 256  # tokens
VOCABULARY = 2048
END_OF_FILE = "<|endoffile|>"


@dataclass(frozen=True)
class Recipe:
    """One model of the zoo.

    Parameters
    ----------
    name : str
        What ``load_model`` takes.
    config : LlamaConfig or MambaConfig
    steps, batch : int
        Optimizer steps, and sequences of :data:`CONTEXT` tokens in each.
    rate : float
        Peak learning rate of AdamW, reached after 5 % of the steps, then a cosine down to 5 %.
    decay : float
        Weight decay of matrices.
    """

    name: str
    config: LlamaConfig | MambaConfig
    steps: int
    batch: int
    rate: float
    decay: float

    def build(self) -> nn.Module:
        """Return the model with random weights."""
        kind = {LlamaConfig: LlamaForCausalLM, MambaConfig: MambaForCausalLM}[type(self.config)]
        return kind(self.config)


@dataclass(frozen=True)
class MonarchRecipe:
    """A model of the zoo after D2S, all of its parameters fine-tuned.

    Parameters
    ----------
    name : str
        What ``load_model`` takes.
    start : str
        What ``load_model`` takes: the dense model.
    rule : str
        Of every layer, as `MonarchPlan` takes it.
    spans : int
        Of training files, for the layer-wise recovery.
    steps, batch, rate, decay
        As for `Recipe`; factors are not decayed, as it would count twice in their product.
    """

    name: str
    start: str
    rule: str
    spans: int
    steps: int
    batch: int
    rate: float
    decay: float


_TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
           "tie_word_embeddings": True}

RECIPES: dict[str, Recipe | MonarchRecipe] = {recipe.name: recipe for recipe in (
    Recipe("stdlib-llama", LlamaConfig(
        **_TOKENS, hidden_size=192, intermediate_size=512, num_hidden_layers=6,
        num_attention_heads=6, num_key_value_heads=3, max_position_embeddings=CONTEXT),
        steps=1600, batch=16, rate=3e-3, decay=0.1),
    Recipe("stdlib-mamba", MambaConfig(
        **_TOKENS, hidden_size=192, num_hidden_layers=10, state_size=8, time_step_rank=16,
        expand=2, use_cache=False),
        steps=1200, batch=16, rate=3e-3, decay=0.1),
    MonarchRecipe("stdlib-llama-monarch", start="stdlib-llama", rule="sqrt r2", spans=96,
                  steps=800, batch=8, rate=2e-3, decay=0.1),
)}
