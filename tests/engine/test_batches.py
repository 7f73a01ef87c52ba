"""Requests in company: the same numbers as alone, prefixes computed once, nobody sees another's."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import synthon as sy
from synthon.core.errors import UserError
from synthon.core.values import Completion, Message, Request
from synthon.engine.binding import Piece, Streams
from synthon.models.local_model import LlamaModel
from tests.conftest import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthon.core.protocols import FloatArray

pytestmark = pytest.mark.engine

WEIGHTS = Path(MODELS) / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTIONS = [
    "Why is the sky blue?",
    "Name three rivers of Europe and say where each of them begins.",
    "Who was Ada Lovelace?",
    "Write a line about the sea. " * 12,
    "Count to five.",
    "What is a prime number? Give an example, please, and a proof that there are many.",
]
LONG = "The committee met on Monday and spoke about the budget for roads, schools and water. " * 12


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    made = LlamaModel(WEIGHTS, threads=1, context=2048)
    yield made
    made.close()


def ask(text: str, **more: Any) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 10, "temperature": 0.0} | more)


def answered(completion: Completion) -> tuple[object, ...]:
    """All of an answer that must not depend on its company: to the last bit, but for what the cache saved."""
    usage = completion.usage
    return completion.text, completion.logprobs, completion.scores, completion.finish, usage.tokens


async def test_an_answer_is_the_same_to_the_bit_alone_in_a_batch_and_after_others(model: LlamaModel) -> None:
    requests = [ask(text, temperature=1.0, logprobs=2, max_tokens=14) for text in QUESTIONS]
    requests.append(ask(QUESTIONS[0], continuations=("Because of light.", "No", "I do not know why that is")))
    model.close()
    alone = []
    for request in requests:
        alone.append(answered(await model.complete(request)))
        model.close()  # each from empty caches
    together = await asyncio.gather(*map(model.complete, requests))
    again = await asyncio.gather(*map(model.complete, reversed(requests)))
    assert [answered(done) for done in together] == alone
    assert [answered(done) for done in reversed(again)] == alone
    assert sum(done.usage.cached_tokens for done in again) > 100


async def test_samples_of_one_prompt_share_its_prefill(model: LlamaModel) -> None:
    model.close()
    requests = [ask(LONG, temperature=1.0, sample=number, max_tokens=4) for number in range(5)]
    done = await asyncio.gather(*map(model.complete, requests))
    prompt = done[0].usage.input_tokens + done[0].usage.cached_tokens
    assert prompt > 150
    assert sum(each.usage.input_tokens for each in done) <= prompt + 4 * 8
    assert len({each.text for each in done}) > 1


async def test_the_longest_prefix_any_request_left_is_taken_up(model: LlamaModel) -> None:
    model.close()
    await model.complete(ask(LONG[:400]))
    await model.complete(ask(f"{LONG[:700]} What else?"))
    longer = await model.complete(ask(f"{LONG[:700]} Who was there?"))
    shorter = await model.complete(ask(f"{LONG[:400]} Then what?"))
    new = await model.complete(ask("Quite another thing."))
    assert longer.usage.cached_tokens > 0.85 * (longer.usage.input_tokens + longer.usage.cached_tokens)
    assert shorter.usage.cached_tokens > 80
    assert new.usage.cached_tokens < 40  # the template's own beginning


async def test_what_was_copied_and_cut_gives_the_same_to_the_bit(model: LlamaModel) -> None:
    asked = ask(f"{LONG[:500]} Who was there?", logprobs=2)
    model.close()
    expected = answered(await model.complete(asked))
    model.close()
    await model.complete(ask(LONG))  # its tail is long, so that the shared part is copied into another stream
    copied = await model.complete(asked)
    assert copied.usage.cached_tokens > 80
    assert answered(copied) == expected


async def test_no_principal_takes_up_anothers_prefix(model: LlamaModel) -> None:
    model.close()
    first = await model.complete(ask(LONG, salt="anna"))
    other = await model.complete(ask(LONG, salt="bert"))
    again = await model.complete(ask(LONG, salt="anna"))
    assert (first.usage.cached_tokens, other.usage.cached_tokens) == (0, 0)
    assert again.usage.cached_tokens == first.usage.input_tokens - 8
    assert first.text == other.text == again.text


async def test_an_engine_that_need_not_be_deterministic_is_another_model(model: LlamaModel) -> None:
    loose = LlamaModel(WEIGHTS, threads=1, context=2048, deterministic=False)
    assert loose.identity != model.identity
    done = await asyncio.gather(*(loose.complete(ask(text)) for text in QUESTIONS[:3]))
    loose.close()
    assert all(each.text for each in done)


async def test_weights_that_round_otherwise_in_company_are_computed_one_by_one() -> None:
    path = Path(MODELS) / "gemma3-270m"
    found = sorted(path.glob("*.gguf"))
    if not found:
        pytest.skip("gemma3-270m is not on this machine: synthon models fetch gemma3-270m")
    turns = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
    gemma = LlamaModel(found[0], threads=1, context=1024, chat_template=turns)
    requests = [ask(text, logprobs=2, max_tokens=4) for text in QUESTIONS[:3]]
    alone = [answered(await gemma.complete(request)) for request in requests]
    together = await asyncio.gather(*map(gemma.complete, requests))
    gemma.close()
    assert [answered(done) for done in together] == alone


async def test_what_may_not_be_joined_is_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    together, compute = [0], Streams.compute

    def counted(self: Streams, pieces: Sequence[Piece]) -> FloatArray:
        together.append(len(pieces))
        return compute(self, pieces)

    monkeypatch.setattr(Streams, "compute", counted)
    monkeypatch.setattr("synthon.engine.worker.rounds_alike", lambda *_: False)
    alone = LlamaModel(WEIGHTS, threads=1, context=1024)
    done = await asyncio.gather(*(alone.complete(ask(text)) for text in QUESTIONS[:3]))
    alone.close()
    assert all(each.text for each in done)
    assert max(together) == 1


async def test_a_request_longer_than_the_streams_moves_what_is_kept(model: LlamaModel) -> None:
    model.close()
    kept = await model.complete(ask(LONG))
    long = await model.complete(ask("Say hello to all of them.", max_tokens=1100, stop=(" ",)))
    again = await model.complete(ask(LONG))
    assert long.finish == "stop"
    assert again.usage.cached_tokens == kept.usage.input_tokens - 8
    assert again.text == kept.text


async def test_more_requests_than_places_wait_their_turn() -> None:
    narrow = LlamaModel(WEIGHTS, threads=1, context=512, parallel=2)
    requests = [ask(f"Say the number {number}.", max_tokens=6) for number in range(5)]
    expected = [(await narrow.complete(request)).text for request in requests]
    assert [done.text for done in await asyncio.gather(*map(narrow.complete, requests))] == expected
    narrow.close()


async def test_little_memory_holds_fewer_at_once_and_still_answers() -> None:
    small = LlamaModel(WEIGHTS, threads=1, context=2048, memory_gb=0.02)
    done = await asyncio.gather(
        *(small.complete(ask(f"{LONG} {number}", max_tokens=900, stop=(" ",))) for number in range(2))
    )
    assert all(each.text for each in done)
    with pytest.raises(UserError, match=r"wants 4 sequences of \d+ tokens at once, .* Ask for fewer"):
        await small.complete(ask("Hi", extra='{"decoder":{"kind":"beam","width":4}}', max_tokens=1900))
    assert (await small.complete(ask("Hi"))).text
    small.close()


async def test_a_beam_finds_a_text_at_least_as_likely_as_the_greedy_one(model: LlamaModel) -> None:
    def total(completion: Completion) -> float:
        return sum(token.logprob for token in completion.logprobs)

    asked = ask("Name a color.", max_tokens=24, logprobs=1)
    greedy = await model.complete(asked)
    assert greedy.finish == "stop"
    for decoder in ('{"kind":"beam","width":4}', '{"kind":"best_k","width":4,"budget":400}'):
        found = await model.complete(
            Request(asked.messages, temperature=0.0, max_tokens=24, logprobs=1, extra=f'{{"decoder":{decoder}}}')
        )
        assert found.text
        if found.finish == "stop":
            assert total(found) >= total(greedy)
    one = await model.complete(ask("Name a color.", max_tokens=24, extra='{"decoder":{"kind":"beam","width":1}}'))
    assert one.text == greedy.text


async def test_best_k_computes_no_more_tokens_than_its_budget(model: LlamaModel) -> None:
    for budget in (1, 2, 7, 20, 50):
        extra = f'{{"decoder":{{"kind":"best_k","width":4,"budget":{budget}}}}}'
        found = await model.complete(ask("Tell me a story.", max_tokens=40, extra=extra))
        assert found.text
        assert found.usage.output_tokens <= budget


async def test_asking_for_probabilities_changes_no_text_and_each_token_has_one(model: LlamaModel) -> None:
    person = sy.schema(
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
        layout="compact",
    )
    for constraint in (
        person,
        sy.choice("a long positive review", "a bad one"),
        sy.choice("only this"),
    ):
        plain = await model.complete(ask("Anna is 34.", constraint=constraint, max_tokens=40))
        told = await model.complete(ask("Anna is 34.", constraint=constraint, max_tokens=40, logprobs=1))
        assert told.text == plain.text
        assert "".join(token.token for token in told.logprobs).removesuffix("<|im_end|>") == plain.text
        assert len(told.logprobs) == told.usage.output_tokens
        assert plain.finish == "stop"


async def test_forced_text_is_computed_at_once(model: LlamaModel) -> None:
    begins = "The committee has decided, after a long debate, that "
    done = await model.complete(ask("What now?", constraint=sy.where(startswith=begins), max_tokens=16))
    assert done.text.startswith(begins)
    assert done.usage.output_tokens == 16


async def test_a_beam_keeps_to_its_constraint(model: LlamaModel) -> None:
    for decoder in ('{"kind":"beam","width":3}', '{"kind":"best_k","width":3,"budget":60}'):
        done = await model.complete(
            ask("A phone number?", constraint=sy.regex(r"\d{3}-\d{4}"), max_tokens=16, extra=f'{{"decoder":{decoder}}}')
        )
        assert re.fullmatch(r"\d{3}-\d{4}", done.text)
        assert done.finish == "stop"
