"""A proxy before a model's server that counts, refuses what is over the budget, and logs all that passed.

    async with CountingProxy(served.url, folder, budget=200) as proxy:
        ...                                     # a client asks f"{proxy.url}/ours/v1/chat/completions"
        requests.post(f"{proxy.url}/ours/test")  # or proxy.test("ours"): from here on nothing is refused
    proxy.calls("ours", "optimize")

The first part of a path names the arm that asks. Each of an arm's calls is a line of `<arm>.calls.jsonl`: phase,
request, response, seconds, tokens. An arm that is started again gets the answers of its log: the n-th request with the
same body gets the n-th answer. It counts as a call, so the arm takes the same way as before. A greedy request that was
answered before, to whichever arm or in a log of the `known` folders, gets that answer and its seconds, and counts as a
call too: several arms end in the same program, which would answer the same test rows again. Call B+1 is refused with
status 400, so that no client tries again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Phase = Literal["optimize", "test"]
_LOG = ".calls.jsonl"
REFUSED = "the budget of calls is spent"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the model; `key` is what tells its body from others."""

    phase: Phase
    key: str
    seconds: float
    prompt_tokens: int
    generated_tokens: int
    status: int
    request: dict[str, Any]
    response: dict[str, Any]


class CountingProxy:
    """See the module.

    Attributes:
        url: where it listens, once entered.
        refused: calls refused, by arm.
    """

    def __init__(self, target: str, folder: Path, *, budget: int, known: Sequence[Path] = ()) -> None:
        self.target, self.folder, self.budget, self.known = target, folder, budget, known
        self.url = ""
        self.refused: Counter[str] = Counter()
        self._made: defaultdict[str, list[Call]] = defaultdict(list)
        self._kept: dict[str, defaultdict[str, list[Call]]] = {}
        self._phase: defaultdict[str, Phase] = defaultdict(lambda: "optimize")
        self._greedy: dict[str, Call] = {}
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        for folder in dict.fromkeys([self.folder, *self.known]):
            for path in sorted(folder.glob(f"*{_LOG}")):
                for call in logged(folder, path.name.removesuffix(_LOG)):
                    self._remember(call)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{arm}/test", self._tested)
        app.router.add_post("/{arm}/v1/chat/completions", self._asked)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        (host, port, *_) = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._runner.cleanup()

    def calls(self, arm: str, phase: Phase) -> list[Call]:
        """An arm's calls of a phase in this life of the proxy, those answered from the log among them."""
        return [each for each in self._made[arm] if each.phase == phase]

    def test(self, arm: str) -> None:
        """From here on nothing is refused."""
        self._phase[arm] = "test"

    async def _tested(self, request: web.Request) -> web.Response:
        self.test(request.match_info["arm"])
        return web.json_response({})

    async def _asked(self, request: web.Request) -> web.Response:
        arm, body = request.match_info["arm"], await request.json()
        async with self._turn:  # one after another, so that a call's number and its seconds mean something
            phase = self._phase[arm]
            if phase == "optimize" and len(self.calls(arm, phase)) >= self.budget:
                self.refused[arm] += 1
                return web.json_response({"error": {"message": REFUSED, "type": "invalid_request_error"}}, status=400)
            call = self._from_log(arm, phase, body) or await self._answered(arm, phase, body)
            self._made[arm].append(call)
        return web.json_response(call.response, status=call.status)

    def _from_log(self, arm: str, phase: Phase, body: dict[str, Any]) -> Call | None:
        if arm not in self._kept:
            self._kept[arm] = defaultdict(list)
            for call in logged(self.folder, arm):
                self._kept[arm][f"{call.phase} {call.key}"].append(call)
        kept = self._kept[arm][f"{phase} {key_of(body)}"]
        return kept.pop(0) if kept else None

    async def _answered(self, arm: str, phase: Phase, body: dict[str, Any]) -> Call:
        same = self._greedy.get(_greedy(body))
        call = await self._forwarded(phase, body) if same is None else replace(same, phase=phase, key=key_of(body))
        self._remember(call)
        with (self.folder / f"{arm}{_LOG}").open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(call)) + "\n")
        return call

    def _remember(self, call: Call) -> None:
        if call.status == HTTPStatus.OK and (key := _greedy(call.request)):
            self._greedy.setdefault(key, call)

    async def _forwarded(self, phase: Phase, body: dict[str, Any]) -> Call:
        start = time.perf_counter()
        async with self._client.post(f"{self.target}/v1/chat/completions", json=body) as response:
            said: dict[str, Any] = await response.json()
            status = response.status
        usage = said.get("usage") or {}
        return Call(
            phase, key_of(body), time.perf_counter() - start, int(usage.get("prompt_tokens", 0)),
            int(usage.get("completion_tokens", 0)), status, body, said,
        )  # fmt: skip


def _greedy(body: dict[str, Any]) -> str:
    """What tells a request at temperature 0 from others, whatever its model is called; empty for the rest."""
    return key_of({**body, "model": ""}) if body.get("temperature") == 0 else ""


def key_of(body: dict[str, Any]) -> str:
    """What tells one request's body from another's."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def logged(folder: Path, arm: str) -> list[Call]:
    """The calls in an arm's log; a torn last line is left out."""
    path = folder / f"{arm}{_LOG}"
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    return [Call(**json.loads(line)) for line in whole.splitlines()]


__all__ = ["REFUSED", "Call", "CountingProxy", "key_of", "logged"]
