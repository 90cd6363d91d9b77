"""The macro: distribution, sub-macros and merging in a pipeline."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from cimforge.spec.config import DcimConfig
from cimforge_hw.common.place import place
from cimforge_hw.dcim.column import WriteSignature
from cimforge_hw.dcim.distribution import Distribution
from cimforge_hw.dcim.merging import Merging
from cimforge_hw.dcim.mode import ModeLayout
from cimforge_hw.dcim.slicer import Slicer
from cimforge_hw.dcim.sub_macro import SubMacro

__all__ = ["Macro", "MergedSignature", "TagLayout", "VectorSignature"]


class TagLayout(data.StructLayout):
    """What travels with a vector to the accumulator, besides the mode's G."""

    def __init__(self, config: DcimConfig):
        super().__init__({
            "acc": range(config.acc_depth), "first": 1, "last": 1, "requantize": 1,
            "end": 1,  # last vector of its command
        })


class VectorSignature(wiring.Signature):
    """A window of activations and how to use it, with valid and ready."""

    def __init__(self, config: DcimConfig):
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "window": Out(config.max_m * config.act_bits).array(
                config.window_inputs // config.max_m),
            "mode": Out(ModeLayout()),
            "bank": Out(1),
            "steps": Out(range(config.max_steps + 1)),
            "release": Out(1),
            "tag": Out(TagLayout(config)),
        })


class MergedSignature(wiring.Signature):
    """Merged sums of one step of one vector, with valid and ready."""

    def __init__(self, config: DcimConfig):
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "lane": Out(signed(config.macro_bits)).array(config.sub_macros * config.cols),
            "group_log2": Out(3),
            "tag": Out(TagLayout(config)),
        })


class Macro(wiring.Component):
    """Sums of products of a stored weight tile and a stream of windows.

    A vector stays on ``vectors`` for ``slices * steps`` cycles and is taken in the last of them,
    so vectors follow each other without bubbles. The merged sums of a step appear
    ``macro_latency`` cycles after its last slice; each step of a vector delivers its own sums, the
    first with ``first`` as given in the tag, the others with ``first`` cleared, all but the last
    with ``last`` and ``end`` cleared. While ``merged`` is valid and not ready, the whole pipeline
    stands still.

    Parameters
    ----------
    config : DcimConfig

    Members
    -------
    vectors : ``In(VectorSignature(config))``
        Windows. The payload holds while valid and not ready.
    step : ``Out(range(max_steps))``
        Step that needs its selects now.
    selects : ``In(select_bits)``
        ``pair`` only: selects of ``step`` of the vector's bank, in the same cycle.
    write : ``In(WriteSignature(config, units)).array(P)``
        Write port of every sub-macro.
    released : ``Out(1)``, ``released_bank`` : ``Out(1)``
        A vector marked ``release`` reads its bank for the last time in this cycle.
    merged : ``Out(MergedSignature(config))``
        Merged sums.
    computing : ``Out(1)``
        A slice enters the pipeline.
    idle : ``Out(1)``
        Nothing is in the pipeline.
    """

    def __init__(self, config: DcimConfig):
        self._config = config
        members = {
            "vectors": In(VectorSignature(config)),
            "step": Out(range(max(2, config.max_steps))),
            "write": In(WriteSignature(config, config.units)).array(config.sub_macros),
            "released": Out(1),
            "released_bank": Out(1),
            "merged": Out(MergedSignature(config)),
            "computing": Out(1),
            "idle": Out(1),
        }
        if config.select_bits:
            members["selects"] = In(config.select_bits)
        super().__init__(members)

    @property
    def config(self) -> DcimConfig:
        """Parameters this instance was built from."""
        return self._config

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        move = Signal()  # the pipeline advances
        m.d.comb += move.eq(~self.merged.valid | self.merged.ready)
        sliced, first, last, last_step = self._count(m, move)
        active = self._distribute(m, platform, sliced, move)
        tag = self._step_tag(m, last_step)

        # Stage 1: lines. The registers of the lines themselves are in _distribute.
        stage1 = {name: Signal(shape, name=f"lines_{name}") for name, shape in {
            "valid": 1, "first": 1, "last": 1, "bank": 1, "release": 1,
            "group_log2": 3, "tag": TagLayout(cfg), "active": cfg.sub_macros * cfg.cols,
        }.items()}
        with m.If(move):
            m.d.sync += [
                stage1["valid"].eq(self.vectors.valid),
                stage1["first"].eq(first),
                stage1["last"].eq(last),
                stage1["bank"].eq(self.vectors.bank),
                stage1["release"].eq(self.vectors.release & last & last_step),
                stage1["group_log2"].eq(self.vectors.mode.group_log2),
                stage1["tag"].eq(tag),
                stage1["active"].eq(active),
            ]
        m.d.comb += [
            self.released.eq(stage1["valid"] & stage1["release"] & move),
            self.released_bank.eq(stage1["bank"]),
            self.computing.eq(self.vectors.valid & move),
        ]
        self._merge(m, platform, stage1, move)
        return m

    def _count(self, m: Module, move: Signal):
        """Count slices and steps of the vector; return the sliced window and the counts' ends."""
        cfg = self._config
        slice_index = Signal(range(max(2, cfg.slices)))
        first, last, last_step = Signal(), Signal(), Signal()
        m.d.comb += [
            first.eq(slice_index == 0),
            last.eq(slice_index == cfg.slices - 1),
            last_step.eq(self.step == self.vectors.steps - 1 if cfg.max_steps > 1 else 1),
            self.vectors.ready.eq(move & last & last_step),
        ]
        with m.If(self.vectors.valid & move):
            m.d.sync += slice_index.eq(Mux(last, 0, slice_index + 1))
            if cfg.max_steps > 1:
                with m.If(last):
                    m.d.sync += self.step.eq(Mux(last_step, 0, self.step + 1))
        self._slice_index = slice_index
        return self.vectors.window, first, last, last_step

    def _distribute(self, m: Module, platform, window, move: Signal):
        """Slice and distribute the window into the line registers; return the column mask."""
        cfg = self._config
        if cfg.slices > 1:
            slicer = place(m, "slicer", Slicer, cfg, platform)
            m.d.comb += slicer.index.eq(self._slice_index)
            m.d.comb += [a.eq(b) for a, b in zip(slicer.window, window, strict=True)]
            window = slicer.sliced
        network = place(m, "distribution", Distribution, cfg, platform)
        m.d.comb += network.mode.eq(self.vectors.mode)
        m.d.comb += [a.eq(b) for a, b in zip(network.window, window, strict=True)]
        active = (1 << cfg.sub_macros * cfg.cols) - 1
        if cfg.select == "pair":
            active = self._route_selects(m, network)
        self._lines = [[Signal(cfg.lines * cfg.act_slice, name=f"line_{p}_{row}", reset_less=True)
                        for row in range(cfg.rows)] for p in range(cfg.sub_macros)]
        with m.If(move & self.vectors.valid):
            for lines, sources in zip(self._lines, network.line, strict=True):
                m.d.sync += [line.eq(source) for line, source in
                             zip(lines, sources, strict=True)]
        return active

    def _route_selects(self, m: Module, network: Distribution):
        """Unpack the selects as :func:`cimforge.spec.layout.pack_selects` packs them."""
        cfg = self._config
        width, position = cfg.sub_macros.bit_length() - 1, 0
        for row in range(cfg.rows if width else 0):
            for p in range(cfg.sub_macros):
                for level in (network.level1, network.level2):
                    m.d.comb += level[row][p].eq(self.selects[position:position + width])
                    position += width
        return self.selects[position:]

    def _step_tag(self, m: Module, last_step: Signal):
        tag = Signal(TagLayout(self._config))
        m.d.comb += [
            tag.eq(self.vectors.tag),
            tag.first.eq(self.vectors.tag.first & (self.step == 0)),
            tag.last.eq(self.vectors.tag.last & last_step),
            tag.end.eq(self.vectors.tag.end & last_step),
        ]
        return tag

    def _merge(self, m: Module, platform, stage1, move: Signal):
        """Then column sums, in as many cycles as the adders have stages; then merged sums."""
        cfg = self._config
        merging = place(m, "merging", Merging, cfg, platform)
        for p in range(cfg.sub_macros):
            sub = place(m, f"sub_macro_{p}", SubMacro, cfg, platform)
            m.d.comb += [a.eq(b) for a, b in zip(sub.line, self._lines[p], strict=True)]
            m.d.comb += [a.eq(b) for a, b in zip(merging.sum[p], sub.sum, strict=True)]
            m.d.comb += [
                sub.active.eq(stage1["active"].word_select(p, cfg.cols)),
                sub.enable.eq(stage1["valid"] & move),
                sub.first.eq(stage1["first"]),
                sub.last.eq(stage1["last"]),
                sub.bank.eq(stage1["bank"]),
            ]
            if cfg.adder_stages == 2:
                m.d.comb += sub.advance.eq(move)
            wiring.connect(m, wiring.flipped(self.write[p]), sub.write)
        valid, group, tag = (stage1["valid"] & stage1["last"], stage1["group_log2"],
                             stage1["tag"])
        working = [self.vectors.valid, stage1["valid"]]
        for stage in range(cfg.adder_stages):
            was = valid, group, tag
            valid, group, tag = (Signal(name=f"sum_valid_{stage}"),
                                 Signal(3, name=f"sum_group_{stage}"),
                                 Signal(TagLayout(cfg), name=f"sum_tag_{stage}"))
            with m.If(move):
                m.d.sync += [valid.eq(was[0]), group.eq(was[1]), tag.eq(was[2])]
            working.append(valid)
        m.d.comb += merging.group_log2.eq(group)
        with m.If(move):
            m.d.sync += [
                self.merged.valid.eq(valid),
                self.merged.group_log2.eq(group),
                self.merged.tag.eq(tag),
            ]
            with m.If(valid):
                m.d.sync += [a.eq(b) for a, b in
                             zip(self.merged.lane, merging.merged, strict=True)]
        m.d.comb += self.idle.eq(~Cat(*working, self.merged.valid).any())
