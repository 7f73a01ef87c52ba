"""A small program whose models are functions, so that thousands of searches cost nothing."""

from __future__ import annotations

import random

import synthon as sy
from synthon.evals import Case, Cases


def chance(*parts: object) -> float:
    """A number in 0..1 that depends on these parts alone."""
    return random.Random(":".join(map(str, parts))).random()


class Answering:
    """A model that is right with `skill`, and more often the more examples it is shown."""

    def __init__(self, name: str, skill: float) -> None:
        self.name, self.skill = name, skill
        self.asked: list[sy.Request] = []

    def __call__(self, request: sy.Request) -> sy.Completion:
        self.asked.append(request)
        question = request.messages[-1].text
        shown = (len(request.messages) - 2) / 2
        is_right = chance(self.name, question) < self.skill + 0.03 * shown
        text = "yes" if ("a" in question) == is_right else "no"
        return sy.Completion(
            text, sy.Usage(input_tokens=sum(len(turn.text) for turn in request.messages), output_tokens=1)
        )

    def model(self, usd: float) -> sy.Journaled:
        """It as a journaled model of this price for a million tokens."""
        return sy.Journaled(sy.FunctionModel(self, name=self.name), price=sy.Price(usd, usd))


class System:
    """A program of two steps over two models, with all that was asked."""

    def __init__(self) -> None:
        self.small, self.large = Answering("small", 0.6), Answering("large", 0.9)
        cheap, dear = self.small.model(1), self.large.model(30)

        @sy.step(model=cheap, temperature=0.0)
        async def tidy(text: str) -> str:
            """Repeat the text."""
            ...

        @sy.step(model=sy.one_of(cheap, dear), temperature=0.0)
        async def label(text: str, hint: str) -> str:
            """Say yes if it has an a, else no."""
            ...

        @sy.program
        async def answer(text: str, *, marks: int = sy.knob(1, 2, 3)) -> str:
            hint = await tidy(text)
            return await label(text + "!" * marks, hint)

        self.tidy, self.label, self.program = tidy, label, answer

    @property
    def calls(self) -> int:
        """All that was asked so far."""
        return len(self.small.asked) + len(self.large.asked)


def rows(n: int, start: int = 0) -> Cases[str]:
    """Texts and whether they hold an a."""
    texts = ["".join(random.Random(number).choices("abcdefgh", k=6)) for number in range(start, start + n)]
    return Cases(Case({"text": text}, "yes" if "a" in text else "no") for text in texts)


def right(case: Case[str], output: str) -> float:
    """Whether the label is the wanted one."""
    return float(case.expected == output)
