"""Waiting for one's turn where only so many may have something at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sweeper.service.errors import ServiceError

_PATIENCE = 120.0  # seconds to wait for others


@asynccontextmanager
async def turn(places: asyncio.Semaphore | asyncio.Lock, what: str) -> AsyncIterator[None]:
    """One of the places, once it is free. Who waits takes no thread: the threads are for those who look on.

    Args:
        places: how many there are.
        what: others' affairs that are waited for, as the beginning of a sentence.

    Raises:
        ServiceError: 503, none is free for two minutes.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            await places.acquire()
    except TimeoutError:
        raise ServiceError(503, f"{what}; try again in a minute") from None
    try:
        yield
    finally:
        places.release()
