"""What any transport must do the same: good, illegal and malformed programs, and resets."""

from typing import Any

import numpy as np

from cimforge.spec.registers import STREAMS
from cimforge_verif.driver import BusError, ProgramError, StreamError, TileDriver
from tb.bfm.soc import Case, compare, model

__all__ = ["scenario"]

_LIMIT = 40_000


async def scenario(driver: TileDriver, seed: int, rounds: int = 6) -> list[dict[str, Any]]:
    """Run programs, and see that legal ones give the expected results.

    Returns
    -------
    list of dict
        What the driver said, ready for JSON: the same for everything that is a tile on a bus.
    """
    made, rng, told = model(driver.config), np.random.default_rng(seed), []
    await driver.open()
    for round_ in range(rounds):
        for _ in range(2):
            told.append(await _legal(driver, made.legal(rng)))
        await driver.clear()  # positions count from here
        made.clear()
        told.append(await _illegal(driver, made.illegal(rng, round_)))
        made.clear()
        told.append(await _legal(driver, made.legal(rng)))
        await driver.clear()
        made.clear()
        stream, case = STREAMS[round_ % len(STREAMS)], made.legal(rng)
        while len(case.streams[stream]) < 2:  # something has to be sent
            case = made.legal(rng)
        told.append(await _malformed(driver, case, stream))
        made.reset()
    return told


async def _legal(driver: TileDriver, case: Case) -> dict[str, Any]:
    outcome = await driver.run(case.streams, _LIMIT)
    compare(outcome.packets, case)
    return {"packets": [packet.tolist() for packet in outcome.packets],
            "counters": outcome.counters, "beats": await driver.beats()}


async def _illegal(driver: TileDriver, case: Case) -> dict[str, Any]:
    """The error and its position; nothing starts until it was cleared."""
    try:
        await driver.run(case.streams, _LIMIT)
    except ProgramError as error:
        stopped = error
    else:
        raise AssertionError("an illegal program ended well")
    assert (stopped.code, stopped.position) == (case.code, case.position)
    try:
        await driver.act("START")
    except BusError as error:
        refusal = str(error)
    else:
        raise AssertionError("a program was let in after an error")
    await driver.clear()
    packets = driver.transport.received()
    compare(packets, case)
    return {"error": str(stopped), "start": refusal, "beats": await driver.beats(),
            "packets": [packet.tolist() for packet in packets]}


async def _malformed(driver: TileDriver, case: Case, stream: str) -> dict[str, Any]:
    """A packet is a beat shorter than announced."""
    send = driver.transport.send

    def short(name: str, beats: np.ndarray) -> None:
        send(name, beats[:-1] if name == stream else beats)

    driver.transport.send = short  # type: ignore[method-assign]
    try:
        await driver.run(case.streams, _LIMIT)
    except StreamError as error:
        flags = error.flags
    else:
        raise AssertionError("a short packet was not reported")
    finally:
        driver.transport.send = send  # type: ignore[method-assign]
    await driver.soft_reset()
    return {"flags": flags, "beats": await driver.beats()}
