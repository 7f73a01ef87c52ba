"""Posts by `dspy.Refine`; run by `benchmarks.assertions` in DSPy's environment.

Reads {"url", "rows": [[passage, question], ..], "tries", "max_tokens", "temperature", "instruction"} from stdin. Writes
{"attempts": [[[post or null, tokens generated so far], ..], ..], "version": ..}: every attempt of every row, in order,
and where more was generated after the last one, a null with all tokens.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": tempfile.mkdtemp()}

import dspy

from benchmarks import posts

asked: dict[str, Any] = json.load(sys.stdin)
spent: list[int] = []


class Counting(dspy.LM):  # type: ignore[misc] # dspy is untyped here
    """A model that counts what it generates; `dspy.Refine` works on copies."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        response = super().forward(*args, **kwargs)
        spent.append(int(response.usage.completion_tokens))
        return response


class Asked(dspy.Signature):  # type: ignore[misc] # same
    """To be replaced by the instruction."""

    passage: str = dspy.InputField()
    question: str = dspy.InputField()
    post: str = dspy.OutputField()


def attempts(passage: str, question: str) -> list[tuple[str | None, int]]:
    """Every post of a row with the tokens that were generated until then, advice included."""
    spent.clear()
    found: list[tuple[str | None, int]] = []
    lm = Counting(
        "openai/model", api_base=f"{asked['url']}/v1", api_key="none", cache=False, max_tokens=asked["max_tokens"],
        temperature=asked["temperature"],
    )  # fmt: skip

    def reward(_inputs: dict[str, Any], prediction: Any) -> float:
        post = str(prediction.post)
        found.append((post, sum(spent)))
        kept = posts.kept(post, passage).values()
        return sum(kept) / len(kept)

    predict = dspy.Predict(Asked.with_instructions(asked["instruction"]))
    refined = dspy.Refine(predict, N=asked["tries"], reward_fn=reward, threshold=1.0, fail_count=asked["tries"])
    with dspy.context(lm=lm), contextlib.redirect_stdout(sys.stderr):
        try:
            refined(passage=passage, question=question)
        except Exception as error:  # noqa: BLE001 - a row whose every answer DSPy cannot read has no post
            print(f"{type(error).__name__}: {str(error)[:200]}")
    return found if found and found[-1][1] == sum(spent) else [*found, (None, sum(spent))]


answers = [attempts(*row) for row in asked["rows"]]
json.dump({"attempts": answers, "version": importlib.metadata.version("dspy")}, sys.stdout)
