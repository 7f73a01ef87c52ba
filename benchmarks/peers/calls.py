"""The typed call that every peer makes, timed in its own environment; one JSON object in, one out (see peer.ask).

In: library, mode ("null", "journal" or "http"), calls, in_flight, url, folder. Out: CPU milliseconds a call of this
process alone, and the frames between the user's call and the provider's method where the mode has one.
The work: a message becomes a Ticket (one of four topics, and whether it is urgent). "null" answers in the process,
"http" asks a chat-completions endpoint on loopback for JSON that fits the schema.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

warnings.simplefilter("ignore")
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": "none", "DSPY_CACHEDIR": "/nonexistent"}
question: dict[str, Any] = json.load(sys.stdin)
ANSWER = '{"topic": "card", "urgent": true}'
INSTRUCTION = "Decide what the customer wants."
URL = str(question.get("url", ""))
NULL = question["mode"] != "http"
depth = 0

from pydantic import BaseModel  # noqa: E402 - the environment comes first


class Ticket(BaseModel):
    """What a message is about."""

    topic: Literal["card", "refund", "delivery", "other"]
    urgent: bool


def frames(folder: str) -> int:
    """Frames of a library's own code between here and the caller."""
    frame, count = sys._getframe(1), 0  # noqa: SLF001 - counting frames
    while frame is not None:
        count += folder in frame.f_code.co_filename
        frame = frame.f_back  # type: ignore[assignment]
    return count


def seen(folder: str) -> None:
    """Note the frames of the first call."""
    global depth  # noqa: PLW0603 - one number of one run
    depth = depth or frames(folder)


def synthon() -> Callable[[str], Awaitable[object]]:
    sy = importlib.import_module("synthon")

    class Null:
        name = identity = "null"
        capabilities = frozenset({"chat", "schema"})

        async def complete(self, request: Any, emit: Any = None) -> Any:
            seen("synthon/")
            return sy.Completion(text=ANSWER)

    os.environ["SYNTHON_JOURNAL"] = "off" if question["mode"] != "journal" else f"{question['folder']}/journal.db"
    model = sy.Journaled(Null()) if NULL else sy.openai("model", base_url=URL, api_key="none")

    async def classify(message: str) -> Ticket:
        """Decide what the customer wants."""
        ...

    return sy.step(model=model, temperature=0.0)(classify)  # type: ignore[no-any-return]


def dspy() -> Callable[[str], Awaitable[object]]:
    library = importlib.import_module("dspy")

    class Null(library.BaseLM):  # type: ignore[misc, name-defined]
        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            seen("dspy/")
            return answered(ANSWER)

        async def aforward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            return self.forward(prompt, messages, **kwargs)

    class Classify(library.Signature):  # type: ignore[misc, name-defined]
        """Decide what the customer wants."""

        message: str = library.InputField()
        topic: Literal["card", "refund", "delivery", "other"] = library.OutputField()
        urgent: bool = library.OutputField()

    real = {"api_base": URL, "cache": False, "temperature": 0.0, "num_retries": 0}
    lm = Null(model="null", cache=False) if NULL else library.LM("openai/model", **real)
    library.configure(lm=lm, adapter=library.JSONAdapter(), track_usage=False)
    predict = library.Predict(Classify)
    return lambda message: predict.acall(message=message)


def answered(text: str) -> Any:
    """A chat completion as the OpenAI client would return it."""
    from types import SimpleNamespace as S  # noqa: PLC0415 - used by one peer

    message = S(content=text, tool_calls=None, role="assistant", reasoning_content=None)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return S(choices=[S(message=message, finish_reason="stop", logprobs=None)], usage=usage, model="null", id="1")


def langchain() -> Callable[[str], Awaitable[object]]:
    prompts = importlib.import_module("langchain_core.prompts")
    prompt = prompts.ChatPromptTemplate.from_messages([("system", INSTRUCTION), ("user", "{message}")])
    if NULL:
        parsers = importlib.import_module("langchain_core.output_parsers")
        base = importlib.import_module("langchain_core.language_models.chat_models").BaseChatModel
        messages = importlib.import_module("langchain_core.messages")
        outputs = importlib.import_module("langchain_core.outputs")

        class Null(base):  # type: ignore[misc, valid-type]
            @property
            def _llm_type(self) -> str:
                return "null"

            def _generate(self, *args: Any, **kwargs: Any) -> Any:
                seen("langchain_core/")
                generation = outputs.ChatGeneration(message=messages.AIMessage(content=ANSWER))
                return outputs.ChatResult(generations=[generation])

            async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
                return self._generate()

        chain = prompt | Null(cache=False) | parsers.PydanticOutputParser(pydantic_object=Ticket)
    else:
        openai = importlib.import_module("langchain_openai").ChatOpenAI
        model = openai(model="model", base_url=URL, temperature=0.0, cache=False, max_retries=0)
        chain = prompt | model.with_structured_output(Ticket, method="json_schema")
    return lambda message: chain.ainvoke({"message": message})  # type: ignore[no-any-return]


def pydantic_ai() -> Callable[[str], Awaitable[object]]:
    library = importlib.import_module("pydantic_ai")
    if NULL:
        function = importlib.import_module("pydantic_ai.models.function")
        messages = importlib.import_module("pydantic_ai.messages")

        async def answer(_messages: Any, _info: Any) -> Any:
            seen("pydantic_ai/")
            return messages.ModelResponse(parts=[messages.TextPart(ANSWER)])

        model = function.FunctionModel(answer)
        output = library.PromptedOutput(Ticket)
    else:
        chat = importlib.import_module("pydantic_ai.models.openai").OpenAIChatModel
        provider = importlib.import_module("pydantic_ai.providers.openai").OpenAIProvider
        model, output = chat("model", provider=provider(base_url=URL, api_key="none")), library.NativeOutput(Ticket)
    agent = library.Agent(model, output_type=output, instructions=INSTRUCTION)
    return agent.run  # type: ignore[no-any-return]


async def timed(call: Callable[[str], Awaitable[object]], calls: int, in_flight: int) -> float:
    """CPU milliseconds a call, of the whole process."""
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await call(f"Where is my card? {number}")

    start = time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return (time.process_time() - start) / calls * 1e3


async def main() -> None:
    call = {"synthon": synthon, "dspy": dspy, "langchain": langchain, "pydantic_ai": pydantic_ai}[question["library"]]()
    calls, in_flight = int(question["calls"]), int(question["in_flight"])
    await timed(call, max(calls // 10, in_flight), in_flight)
    cpu_ms = await timed(call, calls, in_flight)
    result = str(await call("Where is my card?"))
    if "card" not in result:
        sys.exit(f"{question['library']} answered {result!r}")
    version = importlib.import_module("importlib.metadata").version
    names = {"synthon": "synthon", "dspy": "dspy", "langchain": "langchain-core", "pydantic_ai": "pydantic-ai-slim"}
    print(json.dumps({"cpu_ms": cpu_ms, "frames": depth, "version": version(names[question["library"]])}))


if __name__ == "__main__":
    asyncio.run(main())
