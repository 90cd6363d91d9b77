"""Dask: a cluster of this machine's cores, or any scheduler that runs, and what may go wrong."""

import asyncio
import logging
import os
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from multiprocessing.resource_tracker import ensure_running
from typing import Any

from cimforge.spec.errors import CimforgeError, ToolError
from cimforge.sweep.code import code_digest
from cimforge.sweep.measure import Work
from cimforge.sweep.store import Outcome
from cimforge.sweep.task import run_task

__all__ = ["Task", "connected", "outcomes"]

#: A design's parameters, and what it is to run.
Task = tuple[dict[str, int | str], list[Work]]
_CONNECT = 5.0  # seconds
_DEATHS = 10  # of workers under one task, until it is blamed for them
_START = ("start one with `dask scheduler` and `dask worker ADDRESS`, or leave out --scheduler "
          "to use this machine's cores")


@contextmanager
def connected(scheduler: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """Connect to a scheduler, or start one and its workers on this machine; yield the client.

    Ctrl-C waits until it is connected. Workers of this machine never see it: their processes
    inherit that the signal is blocked, and end with the cluster.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running one, ``tcp://host:8786``.
    workers : int, optional
        Processes if one is started; without it, as many as cores.

    Raises
    ------
    ToolError
        No Dask here, no scheduler or no worker there, or other versions than here.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ToolError("a sweep needs Dask, which is not installed: pip install "
                        "'cimforge[sweep]', or `make sweep`") from error
    if scheduler is not None:
        _answers(scheduler)
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        with _interrupts_wait(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ: _check is an error
            if scheduler is None:
                stack.enter_context(dask.config.set({
                    "distributed.scheduler.allowed-failures": _DEATHS,
                    "distributed.scheduler.http.routes": [],
                    "distributed.worker.http.routes": []}))
                # no limit of memory: nothing is spilled to files, which would be pickles
                scheduler = stack.enter_context(LocalCluster(
                    n_workers=workers or len(os.sched_getaffinity(0)), threads_per_worker=1,
                    processes=True, memory_limit=0, silence_logs=logging.CRITICAL,
                    dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False}))
            client = stack.enter_context(Client(scheduler, timeout=_CONNECT, set_as_default=False))
        _check(client)
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's loggers, each of which has a level of its own: what matters is raised."""
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)
               if name.split(".")[0] in ("distributed", "tornado", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Block SIGINT in this thread, and for good in threads and processes that begin meanwhile."""
    ensure_running()  # of multiprocessing; when it starts later it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answers(address: str) -> None:
    """Refuse an address at which no scheduler answers.

    Before a Client is made: one that fails half-way keeps trying, and holds the program up.
    """
    async def identity() -> object:
        from distributed import rpc

        async with rpc(address, timeout=_CONNECT) as remote:
            return (await remote.identity())["type"]

    try:
        found = asyncio.run(asyncio.wait_for(identity(), _CONNECT))
    except Exception as error:  # whatever answers there, in whatever protocol
        raise ToolError(f"no Dask scheduler answers at {address!r} "
                        f"({str(error) or type(error).__name__}); {_START}") from error
    if found != "Scheduler":
        raise ToolError(f"{address} is a Dask {found}, expected a scheduler; {_START}")


def _check(client: Any) -> None:
    """Refuse a cluster without workers, or one of other versions."""
    from distributed.utils import TimeoutError as Late

    try:
        client.wait_for_workers(1, timeout=_CONNECT)
    except (TimeoutError, Late) as error:
        raise ToolError(f"the Dask scheduler at {client.scheduler.address} has no workers; start "
                        f"some with `dask worker {client.scheduler.address}`") from error
    check_versions(client.get_versions())
    for worker, found in client.run(code_digest, on_error="return").items():
        if isinstance(found, BaseException):
            raise ToolError(f"worker {worker} cannot run cimforge: {found}; install the same "
                            "version there") from found
        if found != code_digest():
            raise ToolError(f"worker {worker} has another version of cimforge (code and tables "
                            f"{found}, here {code_digest()}); start workers from the same source")


def check_versions(versions: Mapping[str, Any]) -> None:
    """Refuse a scheduler or worker whose Dask or Python is not the client's.

    Parameters
    ----------
    versions : mapping
        What Dask's ``Client.get_versions`` returns.

    Raises
    ------
    ToolError
        Saying who has which.
    """
    def of(node: Mapping[str, Any]) -> dict[str, str]:
        packages = node["packages"]
        return {"distributed": packages["distributed"],
                "python": ".".join(packages["python"].split(".")[:2])}

    wanted = of(versions["client"])
    for name, node in {"the scheduler": versions["scheduler"], **versions["workers"]}.items():
        for package, found in of(node).items():
            if found != wanted[package]:
                raise ToolError(f"{name} runs {package} {found}, but this is {wanted[package]}; "
                                "Dask needs the same on both")


def outcomes(client: Any, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Sequence[Outcome]]]:
    """Run tasks and yield their outcomes as they come, in any order.

    A task whose worker dies runs again on another one.

    Parameters
    ----------
    client : distributed.Client
    tasks : mapping
        By name, for messages.

    Raises
    ------
    CimforgeError
        A task that failed, with its name, or a scheduler that went away.
    """
    from distributed import as_completed

    code = code_digest()
    names = {client.submit(run_task, code, *task, pure=False): name
             for name, task in tasks.items()}
    # of a scheduler that goes away all futures are cancelled
    for future in as_completed(list(names), loop=client.loop):
        name = names.pop(future)
        yield name, _result(name, future)
        future.release()


def _result(name: str, future: Any) -> Sequence[Outcome]:
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        return future.result()
    except CimforgeError as error:
        raise type(error)(f"{name}: {error}") from error
    except KilledWorker as error:
        raise ToolError(f"{name}: {_DEATHS} workers died while they measured this design; has "
                        "the machine enough memory?") from error
    except (CancelledError, asyncio.CancelledError, CommClosedError) as error:
        raise ToolError("the Dask scheduler went away; what was measured is kept, the same "
                        "command goes on") from error
    except (ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "deserializ" not in str(error):
            raise  # a bug, not what cannot be unpickled there
        raise ToolError(f"{name}: scheduler or worker cannot load it "
                        f"({str(error).partition('. ')[0]}); install the same version of "
                        "cimforge there") from error
