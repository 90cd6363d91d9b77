"""Cycles of many layers at once: the recurrence of :mod:`cimforge.spec.timing`, a lane a layer.

What :func:`cimforge_sw.compile.estimate.loop_cycles` does for one layer, here for all in the same
NumPy operations, and with more of what repeats left out: tiles of a block, blocks of a chunk,
chunks. That is exact for the same reason: the recurrence only adds constants and takes maxima, so
equal states, relative to the last accepted command, have equal futures, and what is older than
that command is never looked at again.
"""

from typing import Any

import numpy as np

from cimforge.spec.errors import DataError
from cimforge_sw.compile.geometry import Geometry

__all__ = ["lane_cycles"]

Ints = np.ndarray

# Rows of a state. The banks are named by their turn: A is the bank that the next tile computes
# from, B the other one; so tiles of even and odd number do the same.
(_ACCEPT, _DISPATCH, _WEIGHT_POP, _WEIGHT_END, _COMPUTE_POP, _COMPUTE_LAST, _MACRO_FREE, _OUT_FREE,
 _FULL_A, _FULL_B, _EMPTY_A, _EMPTY_B) = range(12)
_NEVER = -(1 << 60)


def _key(state: Ints) -> Ints:
    """Return a state relative to its last accepted command."""
    return np.maximum(state - state[_ACCEPT], 0)


class _Lanes:
    """State and position of every lane that still runs.

    All attributes but the configuration end in an axis of lanes, so that :meth:`keep` can drop
    those that are done.
    """

    def __init__(self, geometry: Geometry, tokens: Ints, steps: Ints, loads: bool):
        self.config, self.loading = geometry.config, loads
        lanes = len(tokens)
        self.number = np.arange(lanes)  # of the lane, in what the caller gave
        self.tokens, self.steps, self.passes = tokens, steps, geometry.passes
        self.parts, self.blocks = geometry.tiles_per_block, geometry.blocks
        self.windows, self.chunks = geometry.windows, geometry.chunks(tokens)
        self.tiles = self.parts * self.blocks
        self.resident = self.tiles <= self.config.weight_banks
        self.loads = np.where(self.resident, self.tiles, self.tiles * self.chunks) * loads
        self.turns = (self.tiles > 1) & (self.config.weight_banks == 2)
        self.beats_first, self.beats = geometry.beats
        self.busy, self.out = self.config.slices * steps, geometry.out_beats
        self.state = np.full((12, lanes), -1, dtype=np.int64)
        self.state[_MACRO_FREE] = self.state[_OUT_FREE] = 0
        zero = np.zeros(lanes, dtype=np.int64)
        self.tile, self.chunk, self.block, self.part = zero, zero.copy(), zero.copy(), zero.copy()
        self.count, self.ready, self.ready_step = zero.copy(), zero.copy(), zero.copy()
        self.before = np.stack([self.state] * 2)  # states one and two tiles ago
        self.ended = np.stack([self.state] * 2)  # at the end of the last two blocks
        # Of the last chunk of the smaller and the larger size: key at its start, state at its end.
        self.chunk_key = np.full((2, 12, lanes), -1, dtype=np.int64)
        self.chunk_end = np.zeros((2, 12, lanes), dtype=np.int64)
        self.begun = np.zeros((12, lanes), dtype=np.int64)

    def keep(self, index: Ints):
        """Drop all lanes but some."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(self, name, value[..., index])

    # -- commands, as cimforge.spec.timing.Schedule ---------------------------------------------

    def _accept(self, state: Ints) -> Ints:
        """Accept a command; return when it can be dispatched at the earliest."""
        accept = np.maximum(state[_ACCEPT] + 1, state[_DISPATCH])
        state[_ACCEPT] = accept
        return accept + 1

    def _load(self, state: Ints, bank: int, beats: Ints | int, weights: bool):
        dispatch = np.maximum(self._accept(state), state[_WEIGHT_POP])
        state[_DISPATCH] = dispatch
        pop = np.maximum(np.maximum(dispatch + 1, state[_WEIGHT_END]), state[_EMPTY_A + bank] + 1)
        state[_WEIGHT_POP] = pop
        state[_WEIGHT_END] = pop + beats
        if weights:
            state[_FULL_A + bank] = state[_WEIGHT_END]

    def _loads(self, bank: int, wanted: Ints | None, kinds: str):
        """Load selects ("s") and weights ("w") in the lanes that want it; None: in all."""
        index = None if wanted is None or wanted.all() else np.flatnonzero(wanted)
        if index is not None and not len(index):
            return
        state = self.state if index is None else self.state[:, index]
        steps = self.steps if index is None else self.steps[index]
        for kind in kinds:
            if kind == "w":
                self._load(state, bank, self.config.weight_beats, True)
            else:
                self._load(state, bank, steps * self.config.select_beats, False)
        if index is not None:
            self.state[:, index] = state

    def _acts(self, index: Ints):
        """Load a chunk's activations, a short window first and by itself.

        ``ready`` is when the first row of window 0 could be used if all windows were as long as
        the others; a short one is there before the next command is accepted, so that need not be
        exact.
        """
        state, count = self.state[:, index], self.count[index]
        first, beats = self.beats_first[index], self.beats[index]
        two = first < beats
        dispatch = np.maximum(self._accept(state), state[_COMPUTE_LAST] + 1)
        again = np.maximum(dispatch, state[_ACCEPT] + 1)  # the second command, where there is one
        state[_ACCEPT] = np.where(two, again, state[_ACCEPT])
        end = dispatch + count * first
        state[_DISPATCH] = np.where(two, np.maximum(state[_ACCEPT], end) + 1, dispatch)
        self.ready_step[index] = count * beats
        self.ready[index] = state[_DISPATCH] + beats + 1 - two * count * beats
        self.state[:, index] = state

    def _compute(self):
        """Compute a tile; its last vector waits for the macro, the output and its activations."""
        state, busy, more = self.state, self.busy, self.count - 1
        last = self.part == self.parts - 1
        dispatch = np.maximum(self._accept(state), state[_COMPUTE_POP])
        state[_DISPATCH] = dispatch
        pop = np.maximum(np.maximum(dispatch + 1, state[_COMPUTE_LAST]), state[_FULL_A] + 1)
        state[_COMPUTE_POP] = pop
        first = np.maximum(pop + 1, state[_MACRO_FREE])
        first = np.maximum(first, np.where(last, state[_OUT_FREE] - busy, _NEVER))
        interval = np.maximum(busy, self.out * last)
        done = first + interval * more
        window = self.part if self.passes.max() == 1 else self.part // self.passes
        arrive = np.maximum(interval, self.beats) * more + self.ready + window * self.ready_step
        done = np.where(self.block == 0, np.maximum(done, arrive), done)
        state[_COMPUTE_LAST] = done
        state[_MACRO_FREE] = done + busy
        release = ~self.resident | (self.chunk == self.chunks - 1)
        state[_EMPTY_A] = np.where(release, done + busy + 1, state[_EMPTY_A])
        state[_OUT_FREE] = np.where(last, done + busy + self.out, state[_OUT_FREE])

    def ends(self) -> Ints:
        """Return when ``End`` retires; the last results, sent by the last tile, drain before."""
        leaving = self.config.macro_latency + self.out + self.config.drain_latency
        drained = self.state[_MACRO_FREE] + leaving
        accept = np.maximum(self.state[_ACCEPT] + 1, self.state[_DISPATCH])
        return np.maximum(np.maximum(accept, self.state[_WEIGHT_END]), drained) + 2

    # -- the loop --------------------------------------------------------------------------------

    def step(self):
        """Do what :meth:`Loop.at` lists for one tile of every lane, then skip what repeats."""
        banks, pair = self.config.weight_banks, self.config.select == "pair"
        self.before = np.stack([self.state, self.before[0]])
        starting = np.flatnonzero((self.part == 0) & (self.block == 0))
        self._start(starting)
        wanted = self.tile + banks - 1 < self.loads
        late = pair and banks == 2
        if self.loading:
            self._loads(banks - 1, wanted, "s" if late else "sw" if pair else "w")
        if len(starting):
            self._acts(starting)
        self._compute()
        if self.loading and late:
            self._loads(1, wanted, "w")
        self._turn()
        self.tile = self.tile + 1
        self.part = self.part + 1
        self._skip_tiles()
        self._end_blocks()

    def _turn(self):
        for a, b in ((_FULL_A, _FULL_B), (_EMPTY_A, _EMPTY_B)):
            self.state[a], self.state[b] = (np.where(self.turns, self.state[b], self.state[a]),
                                            np.where(self.turns, self.state[a], self.state[b]))

    def load_first(self):
        """Load the first tile ahead of the loop, where there are two banks."""
        if self.loading and self.config.weight_banks == 2:
            self._loads(0, None, "sw" if self.config.select == "pair" else "w")

    def _size(self, index: Ints, chunk: Ints) -> Ints:
        tokens, chunks = self.tokens[index], self.chunks[index]
        return tokens * (chunk + 1) // chunks - tokens * chunk // chunks

    def _start(self, index: Ints):
        """Begin chunks; one that begins as an earlier one of its size did ends as that did."""
        if not len(index):
            return
        waiting = index[(self.chunk[index] > 0)]
        while len(waiting):
            size = self._size(waiting, self.chunk[waiting])
            kind = size - self.tokens[waiting] // self.chunks[waiting]
            state = self.state[:, waiting]
            again = (_key(state) == self.chunk_key[kind, :, waiting].T).all(axis=0)
            again &= self.chunk[waiting] < self.chunks[waiting] - 1
            waiting, kind = waiting[again], kind[again]
            self.state[:, waiting] = (self.chunk_end[kind, :, waiting].T
                                      + self.state[_ACCEPT, waiting])
            self.chunk[waiting] += 1
            self.tile[waiting] += self.tiles[waiting]
        self.count[index] = self._size(index, self.chunk[index])
        self.begun[:, index] = self.state[:, index]

    def _skip_tiles(self):
        """Skip pairs of tiles that leave the state as it was two tiles ago; never a block's last.

        Where activations still arrive, they must do so at the pace of the tiles, of which a pair
        takes whole windows then, or have been ahead all the time and be no slower. The first
        window may be shorter than the others.
        """
        times = (self.parts - 1 - self.part) // 2
        able = (times > 0) & (self.part >= np.where(self.block == 0, self.passes + 2, 2))
        if not able.any():
            return
        past = self.before[1]
        passed = self.state[_ACCEPT] - past[_ACCEPT]
        able &= (_key(self.state) == _key(past)).all(axis=0)
        window, step = self.part // self.passes, self.ready_step
        arrive = (self.ready + (window + 1) * step
                  + np.maximum(self.beats - self.busy, 0) * (self.count - 1))
        ahead = (arrive <= past[_ACCEPT]) & (passed * self.passes >= 2 * step)
        paced = (self.passes <= 2) & (passed * self.passes == 2 * step)
        times = np.where(able & ((self.block > 0) | paced | ahead), times, 0)
        self.state += times * passed
        self.part += 2 * times
        self.tile += 2 * times

    def _end_blocks(self):
        """Go on to the next block or chunk; skip blocks, but not the last of a chunk."""
        index = np.flatnonzero(self.part == self.parts)
        if not len(index):
            return
        self.part[index] = 0
        done = self.block[index] + 1
        state, last, older = (part[:, index] for part in (self.state, *self.ended))
        key = _key(state)
        left = np.maximum(self.blocks[index] - 1 - done, 0)
        for per, past in ((1, last), (2, older)):
            times = np.where((done > per) & (key == _key(past)).all(axis=0), left // per, 0)
            self.state[:, index] += times * (state[_ACCEPT] - past[_ACCEPT])
            done, left = done + times * per, left - times * per
            self.tile[index] += times * per * self.parts[index]
        self.ended[:, :, index] = np.stack([self.state[:, index], last])
        self.block[index] = done
        self._end_chunks(index[done == self.blocks[index]])

    def _end_chunks(self, index: Ints):
        kind = self.count[index] - self.tokens[index] // self.chunks[index]
        begun = self.begun[:, index]
        known = np.where(self.chunk[index] > 0, _key(begun), -1)  # the first loads differently
        self.chunk_key[kind, :, index] = known.T
        self.chunk_end[kind, :, index] = (self.state[:, index] - begun[_ACCEPT]).T
        self.block[index] = 0
        self.chunk[index] += 1


def lane_cycles(geometry: Geometry, tokens: Any, steps: Any = 1, *, loads: bool = True) -> Ints:
    """Return the cycles of many layers, each equal to those of its program.

    Parameters
    ----------
    geometry : Geometry
        L layers in their modes.
    tokens, steps : int or ndarray of int64 [L]
        T, and select steps of every tile of a layer.
    loads : bool
        False: as if the weights of every tile were in place, `resident_cycles`.

    Returns
    -------
    ndarray of int64 [L]

    Raises
    ------
    DataError
        Fewer than one token, or a layer that the activation buffer or ``max_k`` does not take.
    """
    lanes = len(geometry.outputs)
    tokens, steps = (np.broadcast_to(np.asarray(values, dtype=np.int64), lanes).copy()
                     for values in (tokens, steps))
    if not geometry.fits.all() or min(tokens.min(initial=1), steps.min(initial=1)) < 1:
        raise DataError("tokens and steps must be at least 1, and every layer must fit the tile")
    run = _Lanes(geometry, tokens, steps, loads)
    ends = np.zeros(lanes, dtype=np.int64)
    run.load_first()
    while len(run.number):
        run.step()
        done = run.chunk == run.chunks
        if done.any():
            ends[run.number[done]] = run.ends()[done]
            run.keep(np.flatnonzero(~done))
    return ends
