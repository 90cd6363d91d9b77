"""What a worker runs: a pure function of plain values, so that any worker may run it, and again."""

from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError, ToolError
from cimforge.sweep.code import code_digest
from cimforge.sweep.measure import Work, measure
from cimforge.sweep.store import Outcome

__all__ = ["run_task"]


def run_task(code: str, config: dict[str, int | str], works: list[Work]) -> list[Outcome]:
    """Return what every work costs on one design, or why the design cannot run it.

    Parameters
    ----------
    code : str
        `code_digest` of who asks: results are kept under it.
    config : dict
        Every parameter of the design.
    works : list of Work

    Raises
    ------
    ToolError
        If this worker would compute with other code or tables.
    """
    if code_digest() != code:
        raise ToolError(f"a worker has another version of cimforge (code and tables "
                        f"{code_digest()}, here {code}); start workers from the same source")
    design = DcimConfig(**config)  # type: ignore[arg-type]
    try:
        return [{"figures": figures} for figures in measure(design, works)]
    except DataError:  # one of them cannot run; which, and what of the others?
        return [_alone(design, work) for work in works]


def _alone(design: DcimConfig, work: Work) -> Outcome:
    try:
        return {"figures": measure(design, [work])[0]}
    except DataError as error:
        return {"cannot": str(error)}
