"""The proxy that holds every optimizer to the same budget, the scores they share, and the verdict over tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from benchmarks.counting_proxy import REFUSED, CountingProxy, logged
from benchmarks.optimizer_scores import answer, label, slots
from benchmarks.optimizers import ORDER, Found, arms_of, chosen, compared, groups_of, measured, overview, settled


class Upstream:
    """A server that answers each request with its number."""

    def __init__(self) -> None:
        self.asked = 0
        self.url = ""

    async def answered(self, _: web.Request) -> web.Response:
        self.asked += 1
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return web.json_response({"choices": [{"message": {"content": str(self.asked)}}], "usage": usage})


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    found = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", found.answered)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def said(client: aiohttp.ClientSession, proxy: CountingProxy, text: str, arm: str = "ours") -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    async with client.post(f"{proxy.url}/{arm}/v1/chat/completions", json=body) as response:
        found = await response.json()
        return str(found["error"]["message"] if response.status == 400 else found["choices"][0]["message"]["content"])


async def test_the_call_over_the_budget_is_refused_until_the_test_begins(tmp_path: Path) -> None:
    async with (
        serving() as upstream,
        CountingProxy(upstream.url, tmp_path, budget=2) as proxy,
        aiohttp.ClientSession() as client,
    ):
        assert [await said(client, proxy, text) for text in ("a", "a", "b")] == ["1", "2", REFUSED]
        assert await said(client, proxy, "a", "theirs") == "3"
        proxy.test("ours")
        assert await said(client, proxy, "b") == "4"
        assert (len(proxy.calls("ours", "optimize")), len(proxy.calls("ours", "test"))) == (2, 1)
        assert (proxy.refused["ours"], proxy.refused["theirs"]) == (1, 0)
        assert upstream.asked == 4


async def test_a_greedy_request_that_any_arm_made_is_answered_from_its_log_and_counts(tmp_path: Path) -> None:
    async def greedy(client: aiohttp.ClientSession, proxy: CountingProxy, arm: str, text: str) -> str:
        body = {"model": arm, "temperature": 0.0, "messages": [{"role": "user", "content": text}]}
        async with client.post(f"{proxy.url}/{arm}/v1/chat/completions", json=body) as response:
            return str((await response.json())["choices"][0]["message"]["content"])

    (tmp_path / "other").mkdir()
    async with serving() as upstream, aiohttp.ClientSession() as client:
        async with CountingProxy(upstream.url, tmp_path, budget=3) as proxy:
            assert [await greedy(client, proxy, arm, "a") for arm in ("ours", "theirs", "ours")] == ["1", "1", "1"]
            assert await greedy(client, proxy, "theirs", "b") == "2"
            assert [len(proxy.calls(arm, "optimize")) for arm in ("ours", "theirs")] == [2, 2]
            assert len({call.seconds for arm in ("ours", "theirs") for call in proxy.calls(arm, "optimize")[:1]}) == 1
        async with CountingProxy(upstream.url, tmp_path, budget=3) as proxy:
            assert await greedy(client, proxy, "third", "b") == "2"
        async with CountingProxy(upstream.url, tmp_path / "other", budget=3, known=[tmp_path]) as proxy:
            assert (await greedy(client, proxy, "ours", "a"), len(proxy.calls("ours", "optimize"))) == ("1", 1)
        assert upstream.asked == 2
        assert [len(logged(tmp_path, arm)) for arm in ("ours", "theirs", "third")] == [2, 2, 1]


async def test_an_arm_started_again_gets_the_answers_of_its_log_and_pays_for_them(tmp_path: Path) -> None:
    async with serving() as upstream, aiohttp.ClientSession() as client:
        async with CountingProxy(upstream.url, tmp_path, budget=3) as proxy:
            first = [await said(client, proxy, text) for text in ("a", "a")]
        log = tmp_path / "ours.calls.jsonl"
        log.write_bytes(log.read_bytes() + b'{"phase": "opt')  # killed while it wrote
        async with CountingProxy(upstream.url, tmp_path, budget=3) as proxy:
            again = [await said(client, proxy, text) for text in ("a", "a", "a", "a")]
            assert again == [*first, "3", REFUSED]
            assert sum(call.prompt_tokens for call in proxy.calls("ours", "optimize")) == 9
        assert upstream.asked == 3
        assert len(logged(tmp_path, "ours")) == 3


def test_answers_are_scored_alike_for_all() -> None:
    assert (label("refund", "refund"), label("refund", "Refund")) == (1.0, 0.0)
    wanted = {"mentions": [{"kind": "date", "text": "next week"}, {"kind": "rooms", "text": "2"}]}
    mentions = [SimpleNamespace(kind="date", text="Next week "), SimpleNamespace(kind="time", text="2")]
    assert slots(wanted, SimpleNamespace(mentions=mentions)) == 0.5
    assert slots(wanted, None) == 0.0
    assert answer(["the Broncos", "Denver"], "Broncos!") == 1.0
    assert answer(["Denver Broncos"], "Broncos") == pytest.approx(2 / 3)
    assert answer(["Denver"], "") == 0.0


def arm(*scores: float, tokens: int = 100) -> dict[str, object]:
    rows = [
        {"id": str(n), "score": score, "error": "", "prompt_tokens": tokens, "seconds": 1.0, "calls": 1}
        for n, score in enumerate(scores)
    ]
    return {"rows": rows, "calls": 7, "search_s": 2.0, "stopped": "", "about": {}}


def test_ours_is_compared_with_the_best_of_dspys_arms_and_losses_are_told() -> None:
    arms = {
        "dspy_zero_shot": arm(0, 0, 0, 0), "dspy_gepa": arm(1, 1, 0, 1, tokens=50), "ours_auto": arm(0, 0, 1, 0),
        "tfidf_knn": arm(1, 1, 1, 1),
    }  # fmt: skip
    found = measured("task", [arms])
    assert found.measures["task.gain"].value == -0.5
    assert found.measures["task.gain.prompt_tokens"].value == 2.0
    assert not found.measures["task.gain.prompt_tokens"].ok
    assert not found.measures["task.gain.low"].ok
    assert found.measures["task.dspy_zero_shot.gap"].value == -0.75
    assert "task.dspy_gepa.gap" not in found.measures
    assert found.measures["task.without_a_model_wins"].value == 1
    assert found.without_model_wins
    done = arms_of("banking77", [arms])
    assert (done.value, done.target, done.ok) == (4, 12, False)
    assert arms_of("slots.small", [arms]).target == 10


def test_a_task_counts_as_ahead_or_behind_only_where_it_stays_so_among_all_tasks() -> None:
    found = {
        "a": Found({}, (0.1, 0.2, 0.001), without_model_wins=False),
        "b": Found({}, (0.01, 0.3, 0.03), without_model_wins=False),
        "c": Found({}, (-0.4, -0.1, 0.002), without_model_wins=False),
        "d": Found({}, (-0.4, 0.1, 0.4), without_model_wins=False),
    }
    told = compared(found, is_whole=False)
    assert (told["tasks.ahead"].value, told["tasks.behind"].value) == (1, 1)
    assert (told["tasks.ahead"].target, told["tasks.behind"].ok) == (None, False)


def test_the_overview_has_arms_by_tasks_and_ours_against_the_best_of_dspys() -> None:
    found = {
        "a": measured("a", [{"dspy_gepa": arm(0, 1), "ours_auto": arm(1, 1)}]),
        "b": measured("b", [{"dspy_gepa": arm(0, 0), "tfidf_knn": arm(1, 0)}]),
    }
    every = {name: each for one in found.values() for name, each in one.measures.items()}
    told = overview(found, every | compared(found, is_whole=False))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    assert rows[0] == ["score", "a", "b"]
    assert [row[0] for row in rows[2:5]] == ["tfidf_knn", "ours_auto", "dspy_gepa"]
    assert rows[4][1:] == ["0.5", "0"]
    assert rows[5][1].startswith("0.5 (0 .. ")
    assert rows[2][1:] == ["", "0.5"]


def test_small_parts_are_kept_apart_from_whole_ones() -> None:
    def groups(*argv: str) -> dict[str, list[tuple[int, int]]]:
        found = groups_of(*chosen(argv))
        return {name: [(part.seed, part.rows[2]) for part in parts] for name, parts in found.items()}

    assert groups() == {"slots.small": [(7, 80)]}
    assert groups("--task", "climate", "--small", "--seed", "8") == {"climate.small": [(8, 80)]}
    assert groups("--task", "climate") == {"climate": [(7, 300)]}
    assert groups("--report", "--small")["climate.small"] == [(7, 80), (8, 80)]
    assert groups("--report")["climate"] == [(7, 300), (8, 300)]


def test_a_seed_that_is_not_done_is_left_out_of_a_task_of_which_another_is() -> None:
    whole, begun = {name: arm(1) for name in ORDER}, {"ours_auto": arm(0)}
    assert settled("climate", [whole, begun]) == [whole]
    assert settled("climate", [begun, begun]) == [begun, begun]
    assert settled("slots", [{name: arm(1) for name in ORDER[2:]}, begun]) == [{name: arm(1) for name in ORDER[2:]}]
