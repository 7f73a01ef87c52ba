"""From ordinary code into the async inside, from any loop and thread; nothing mixes."""

import asyncio
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

import synthon as sy
from tests.core.counting import Counting, ask
from tests.nursery import forked


@sy.step
async def answer(text: str) -> str:
    """Answer."""
    ...


@sy.program
async def support(text: str, *, k: int = sy.knob(2, 4, 8)) -> str:
    return f"{k}: {await answer(text)}"


def test_a_step_and_a_program_run_from_ordinary_code() -> None:
    model = Counting("m")
    assert answer.using(model=model).sync("q") == "m says q 0"
    assert support.using(model=model, k=8).sync("q") == "8: m says q 0"


async def test_sync_works_inside_a_running_loop_as_in_a_notebook() -> None:
    assert answer.using(model=Counting("m")).sync("q") == "m says q 0"


def test_sync_on_synthons_own_loop_is_refused() -> None:
    @sy.program
    async def waits_for_itself(text: str) -> str:
        return answer.sync(text)

    with pytest.raises(sy.UserError, match=r"on Synthon's own loop.*Write `await step\(\.\.\.\)` there"):
        waits_for_itself.sync("q")


def test_what_the_program_raised_is_raised_here() -> None:
    with pytest.raises(sy.ProviderError, match="down"):
        answer.using(model=Counting(fails=[sy.ProviderError("down")])).sync("q")


def test_a_program_that_exits_ends_its_caller_and_not_the_loop() -> None:
    @sy.program
    async def leaves() -> None:
        sys.exit(3)

    for _ in range(2):
        with pytest.raises(SystemExit, match="3"):
            leaves.sync()


def test_a_program_that_cancels_itself_says_so() -> None:
    @sy.program
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        gives_up.sync()


async def test_settings_spans_and_budget_cross_into_sync_and_threads() -> None:
    journal = sy.MemoryJournal()
    budget = sy.Budget(calls=9)
    model = sy.Journaled(Counting("m"))
    seen: list[str] = []

    @sy.program
    async def inner(*, k: int = sy.knob(1, 2)) -> str:
        run, span = sy.current_run(), sy.current_span()
        assert run is not None
        assert span is not None
        seen.append(run.id)
        return f"{k} {await answer('q')}"

    @sy.program
    async def outer() -> list[str]:
        here = inner.sync()
        there = await asyncio.to_thread(inner.sync)
        step = await asyncio.to_thread(answer.sync, "q")
        return [here, there, step]

    program = outer.using({"inner.k": 2}, model=model)
    told = await sy.run(program, journal=journal, run_id="r", budget=budget)
    assert told == ["2 m says q 0", "2 m says q 0", "m says q 0"]
    assert sorted(set(seen)) == seen == [f"{seen[0][:-1]}{n}" for n in range(2)], "each is a run of its own"
    assert budget.spent.calls == 3
    spans = [row for row in journal.records if isinstance(row, sy.Span)]
    [top] = [span for span in spans if span.run == "r"]
    assert {(span.run, span.parent) for span in spans if span.name == "inner"} == {(run, top.id) for run in seen}


def test_one_model_answers_from_two_loops_and_from_threads() -> None:
    model = Counting(waits_s=0.005)
    journal = sy.MemoryJournal()
    journaled = sy.RateLimited(sy.Retrying(sy.Journaled(model)), requests_per_minute=10_000)

    async def several(name: str) -> None:
        work = (sy.run(journaled.complete, ask(f"{name}{n % 3}"), journal=journal, policy="cache") for n in range(9))
        await asyncio.gather(*work)

    def one(name: str) -> None:
        for _ in range(2):
            asyncio.run(several(name))

    threads = [threading.Thread(target=one, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.calls == 18


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    step = answer.using(model=Counting("m"))
    assert step.sync("parent") == "m says parent 0"
    read, write = os.pipe()
    child = forked()
    if child == 0:
        try:
            os.write(write, step.sync("child").encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"m says child 0"
    os.close(read)
    os.close(write)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal sends it: a shell's background job ignores it, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_returns_after_the_provider_has_cleaned_up() -> None:
    program = """
    import asyncio, sys, threading, synthon as sy

    async def provider(request):
        print("started", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            print("cleaned up", flush=True)

    @sy.step(model=sy.Journaled(sy.FunctionModel(provider)))
    async def answer(text: str) -> str:
        '''Answer.'''
        ...

    try:
        answer.sync("q")
    except KeyboardInterrupt:
        print("interrupted", threading.current_thread() is threading.main_thread(), flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=20)[0] == "cleaned up\ninterrupted True\n"
    assert child.returncode == 0


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_is_cancelled_and_awaited() -> None:
    """The same in this process: SIGINT comes to the main thread while it waits."""
    model = Counting(waits_s=30)
    step = answer.using(model=model)

    def interrupt() -> None:
        while not model.running:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        step.sync("q")
    thread.join()
    assert (model.running, model.cancelled) == (0, 1)


# ---------------------------------------------------------------------------------------------- nothing mixes


@sy.step
async def low(text: str) -> str:
    """Low."""
    ...


@sy.program
async def within(text: str, *, k: int = sy.knob(0, 1, 2, 3)) -> str:
    await asyncio.sleep(0)
    return f"{k}/{await low(text)}"


WITHIN = [within.using(k=k) for k in range(4)]
LOWER = [low.using({"low.temperature": float(k)}) for k in range(4)]


@sy.program
async def around(text: str, *, k: int = sy.knob(0, 1, 2, 3)) -> str:
    await asyncio.sleep(0)
    first, second = await asyncio.gather(within(text), LOWER[k](text))
    async with asyncio.TaskGroup() as group:
        third = group.create_task(WITHIN[k](text))
    return f"{k} {first} {second} {third.result()}"


async def echo(request: sy.Request) -> str:
    await asyncio.sleep(0)
    return f"{request.messages[0].text[0]}{request.temperature}"


def expected(outer: int, inner: int, letter: str, warm: float) -> str:
    return f"{outer} {inner}/{letter}{warm} {letter}{float(outer)} {outer}/{letter}{warm}"


@functools.cache
def variant(outer: int, inner: int, letter: str, warm: float) -> sy.Program[[str], str]:
    settings = {"around.k": outer, "within.k": inner, "low.instruction": letter, "low.temperature": warm}
    return around.using(settings, model=sy.FunctionModel(echo))


def variants() -> list[tuple[sy.Program[[str], str], str]]:
    chosen = [(n % 4, n // 4 % 4, "ABC"[n % 3], n % 5 / 10) for n in range(1000)]
    return [(variant(*one), expected(*one)) for one in chosen]


@pytest.mark.parametrize("how", ["gather", "group", "threads"])
async def test_1000_runs_at_once_under_different_settings_never_mix(how: str) -> None:
    todo = variants()
    if how == "gather":
        told = await asyncio.gather(*(sy.run(program, "q", policy="off") for program, _ in todo))
    elif how == "group":
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sy.run(program, "q", policy="off")) for program, _ in todo]
        told = [task.result() for task in tasks]
    else:

        def some(part: list[tuple[sy.Program[[str], str], str]]) -> list[str]:
            async def work() -> list[str]:
                return list(await asyncio.gather(*(sy.run(program, "q", policy="off") for program, _ in part)))

            return asyncio.run(work())

        parts = await asyncio.gather(*(asyncio.to_thread(some, todo[at : at + 125]) for at in range(0, 1000, 125)))
        told = [one for part in parts for one in part]
    assert told == [result for _, result in todo]
