"""Small random models of families whose blocks differ in what they take, return and share."""

import torch
import transformers as hf

VOCABULARY = 64
_TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_SIZES = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3,
          "num_attention_heads": 2}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 3, "num_heads": 2,
       "decoder_start_token_id": 0, **_TOKENS}


def _albert(groups):
    return hf.AlbertModel(hf.AlbertConfig(**_SIZES | {"num_hidden_layers": 4}, embedding_size=16,
                                          num_hidden_groups=groups, intermediate_size=48))


_BUILD = {
    "albert1": lambda: _albert(1),
    "albert2": lambda: _albert(2),
    "bloom": lambda: hf.BloomForCausalLM(hf.BloomConfig(
        hidden_size=32, n_layer=3, n_head=2, **_TOKENS)),
    "deberta": lambda: hf.DebertaV2Model(hf.DebertaV2Config(
        **_SIZES, intermediate_size=48, relative_attention=True, pos_att_type=["p2c", "c2p"],
        max_position_embeddings=32, conv_kernel_size=3, conv_act="gelu")),
    "falcon": lambda: hf.FalconForCausalLM(hf.FalconConfig(**_SIZES | _TOKENS)),
    "falconmamba": lambda: hf.FalconMambaForCausalLM(hf.FalconMambaConfig(
        hidden_size=32, num_hidden_layers=2, state_size=4, time_step_rank=8, **_TOKENS)),
    "gptj": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(
        n_embd=32, n_layer=3, n_head=2, rotary_dim=8, n_positions=32, **_TOKENS)),
    "mixtral": lambda: hf.MixtralForCausalLM(hf.MixtralConfig(
        **_SIZES | _TOKENS, num_key_value_heads=1, intermediate_size=48, num_local_experts=4,
        max_position_embeddings=32)),
    "mpnet": lambda: hf.MPNetModel(hf.MPNetConfig(
        **_SIZES, intermediate_size=48, max_position_embeddings=40)),
    "mpt": lambda: hf.MptForCausalLM(hf.MptConfig(
        d_model=32, n_layers=3, n_heads=2, max_seq_len=32, **_TOKENS)),
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(
        **_SIZES, intermediate_size=48, max_position_embeddings=26, pad_token_id=1)),
    "rwkv": lambda: hf.RwkvForCausalLM(hf.RwkvConfig(
        hidden_size=32, num_hidden_layers=3, attention_hidden_size=32, context_length=32,
        **_TOKENS)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**_T5)),
    "t5_encoder": lambda: hf.T5EncoderModel(hf.T5Config(**_T5)),
    "xlnet": lambda: hf.XLNetModel(hf.XLNetConfig(
        d_model=32, n_layer=3, n_head=2, d_inner=48, **_TOKENS)),
}


def build(family):
    """Return a random model of a family, ready to run; always the same one."""
    torch.manual_seed(3)
    return _BUILD[family]().eval().requires_grad_(False)


def save_family(family, folder):
    """Write a checkpoint of a family and return its folder."""
    build(family).save_pretrained(folder)
    return folder
