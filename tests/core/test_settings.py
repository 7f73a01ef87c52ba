"""Knobs stand in signatures and decorators; settings travel beside programs and never mix."""

import asyncio
import json
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import synthon as sy
from synthon.retrieval.nearest import Examples, nearest


def echo(request: sy.Request) -> str:
    return f"{request.messages[0].text}|{request.temperature}"


small = sy.FunctionModel(echo, name="small")
large = sy.FunctionModel(lambda request: "large", name="large")


@sy.step(model=sy.one_of(small, large), temperature=sy.knob(0.0, 0.5))
async def say(text: str) -> str:
    """Say."""
    ...


@sy.step
async def bare(text: str) -> str:
    """Bare."""
    ...


@sy.program
async def talk(text: str, *, k: int = sy.knob(1, 2, 3)) -> list[str]:
    return [await say(text)] * k


@sy.program
async def both(text: str, *, k: int = sy.knob(1, 2, 3)) -> list[str]:
    return [*await talk(text), *[await bare(text)] * k]


async def test_without_settings_a_program_runs_at_the_first_values() -> None:
    assert await talk("q") == ["Say.|0.0"]


async def test_the_innermost_using_wins() -> None:
    @sy.program
    async def outer(text: str) -> list[str]:
        return [*await talk.using(k=2)(text), await say.using(temperature=0.25)(text)]

    assert await outer.using({"talk.k": 3, "say.temperature": 0.5})("q") == ["Say.|0.5", "Say.|0.5", "Say.|0.25"]


async def test_using_returns_a_copy_and_leaves_the_program_as_it_was() -> None:
    changed = talk.using(k=2).using({"say.instruction": "Other."})
    assert await changed("q") == ["Other.|0.0", "Other.|0.0"]
    assert await talk("q") == ["Say.|0.0"]


async def test_a_copys_checks_are_its_own() -> None:
    @sy.step(model=sy.FunctionModel(lambda _: "hello"))
    async def greet(text: str) -> str:
        """Greet."""
        ...

    @greet.check(retries=0)
    def whole(output: str, text: str) -> str | None:
        return None if text else "say to whom"

    strict = greet.using(temperature=0.1)

    @strict.check(retries=0)
    def short(output: str) -> str | None:
        return "too long"

    assert await greet("x") == "hello"
    with pytest.raises(sy.CheckFailed, match="too long"):
        await strict("x")
    with pytest.raises(sy.CheckFailed, match="say to whom"):
        await strict("")


async def test_bare_steps_get_the_programs_model() -> None:
    assert await both.using(model=large)("q") == ["Say.|0.0", "large"]
    with pytest.raises(sy.UserError, match="Step 'bare' has no model"):
        await both("q")


async def test_an_argument_given_wins_over_its_knob() -> None:
    assert len(await talk.using(k=2)("q", k=3)) == 3


@pytest.mark.parametrize(
    "use",
    [
        lambda k: k + 1,
        lambda k: 1 + k,
        lambda k: k < 2,
        bool,
        int,
        len,
        list,
        operator.neg,
        operator.index,
        lambda k: f"{k:d}",
        lambda k: k[0],
        lambda k: 1 in k,
    ],
    ids=["add", "radd", "less", "bool", "int", "len", "list", "neg", "index", "format", "item", "contains"],
)
def test_a_knob_used_as_a_value_says_where_knobs_stand(use: Callable[[object], object]) -> None:
    with pytest.raises(sy.UserError, match=r"knob\(1, 2\) was used as a value"):
        use(sy.knob(1, 2))


def test_knobs_without_values_or_sense_are_refused() -> None:
    with pytest.raises(sy.UserError, match=r"one_of\(\) has no value"):
        sy.one_of()  # type: ignore[call-overload]  # the mistake under test
    with pytest.raises(sy.UserError, match="is no range"):
        sy.between(2, 1)
    with pytest.raises(sy.UserError, match="is no range"):
        sy.between(0.0, 1.0, log=True)
    assert repr(sy.between(1, 5)) == "between(1, 5)"


class Fixed:
    async def nearest(self, inputs: Mapping[str, object], k: int) -> Sequence[sy.Demo]:
        return [sy.Demo({"text": f"near {inputs['text']} {i}"}, f"answer {i}") for i in range(k)]


async def test_nearest_demonstrations_need_a_selector_above_zero() -> None:
    @sy.step(model=small, demos=sy.knn(0, 2))
    async def plain(text: str) -> str:
        """Say."""
        ...

    @sy.step(model=small, demos=sy.knn(0, 2, selector=Fixed()))
    async def shown(text: str) -> str:
        """Say."""
        ...

    assert await plain("q") == "Say.|None"
    with pytest.raises(
        sy.UserError, match=r"knn wants 2 demonstrations but has nothing to choose them from.*with 0 first"
    ):
        await plain.using(demos=sy.knn(2))("q")
    with pytest.raises(sy.UserError, match="knn wants 2"):
        await plain.using({"plain.demos.k": 2})("q")
    messages = (await shown.using({"shown.demos.k": 2}).explain("q")).messages
    assert [m.text for m in messages] == ["Say.", "near q 0", "answer 0", "near q 1", "answer 1", "q"]
    assert await sy.knn().select({}) == ()


async def test_a_thousand_runs_at_once_under_different_settings_never_mix() -> None:
    @sy.program
    async def inner(text: str, *, k: int = sy.knob(0, 1)) -> int:
        await asyncio.sleep(0)
        return k

    @sy.program
    async def outer(text: str, *, k: int = sy.knob(0, 1)) -> tuple[int, int, str]:
        await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            below = group.create_task(inner(text))
            said = group.create_task(say(text))
        return k, below.result(), said.result()

    def changed(i: int) -> sy.Program[[str], tuple[int, int, str]]:
        return outer.using({"outer.k": i, "inner.k": -i, "say.temperature": float(i)})

    assert await asyncio.gather(*[changed(i)("q") for i in range(500)]) == [
        (i, -i, f"Say.|{float(i)}") for i in range(500)
    ]
    threads = [asyncio.to_thread(changed(i).sync, "q") for i in range(500)]
    assert await asyncio.gather(*threads) == [(i, -i, f"Say.|{float(i)}") for i in range(500)]


async def test_settings_reach_threads_and_ordinary_code() -> None:
    @sy.program
    async def outer(text: str) -> list[list[str]]:
        return [await asyncio.to_thread(talk.sync, text), talk.sync(text)]

    assert await outer.using({"talk.k": 2})("q") == [["Say.|0.0"] * 2] * 2


async def test_a_saved_program_is_json_and_loads_into_the_same_program(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    demos = [sy.Demo({"text": "a"}, "b")]
    candidate = {"talk.k": 2, "both.k": 3, "say.model": large, "say.demos": demos}
    best = both.using(candidate, {"bare.stop": ("x", "y"), "bare.extra": {"a": [1]}}, model=small)
    best.save(path)
    saved = json.loads(path.read_text())
    assert saved["settings"]["say.model"] == {"name": "large"}
    assert saved["settings"]["say.demos"] == {"demos": [{"inputs": {"text": "a"}, "output": "b"}]}
    loaded = both.using(path)
    assert loaded.settings == {**best.settings, **{k: tuple(demos) for k, v in best.settings.items() if v is demos}}
    assert await loaded("q") == await best("q")
    assert await both.using(str(path), k=1)("q") == ["large", "large", "Bare.|None"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "is no saved program"),
        ("{", "is no saved program"),
        ("[]", "is no saved program"),
        ('{"synthon": 1, "program": "other", "settings": {}}', "holds program 'other'"),
        ('{"synthon": 2, "program": "talk", "settings": {}}', "in format 2"),
        ('{"synthon": 1, "program": "talk", "settings": 3}', "is no saved program"),
        ('{"synthon": 1, "program": "talk", "settings": {}, "steps": [["say"]]}', "is no saved program"),
        ('{"synthon": 1, "program": "talk", "settings": {"talk.j": 1}}', "has no setting 'talk.j'"),
        ('{"synthon": 1, "program": "talk", "settings": {"say.model": {"name": "huge"}}}', "names 'huge'"),
    ],
)
def test_a_file_that_is_no_saved_program_of_this_one_is_refused(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "talk.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(sy.UserError, match=why):
        talk.using(path)


def test_programs_pickle_by_name_with_their_settings() -> None:
    changed = talk.using({"say.model": large}, k=2)
    assert pickle.loads(pickle.dumps(changed)).settings == changed.settings  # noqa: S301 - our own
    assert pickle.loads(pickle.dumps(talk)) is talk  # noqa: S301 - our own


def test_a_copy_with_checks_that_pickling_would_lose_is_refused() -> None:
    strict = say.using({"say.temperature": 0.5})
    assert pickle.loads(pickle.dumps(strict)).settings == strict.settings  # noqa: S301 - our own

    @strict.check
    def short(output: str) -> str | None:
        return None

    with pytest.raises(sy.UserError, match=r"'say' has checks of its own.*Give them to the step"):
        pickle.dumps(strict)


def test_a_file_made_for_other_steps_is_refused_and_all_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = tmp_path / "both.json"
    both.using({"talk.k": 2, "say.model": large}).save(path)
    shape = json.loads(path.read_text())
    assert shape["steps"] == ["say", "bare"]
    shape["steps"] = ["say", "ask", "tell"]
    shape["settings"] |= {"ask.model": {"name": "huge"}, "say.strategy": {"name": "guess"}, "both.model": {"name": "x"}}
    path.write_text(json.dumps(shape))
    with pytest.raises(sy.UserError, match="does not fit 'both'") as caught:
        both.using(path)
    assert str(caught.value) == (
        f"{str(path)!r} does not fit 'both': it is made for steps that 'both' does not have: 'ask', 'tell'; "
        "it is made without these steps of 'both': 'bare'; 'both' has no setting 'ask.model'; "
        "the setting 'ask.model' names 'huge', which is not here; the setting 'say.strategy' names 'guess', which is "
        "not here; the setting 'both.model' names 'x', which is not here. Load it into what it was saved from."
    )


def test_a_file_without_a_list_of_steps_is_held_against_its_settings_alone(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"synthon": 1, "program": "talk", "settings": {"talk.k": 2}}')
    assert talk.using(path).settings == talk.using(k=2).settings


def test_a_saved_program_loads_in_another_folder_and_process(tmp_path: Path) -> None:
    source = (
        "import synthon as sy\n"
        "m = sy.FunctionModel(lambda r: r.messages[0].text)\n"
        "@sy.step(model=m)\nasync def say(x: str) -> str:\n    'One.'\n    ...\n"
        "@sy.program\nasync def ask(x: str) -> str:\n    return await say(x)\n"
    )
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "system.py").write_text(source)
    path = str(tmp_path / "ask.json")
    save = f"import system; system.ask.using({{'say.instruction': 'Two.'}}).save({path!r})"
    load = f"import system; print(system.ask.using({path!r}).sync('q'))"
    for folder, code in (("here", save), ("there", load)):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path / folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "Two.\n"


@pytest.mark.parametrize("wrong", [lambda x: x, len, "text"], ids=["lambda", "builtin", "text"])
def test_only_async_functions_are_programs(wrong: object) -> None:
    with pytest.raises(sy.UserError, match=r"@sy\.program cannot take"):
        sy.program(wrong)  # type: ignore[call-overload]  # the mistake under test


def test_a_saved_program_holds_the_examples_it_was_given(tmp_path: Path) -> None:
    shown = [sy.Demo({"text": "a"}, "A"), sy.Demo({"text": "b"}, "B", "since")]
    chosen = sy.knn(1, 2, selector=nearest(shown, embedder="wordllama-256"))
    talk.using({"say.demos": chosen, "say.instruction": "Other."}).save(tmp_path / "talk.json")
    loaded = talk.using(tmp_path / "talk.json")
    (demos,) = [value for value in loaded.settings.values() if not isinstance(value, str)]
    assert isinstance(demos, type(chosen))
    assert demos.k == 1
    assert isinstance(demos.selector, Examples)
    assert demos.selector.examples == tuple(shown)
    assert demos.selector.name == nearest(shown).name
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text("utf-8") == (tmp_path / "talk.json").read_text("utf-8")


def test_a_saved_program_does_not_hold_an_embedder_of_ones_own(tmp_path: Path) -> None:
    class Mine:
        identity = "mine"

        async def embed(self, texts: Sequence[str]) -> object:
            return None

    selector = nearest([], embedder=Mine())  # type: ignore[arg-type] # never asked
    with pytest.raises(sy.UserError, match="Pass a packaged one's name"):
        talk.using({"say.demos": sy.knn(1, selector=selector)}).save(tmp_path / "talk.json")


@pytest.mark.parametrize("made", ["os:system", "synthon.core.saved:load", "synthon.core.program:Program", "synthon.x:"])
def test_a_saved_program_makes_only_what_says_how_it_is_saved(made: str, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(
        json.dumps({"synthon": 1, "program": "talk", "settings": {"say.demos": {"made": made, "with": {}}}}), "utf-8"
    )
    with pytest.raises(sy.UserError, match="nothing that Synthon saves"):
        talk.using(tmp_path / "talk.json")
