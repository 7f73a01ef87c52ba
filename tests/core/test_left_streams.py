"""A stream whose block is left before its program ended."""

from __future__ import annotations

import asyncio

import pytest

import synthon as sy


async def test_the_result_of_a_stream_whose_block_was_left_is_told_to_be_gone() -> None:
    @sy.program
    async def slow() -> str:
        await asyncio.sleep(60)
        return "x"

    stream = slow.stream()
    async with stream:
        waiting = asyncio.ensure_future(stream.result())
        await asyncio.sleep(0)
    for each in (waiting, stream.result()):
        with pytest.raises(sy.UserError, match=r"block was left before its program ended\. Await result\(\) in it"):
            await each
    async with slow.stream() as other:
        waiting = asyncio.ensure_future(other.result())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
