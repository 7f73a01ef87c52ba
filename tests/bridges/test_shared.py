"""What both bridges share: identities, failures, streams, and their names."""

from __future__ import annotations

import asyncio
import enum
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretBytes, SecretStr

import synthon as sy
from synthon.bridges import langchain, llamaindex
from synthon.bridges.acting import effects_from
from synthon.bridges.failures import as_ours, failure
from synthon.bridges.identities import as_text, identity_of, secrets_of
from synthon.bridges.requests import at_most, object_in, sampling
from synthon.bridges.streams import pieces, read

ROOT = Path(__file__).resolve().parent.parent.parent


class Colour(enum.Enum):
    RED = 1


@dataclass
class Inner:
    size: int


class Part(BaseModel):
    model_config = {"extra": "allow"}
    value: Any
    api_key: str = "sk"
    beside: Any = Field(default=print, exclude=True)


def double(x: int) -> int:
    return sum(y * 2 for y in [x]) if x in {1, 2} else 2 * x


def triple(x: int) -> int:
    return sum(y * 3 for y in [x]) if x in {1, 2} else 3 * x


VALUES = [
    None, True, 1, 1.5, "text", b"bytes", Colour.RED, PurePath("a/b"), [1, (2,)], {3}, {"a": {"b": 1}}, Inner(1), Part,
    int, Part(value=1), double,
]  # fmt: skip


def known(value: Any, **rest: Any) -> str:
    return as_text(identity_of(Part(value=value, **rest), None, "part"))


def test_every_value_that_decides_an_answer_is_in_its_identity() -> None:
    found = [known(value) for value in VALUES]
    assert len(set(found)) == len(VALUES)
    assert found == [known(value) for value in VALUES]
    assert known(double) != known(triple)
    assert known(Inner(1)) != known(Inner(2))
    assert known(1, colour="red") != known(1)


def test_keys_are_in_no_identity() -> None:
    assert known(1) == known(1, api_key="other") == known(1, beside=object(), openai_api_key="sk")
    assert known(SecretStr("a")) == known(SecretStr("b"))
    assert known({"headers": {"x": "1"}}) == known({"Authorization": "Bearer 2"})
    assert known(1, max_tokens=5) != known(1, max_tokens=6)


def test_identities_are_the_same_in_another_process() -> None:
    code = "from tests.bridges.test_shared import VALUES, known; print([known(value) for value in VALUES])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_token_that_decides_an_answer_is_no_key() -> None:
    assert known(1, stop_token="a") != known(1, stop_token="b")  # noqa: S106 - no password
    for name in ("token", "access_token", "auth_token", "bearer_token", "api_token", "huggingfacehub_api_token"):
        assert known(1, **{name: "a"}) == known(1, **{name: "b"})


def now() -> str:
    return str(time.monotonic())


def called(x: int) -> int:
    return double(x)


def defaulted(x: int, by: int = len(VALUES)) -> int:
    return x * by


def timed(x: int) -> str:
    return f"{x} {time.__name__}"


class Calling(BaseModel):
    call: Any = called


def test_functions_whose_answers_their_code_does_not_tell_have_no_identity() -> None:
    assert known(timed) != known(double)
    assert known(Calling()) != known(Calling(call=double))  # a default is its class's
    for function in (now, called, defaulted):
        with pytest.raises(sy.UserError, match=r"its part.value is <function"):
            known(function)
    prompt = ChatPromptTemplate.from_template("{now}: {q}").partial(now=now)
    with pytest.raises(sy.UserError, match=r"cannot be told: its .*partial_variables.now"):
        langchain.runnable(prompt | FakeListChatModel(responses=["x"]))


def test_code_and_live_things_have_no_identity_unless_one_is_given() -> None:
    for value in (lambda: 1, object(), iter([])):
        with pytest.raises(sy.UserError, match=r"its part.value is <.*Pass identity='...'"):
            known(value)
    assert as_text(identity_of(object(), "mine", "part")) == "mine"
    assert as_text(identity_of(object(), lambda: "now", "part")) == "now"


class Odd(Exception):
    def __init__(self, said: str = "odd", **told: Any) -> None:
        super().__init__(said)
        self.__dict__ |= told


class ModelNotFoundError(Odd):
    """As langchain-core names it."""


class Keyed(BaseModel):
    model_config = ConfigDict(extra="allow")
    api_key: SecretStr | None = None
    other: SecretStr | SecretBytes | None = None
    _auth_token: str = PrivateAttr("")

    def bearing(self, token: str) -> Keyed:
        self._auth_token = token
        return self


class ContextOverflowError(Odd):
    """As langchain-core names it."""


class APIConnectionError(Odd):
    """As SDKs name it."""


@pytest.mark.parametrize(
    ("error", "kind", "status", "retryable"),
    [
        (Odd(status_code=429), sy.TooManyRequests, 429, True),
        (Odd(status=503), sy.ProviderError, 503, True),
        (Odd(response=SimpleNamespace(status_code=401)), sy.ProviderError, 401, False),
        (Odd(code=504), sy.ProviderTimeout, 504, True),
        (Odd(code="invalid"), sy.ProviderError, None, False),
        (TimeoutError("late"), sy.ProviderTimeout, None, True),
        (ModelNotFoundError(), sy.ProviderError, 404, False),
        (ContextOverflowError(status_code=400), sy.ContextTooLong, 400, False),
        (APIConnectionError(), sy.ProviderError, None, True),
        (ValueError("?"), sy.ProviderError, None, False),
    ],
)
def test_a_failure_says_what_can_be_told_of_it(
    error: Exception, kind: type[sy.ProviderError], status: int | None, *, retryable: bool
) -> None:
    found = failure("it", error)
    assert type(found) is kind
    assert isinstance(found, sy.ProviderError)
    assert (found.status, found.retryable) == (status, retryable)


def test_what_an_error_was_raised_from_is_looked_at_and_ours_is_found_in_it() -> None:
    def wrapped(inner: Exception) -> Exception:
        with pytest.raises(Odd) as caught, as_nothing():
            raise Odd from inner
        return caught.value

    headers = {"retry-after": "2.5", "request-id": "r"}
    found = failure("it", wrapped(Odd(status_code=429, response=SimpleNamespace(headers=headers))))
    assert isinstance(found, sy.TooManyRequests)
    assert (found.retry_after_s, found.request_id) == (2.5, "r")
    ours = sy.BudgetExceeded("spent")
    assert failure("it", wrapped(ours)) is ours
    strange = failure("it", Odd(response=SimpleNamespace(headers={"retry-after": "tomorrow"})))
    assert isinstance(strange, sy.ProviderError)
    assert strange.retry_after_s is None
    with pytest.raises(asyncio.CancelledError), as_ours("it"):
        raise asyncio.CancelledError


KEYS = {
    "field": SimpleNamespace(api_key="sk-very-secret-1"),
    "model": Keyed(api_key=SecretStr("sk-very-secret-1")),
    "any name": Keyed(other=SecretStr("sk-very-secret-1")),
    "bytes": Keyed(other=SecretBytes(b"sk-very-secret-1")),
    "private": Keyed().bearing("sk-very-secret-1"),
    "extra": Keyed.model_validate({"access_token": "sk-very-secret-1"}),
    "header": SimpleNamespace(inner=[SimpleNamespace(headers={"Authorization": "Bearer sk-very-secret-1"})]),
}


@pytest.mark.parametrize("part", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("before", [0, 390])
def test_an_error_that_quotes_a_key_of_the_part_does_not_show_it(part: object, before: int) -> None:
    with pytest.raises(sy.ProviderError) as caught, as_ours("it", part):
        raise ValueError(f"{'x' * before} bad key sk-very-secret-1 in abc")
    assert "sk-very" not in str(caught.value)
    assert before or str(caught.value).startswith("it failed: 'ValueError: bad key *** in abc'")


def test_what_holds_itself_is_looked_at_once() -> None:
    part = SimpleNamespace(credentials="abc", inner=[])
    part.inner.append(part)
    assert secrets_of(part) == []


def test_a_client_that_answers_to_any_name_is_not_asked() -> None:
    class Client:
        def __init__(self) -> None:
            self.api_key = "sk-very-secret-1"

        def __getattr__(self, name: str) -> Any:
            return lambda: name

    with pytest.raises(sy.ProviderError, match=r"bad key \*\*\*"), as_ours("it", SimpleNamespace(client=Client())):
        raise ValueError("bad key sk-very-secret-1")


def test_a_key_is_found_beside_a_store_full_of_vectors() -> None:
    store = {str(place): [float(place), 0.5] for place in range(20_000)}
    client = SimpleNamespace(settings=SimpleNamespace(api_key="sk-very-secret-1"))
    assert secrets_of(SimpleNamespace(store=SimpleNamespace(vectors=store), client=client)) == ["sk-very-secret-1"]
    assert secrets_of(SimpleNamespace(vectors=SimpleNamespace(held=store), last=[[[client]]])) == ["sk-very-secret-1"]


def as_nothing() -> Any:
    return pytest.MonkeyPatch.context()


def test_requests_become_keywords() -> None:
    request = sy.Request((sy.Message("user", "q"),), top_p=0.5, seed=3, sample=2, stop=("x",), extra='{"effort":"low"}')
    assert sampling(request) == {"top_p": 0.5, "seed": 5, "stop": ["x"], "effort": "low"}
    for extra in ("[1]", "{broken"):
        with pytest.raises(sy.UserError, match="no JSON object"):
            sampling(sy.Request((), extra=extra))
    assert object_in("") == {}
    assert object_in("[" * 100_000) is None
    picture = sy.Request((sy.Message("user", (sy.Image("a" * 1000),)),))
    assert at_most(picture, "é").output_tokens == 2
    assert at_most(picture, "").input_tokens > 1000


def test_effects_are_those_stated_else_declared_else_write() -> None:
    assert effects_from(["read"], ["exec"], "t") == {"read"}
    assert effects_from(None, ["exec"], "t") == {"exec"}
    assert effects_from(None, None, "t") == {"write"}
    assert effects_from((), None, "t") == frozenset()


class Quiet:
    """Emits nothing on the way."""

    name = identity = "quiet"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        return sy.Completion("whole", reasoning=(sy.Reasoning("hm"),))


def test_a_model_that_emits_nothing_still_streams_its_whole_answer() -> None:
    found = list(read(lambda: pieces(Quiet(), sy.Request(()))))
    assert found == [sy.Delta("whole", "hm"), sy.Completion("whole", reasoning=(sy.Reasoning("hm"),))]


@pytest.mark.parametrize("bridge", [langchain, llamaindex])
def test_a_bridge_offers_its_names_and_no_others(bridge: Any) -> None:
    for name in bridge.__all__:
        vars(bridge).pop(name, None)
        assert callable(getattr(bridge, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bridge.nothing


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core", None)
    vars(langchain).pop("model", None)
    with pytest.raises(sy.MissingExtra, match=r"langchain.model needs 'langchain_core'.*'synthon\[langchain\]'"):
        _ = langchain.model


def test_importing_the_bridges_loads_neither_library() -> None:
    code = "import sys, synthon.bridges; print({'langchain_core', 'llama_index', 'langsmith'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
