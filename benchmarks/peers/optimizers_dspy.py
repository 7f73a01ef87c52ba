"""One arm of DSPy: optimize, then answer the test rows; run by `benchmarks.optimizers` in its environment.

Reads from stdin {"url": of the arm at the proxy, "arm", "model": its unique name, "adapter": "chat" or "json", "task":
{"kind", "instruction", "inputs": {name: "text" or "texts"}, "output", "labels"}, "train", "validation", "test": rows
{"inputs", "expected", "accepted"}, "vectors": {text of the inputs as KNN writes them: vector}, "budget", "seed",
"max_tokens", "temperature"}. Writes {"version", "adapter", "sized": what the arm was given, "stopped": why it ended
early or "", "rows": [{"score", "error", "calls"}, ..]}.

An arm that is stopped, by the proxy's refusal or by an error of its own, leaves the best program it had evaluated on
all of its validation rows, else the program it was given.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Literal

sys.path.append(str(Path(__file__).resolve().parents[2]))
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": tempfile.mkdtemp()}

import dspy
import numpy as np
import pydantic

from benchmarks.optimizer_scores import SCORES
from benchmarks.optimizer_types import said_type

asked: dict[str, Any] = json.load(sys.stdin)
task, budget = asked["task"], int(asked["budget"])
FEW = 4  # demonstrations of an arm that boots them
ENOUGH = {"label": 1.0, "slots": 0.8, "answer": 0.8}[task["kind"]]  # for an example to be kept
TRIALS, BOOTED = 10, 5  # of MIPROv2 light with one predictor: trials, and sets of demonstrations that it boots
PROPOSED = 25  # calls that it spends on proposals, about
made, refused = 0, False


class Refused(Exception):
    """The budget is spent."""


class Counting(dspy.LM):  # type: ignore[misc] # dspy is untyped here
    """The model behind the proxy; it can enforce a schema, which DSPy cannot know of a private endpoint."""

    supports_response_schema = True
    supported_params = frozenset({"response_format", "temperature", "max_tokens", "n", "stop", "seed"})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        global made, refused  # noqa: PLW0603 - one arm a process
        if refused:
            raise Refused
        made += 1
        try:
            return super().forward(*args, **kwargs)
        except Exception as error:
            refused = "budget of calls is spent" in str(error)
            raise


def model(temperature: float, max_tokens: int) -> Counting:
    return Counting(
        f"openai/{asked['model']}", api_base=f"{asked['url']}/v1", api_key="none", cache=False, num_retries=0,
        temperature=temperature, max_tokens=max_tokens,
    )  # fmt: skip


def output_type() -> Any:
    if task["kind"] == "label":
        return Literal[tuple(task["labels"])]
    if task["kind"] == "slots":
        return said_type(task["labels"])
    return str


def signature() -> Any:
    types = {"text": str, "texts": list[str]}
    fields: dict[str, Any] = {name: (types[kind], dspy.InputField()) for name, kind in task["inputs"].items()}
    fields[task["output"]] = (output_type(), dspy.OutputField())
    return dspy.Signature(fields, task["instruction"])


def examples(rows: list[dict[str, Any]]) -> list[Any]:
    read = pydantic.TypeAdapter(output_type())
    return [
        dspy.Example(
            **row["inputs"], **{task["output"]: read.validate_python(row["expected"])}, accepted=row["accepted"]
        ).with_inputs(*task["inputs"])
        for row in rows
    ]


def score(example: Any, prediction: Any) -> float:
    return SCORES[task["kind"]](example.accepted, getattr(prediction, task["output"], None))


def metric(example: Any, prediction: Any, trace: Any = None) -> float | bool:
    found = score(example, prediction)
    return found if trace is None else found >= ENOUGH


def told(example: Any, prediction: Any, *_: Any) -> Any:
    found = score(example, prediction)
    return dspy.Prediction(score=found, feedback=f"Score {found:.2f}. Accepted: {json.dumps(example.accepted)}.")


best: tuple[float, Any] | None = None
evaluated = dspy.Evaluate.__call__


def remembering(self: Any, program: Any, *args: Any, **kwargs: Any) -> Any:
    """`dspy.Evaluate`, whose best program on all validation rows is kept for an arm that is stopped."""
    global best  # noqa: PLW0603 - one arm a process
    found = evaluated(self, program, *args, **kwargs)
    if refused:
        raise Refused
    devset = kwargs.get("devset") or self.devset
    if len(devset) >= sized.get("validation", 1) and (best is None or found.score > best[0]):
        best = found.score, program.deepcopy()
    return found


dspy.Evaluate.__call__ = remembering
train, validation, test = (examples(asked[name]) for name in ("train", "validation", "test"))
sized: dict[str, int] = {}


def halves(booted: int, evaluated: int, calls: int) -> tuple[int, int]:
    """Training and validation rows, so that a quarter of the calls boots that many sets of demonstrations even where
    no row is answered right, and the rest evaluates that many programs."""  # noqa: D205, D209 - one sentence
    tried = min(len(train), max(8, calls // (4 * booted)))
    return tried, min(len(validation), max(5, (calls - tried * booted) // evaluated))


def optimized(arm: str, student: Any) -> Any:
    """The arm's program; what it is given is sized so that its own defaults fit the budget."""
    if arm == "zero_shot":
        return student
    if arm == "labeled_few_shot":
        return dspy.LabeledFewShot(k=8).compile(student, trainset=train)
    few = {"max_bootstrapped_demos": FEW, "max_labeled_demos": FEW}
    if arm == "bootstrap_few_shot":
        return dspy.BootstrapFewShot(metric=metric, **few).compile(student, trainset=train)
    if arm == "knn_few_shot":
        vectors = asked["vectors"]
        return dspy.KNNFewShot(
            FEW, train, lambda texts: np.array([vectors[text] for text in texts]), max_bootstrapped_demos=0,
            max_labeled_demos=FEW,
        ).compile(student)  # fmt: skip
    if arm == "bootstrap_random_search":
        candidates = min(16, max(1, budget // 50))
        tried, rows = halves(candidates + 1, candidates + 3, budget)
        sized.update(candidates=candidates, train=tried, validation=rows)
        return dspy.BootstrapFewShotWithRandomSearch(
            metric=metric, num_candidate_programs=candidates, num_threads=1, max_errors=10**6, **few
        ).compile(student, trainset=train[:tried], valset=validation[:rows])
    if arm == "mipro_v2":
        tried, rows = halves(BOOTED, TRIALS + 1, budget - PROPOSED)
        sized.update(train=tried, validation=rows)
        teleprompter = dspy.MIPROv2(
            metric=metric, auto="light", prompt_model=model(1.0, 512), task_model=dspy.settings.lm, num_threads=1,
            max_errors=10**6, seed=asked["seed"], **few,
        )  # fmt: skip
        return teleprompter.compile(student, trainset=train[:tried], valset=validation[:rows])
    if arm == "gepa":
        rows = min(len(validation), max(5, budget // 10))
        sized.update(validation=rows, metric_calls=budget * 8 // 10)
        return dspy.GEPA(
            metric=told, max_metric_calls=budget * 8 // 10, reflection_lm=model(1.0, 512), num_threads=1,
            seed=asked["seed"],
        ).compile(student, trainset=train, valset=validation[:rows])  # fmt: skip
    msg = f"DSPy has no arm {arm!r}."
    raise ValueError(msg)


def answered(program: Any, example: Any) -> dict[str, Any]:
    before, error, found = made, "", 0.0
    try:
        found = score(example, program(**example.inputs()))
    except Exception as problem:  # noqa: BLE001 - a row that DSPy cannot read scores nothing
        error = f"{type(problem).__name__}: {str(problem)[:200]}"
    return {"score": found, "error": error, "calls": made - before}


def main() -> dict[str, Any]:
    adapter = dspy.ChatAdapter() if asked["adapter"] == "chat" else dspy.JSONAdapter()
    student, stopped = dspy.Predict(signature()), ""
    with dspy.context(lm=model(0.0, asked["max_tokens"]), adapter=adapter, num_threads=1):
        try:
            program = optimized(asked["arm"], student)
        except Exception as problem:  # noqa: BLE001 - an arm that aborts is reported as what it left
            stopped = f"{type(problem).__name__}: {str(problem)[:200]}"
        if stopped or refused:
            stopped = stopped or "Refused"
            program = student if best is None else best[1]
        release()
        rows = [answered(program, example) for example in test]
    version = importlib.metadata.version("dspy")
    return {"version": version, "adapter": asked["adapter"], "sized": sized, "stopped": stopped, "rows": rows}


def release() -> None:
    """Tell the proxy that the test begins."""
    global refused  # noqa: PLW0603 - one arm a process
    refused = False
    with urllib.request.urlopen(urllib.request.Request(f"{asked['url']}/test", method="POST")) as response:  # noqa: S310 - loopback
        response.read()


with contextlib.redirect_stdout(sys.stderr):
    answer = main()
json.dump(answer, sys.stdout)
