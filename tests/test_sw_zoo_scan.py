"""The trainable scan against the definition, against finite differences, and inside a model."""

import torch
from transformers import MambaConfig, MambaForCausalLM

from cimforge_sw.zoo.scan import selective_scan, trainable_scan


def _operands(steps=5, batch=2, width=3, states=4):
    generator = torch.Generator().manual_seed(1)
    shapes = [(steps, batch, width)] * 2 + [(width, states)] + [(steps, batch, states)] * 2
    x, dt, a, b, c = (torch.randn(shape, generator=generator, dtype=torch.float64)
                      for shape in shapes)
    return [part.requires_grad_() for part in (x, dt.abs(), -a.abs(), b, c)]


def _definition(x, dt, a, b, c):
    state, out = torch.zeros(x.shape[1], x.shape[2], a.shape[1], dtype=x.dtype), []
    for t in range(len(x)):
        state = (torch.exp(dt[t, :, :, None] * a) * state
                 + dt[t, :, :, None] * b[t, :, None, :] * x[t, :, :, None])
        out.append((state * c[t, :, None, :]).sum(-1))
    return torch.stack(out)


def test_the_scan_is_the_recurrence():
    operands = _operands()
    torch.testing.assert_close(selective_scan(*operands), _definition(*operands))


def test_its_gradients_are_those_of_the_recurrence():
    operands = _operands()
    weights = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = torch.autograd.grad((selective_scan(*operands) * weights).sum(), operands)
    theirs = torch.autograd.grad((_definition(*operands) * weights).sum(), operands)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_model_computes_the_same_with_it():
    torch.manual_seed(3)
    model = MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2,
                                         state_size=4, use_cache=False)).train()
    ids = torch.randint(32, (2, 9))
    plain = model(input_ids=ids).logits
    with trainable_scan():
        logits = model(input_ids=ids).logits
        logits.square().sum().backward()
    torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-5)
    assert all(p.grad is not None for p in model.parameters())
