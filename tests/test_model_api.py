"""Whole models: every product from the tile, equal to the integer model's, and going on."""

import numpy as np
import pytest
import torch
from sw_checkpoints import save_tiny, token_rows

import cimforge as cf
from cimforge import model_api
from cimforge.spec.errors import ConfigError, DataError
from cimforge_hw import cache
from cimforge_sw.recording import Recording
from cimforge_verif.compare import Mismatch

CONFIG = cf.load_config("tiny").replace(act_depth=64, acc_depth=64)


_PRODUCTS = Recording.products


def _quantized(family, folder):
    model = cf.load_model(save_tiny(family, folder))
    stats = cf.calibrate(model, token_rows(6, 12))
    return cf.quantize(cf.prune(model, cf.Plan.uniform("2:4"), stats), stats)


def _states(model):
    """Return the last hidden states of two texts."""
    with torch.inference_mode():
        return np.concatenate([model.module(input_ids=torch.tensor([row]))[0][0].numpy()
                               for row in token_rows(2, 2)])


@pytest.mark.parametrize("family", ["llama", "bert", "mamba", "gpt2"])
def test_a_model_is_what_its_integers_say(family, tmp_path):
    quantized = _quantized(family, tmp_path)
    done = []
    made = cf.simulate_model(quantized, CONFIG, _states, backend="golden", tokens=5,
                             progress=lambda *at: done.append(at))
    np.testing.assert_array_equal(made.hardware, made.integer)
    np.testing.assert_array_equal(made.integer, _states(quantized.as_model()))
    assert [layer.layer for layer in made.layers] == list(quantized.layers)
    total = sum(layer.programs for layer in made.layers)
    assert [at[:2] for at in done] == [(n, total) for n in range(1, total + 1)]
    tokens = sum(map(len, token_rows(2, 2)))
    assert all((layer.tokens, layer.programs, layer.cycles_counted) == (
        tokens, -(-tokens // 5), None) for layer in made.layers)


@pytest.mark.verilator
@pytest.mark.parametrize("stalls", [0.0, 0.2])
def test_on_the_rtl_counted_is_predicted(tmp_path, stalls):
    quantized = _quantized("llama", tmp_path)
    made = cf.simulate_model(quantized, CONFIG, _states, tokens=8, stalls=stalls, seed=3)
    np.testing.assert_array_equal(made.hardware, made.integer)
    for layer in made.layers:
        assert layer.cycles_counted is not None
        assert (layer.cycles_counted == layer.cycles_predicted) == (not stalls)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    quantized = _quantized("bert", tmp_path / "model")

    def stop(done, _total, _name):
        if done == 5:
            raise KeyboardInterrupt

    options = dict(backend="golden", tokens=64, folder=tmp_path / "kept")
    with pytest.raises(KeyboardInterrupt):
        cf.simulate_model(quantized, CONFIG, _states, progress=stop, **options)
    kept = sorted((tmp_path / "kept").iterdir())
    assert 3 <= len(kept) <= 5
    (tmp_path / "kept" / kept[0].name).write_bytes(kept[0].read_bytes()[:-40])  # cut: runs again
    done = []
    made = cf.simulate_model(quantized, CONFIG, _states, progress=lambda *at: done.append(at[2]),
                             **options)
    np.testing.assert_array_equal(made.hardware, made.integer)
    assert len(done) == len(quantized.layers) - len(kept) + 1
    whole = cf.simulate_model(quantized, CONFIG, _states, backend="golden", tokens=64)
    assert made.layers == whole.layers
    # Another text, tile or option is another run.
    for other in (dict(tokens=3), dict(seed=1)):
        done.clear()
        cf.simulate_model(quantized, CONFIG, _states, progress=lambda *at: done.append(at),
                          **{**options, **other})
        assert len(done) >= len(quantized.layers)


@pytest.mark.verilator
def test_results_of_other_rtl_are_not_taken(tmp_path, monkeypatch):
    """A run that goes on certifies what it ran: the Verilog of now, the accumulators of now."""
    quantized, options = _quantized("llama", tmp_path / "model"), dict(tokens=64)
    done = []

    def run():
        done.clear()
        return cf.simulate_model(quantized, CONFIG, _states, folder=tmp_path / "kept",
                                 progress=lambda *at: done.append(at), **options)

    run()
    assert done
    run()
    assert not done  # and nothing was built for it
    real = cache.simulation_rtl
    monkeypatch.setattr(cache, "simulation_rtl", lambda config: {
        name: f"{text}// another\n" for name, text in real(config).items()})
    run()
    assert len(done) == len(quantized.layers)
    monkeypatch.setattr(Recording, "products", lambda self, name: 1 + _PRODUCTS(self, name))
    with pytest.raises(Mismatch, match="accumulators"):
        run()


def test_a_wrong_accumulator_is_named(tmp_path, monkeypatch):
    quantized = _quantized("bert", tmp_path)
    name = list(quantized.layers)[3]
    real = Recording.products

    def wrong(self, layer):
        out = real(self, layer)
        if layer == name:
            out[2, 7] += 1
        return out

    monkeypatch.setattr(Recording, "products", wrong)
    with pytest.raises(Mismatch, match=rf"layer {name}: accumulators: .*token 2, output 7"):
        cf.simulate_model(quantized, CONFIG, _states, backend="golden")


def test_what_cannot_be_run(tmp_path):
    quantized = _quantized("bert", tmp_path)
    with pytest.raises(ConfigError, match="tokens must be at least 1, not 0"):
        cf.simulate_model(quantized, CONFIG, _states, backend="golden", tokens=0)
    with pytest.raises(DataError, match="backend must be one of golden, cocotb, batch, not 'fpga'"):
        cf.simulate_model(quantized, CONFIG, _states, backend="fpga")
    with pytest.raises(DataError, match=r"the run never reached layer encoder\.layer\.0"):
        cf.simulate_model(quantized, CONFIG, lambda model: 0, backend="golden")
    with pytest.raises(ConfigError, match="config must be a DcimConfig"):
        cf.simulate_model(quantized, "tiny", _states)
    with pytest.raises(DataError, match="run must be a function of a model, not None"):
        cf.simulate_model(quantized, CONFIG, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be written"):
        cf.simulate_model(quantized, CONFIG, _states, backend="golden", folder=tmp_path / "file")
    with pytest.raises(DataError, match="quantized must be a QuantizedModel"):
        cf.simulate_model("bert", CONFIG, _states)
    calls = iter(range(9))

    def other(model):
        with torch.inference_mode():
            model.module(input_ids=torch.tensor([[1, 2, 3 + next(calls)]]))

    with pytest.raises(DataError, match="an input that was not recorded; a run must do the same"):
        cf.simulate_model(quantized, CONFIG, other, backend="golden")
    assert model_api.__all__
