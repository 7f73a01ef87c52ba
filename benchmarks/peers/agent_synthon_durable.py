"""The agent of `agent_synthon.py` with each call on disk before its answer is used: `sy.run(durable=True)`."""

from __future__ import annotations

import asyncio

from agent_synthon import life
from agent_world import serve

if __name__ == "__main__":
    serve(lambda: asyncio.run(life(durable=True)))
