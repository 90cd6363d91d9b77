"""Areas of blocks from their own netlist and those of what is in them."""

from collections.abc import Callable
from dataclasses import dataclass

from cimforge.synth.fanout import with_trees
from cimforge.synth.netlist import Instance, Netlist
from cimforge.synth.netlist_text import netlist_verilog

__all__ = ["WEIGHT_CELLS", "Block", "Design"]

#: What the flip-flops of weight and index storage are called in a column.
WEIGHT_CELLS = r"cell_\d+_bank_\d+"


@dataclass(frozen=True)
class Block:
    """A block, with all that is in it.

    Attributes
    ----------
    module, kind : str
        Name of the module and of the component class it came from.
    count : int
        Instances in the whole design.
    own_area, area : float
        Of its own cells, and with the blocks in it; the library's unit.
    tree_area : float
        The part of ``own_area`` that is buffer trees to the blocks in it.
    storage_area : float
        The part of ``area`` that only weight and index storage needs.
    flops, storage_bits, sram_bits : int
        Flip-flops; those that store weights and indices; bits that stay memories.
    leakage : float
        Watts.
    """

    module: str
    kind: str
    count: int
    own_area: float
    area: float
    tree_area: float
    storage_area: float
    flops: int
    storage_bits: int
    sram_bits: int
    leakage: float


class Design:
    """A hierarchy of netlists, each mapped once.

    Parameters
    ----------
    top : str
    kinds : dict of str to str
        Component class of every module.
    netlist : callable
        Returns the netlist of a module.
    """

    def __init__(self, top: str, kinds: dict[str, str], netlist: Callable[[str], Netlist]):
        self.top, self._kinds = top, kinds
        self.netlists: dict[str, Netlist] = {}
        self._trees: dict[str, float] = {}
        self._collect(top, netlist)

    def _collect(self, module: str, netlist: Callable[[str], Netlist]) -> None:
        """Read a module after those in it: the order of ``netlists`` is from leaves to top."""
        plain = netlist(module)
        for child in plain.children:
            if child not in self.netlists:
                self._collect(child, netlist)
        whole = with_trees(plain)
        self.netlists[module] = whole
        self._trees[module] = whole.area - plain.area

    def counts(self) -> dict[str, int]:
        """Return the instances of every module in the whole design."""
        counts = dict.fromkeys(self.netlists, 0)
        counts[self.top] = 1
        for module in reversed(self.netlists):
            for child, count in self.netlists[module].children.items():
                counts[child] += counts[module] * count
        return counts

    def blocks(self) -> dict[str, Block]:
        """Return every block by module, from leaves to top."""
        counts, found = self.counts(), dict[str, Block]()
        for module, netlist in self.netlists.items():
            inside = [(found[child], n) for child, n in netlist.children.items()]
            stored = netlist.storage(WEIGHT_CELLS)
            found[module] = Block(
                module, self._kinds[module], counts[module], netlist.area,
                netlist.area + sum(n * b.area for b, n in inside), self._trees[module],
                self._area(netlist, stored) + sum(n * b.storage_area for b, n in inside),
                netlist.flops + sum(n * b.flops for b, n in inside),
                sum(netlist.library.cells[cell.kind].flop is not None for cell in stored)
                + sum(n * b.storage_bits for b, n in inside),
                netlist.sram_bits + sum(n * b.sram_bits for b, n in inside),
                netlist.leakage + sum(n * b.leakage for b, n in inside))
        return found

    @staticmethod
    def _area(netlist: Netlist, cells: list[Instance]) -> float:
        return sum(netlist.library.cells[cell.kind].area for cell in cells)

    def timing_verilog(self, module: str) -> str:
        """Return a block for timing: of equal blocks in one parent, only the first is there."""
        wanted, todo = dict.fromkeys([module]), [module]
        while todo:
            for child in self.netlists[todo.pop()].children:
                if child not in wanted:
                    wanted[child] = None
                    todo.append(child)
        return "".join(netlist_verilog(self.netlists[name], once=self.netlists)
                       for name in wanted)
