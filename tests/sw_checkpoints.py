"""Tiny random checkpoints of real families, written as their users would write them."""

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

VOCABULARY = 64


def _bert():
    return transformers.BertModel(transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        vocab_size=VOCABULARY, max_position_embeddings=24))


def _llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=56, vocab_size=VOCABULARY, max_position_embeddings=32,
        bos_token_id=1, eos_token_id=2))


def _gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=VOCABULARY, n_positions=32,
        bos_token_id=1, eos_token_id=2))


def _mamba():
    return transformers.MambaForCausalLM(transformers.MambaConfig(
        hidden_size=32, num_hidden_layers=2, vocab_size=VOCABULARY, state_size=4, time_step_rank=8,
        bos_token_id=1, eos_token_id=2, pad_token_id=0))


def _opt():
    return transformers.OPTForCausalLM(transformers.OPTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=52,
        vocab_size=VOCABULARY, max_position_embeddings=32, word_embed_proj_dim=24,
        bos_token_id=1, eos_token_id=2, pad_token_id=0))


def _qwen2():
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=60, vocab_size=VOCABULARY, max_position_embeddings=32,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2))


_BUILD = {"bert": _bert, "llama": _llama, "gpt2": _gpt2, "mamba": _mamba, "opt": _opt,
          "qwen2": _qwen2}
FAMILIES = ("bert", "llama", "gpt2", "mamba")
ALL_FAMILIES = tuple(_BUILD)


def save_tiny(family, folder, **options):
    """Write a tiny checkpoint of a family and return its folder."""
    torch.manual_seed(11)
    _BUILD[family]().save_pretrained(folder, **options)
    return folder


def add_letters(folder):
    """Write a tokenizer of the letters a to g into a folder, and return it."""
    words = {letter: number for number, letter in enumerate("?abcdefg ")}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?")
    made.save_pretrained(folder)
    return folder


def token_rows(seed=5, rows=12):
    """Return token ids of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 9, (rows,), generator=generator).tolist()
    return [torch.randint(0, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
