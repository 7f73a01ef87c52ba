"""Compiles JSON schemas and walks instances with a peer's masks; run by `benchmarks.schemas` in its environment.

Reads one JSON object from stdin: library ("outlines_core" or "xgrammar"), tokens (base64, empty for control tokens),
eos, ends, cap_s, and schemas, each with its "walks": lists of token ids, and which of them are "timed".
Writes one JSON line with the version, then one line a schema: compile_ms (null where it failed), failure ("refused",
"time", "killed" or ""), masks_us of the timed walks, and accepted, one flag a walk.

Each schema has a process of its own, a fork of this one, which is killed after `cap_s` CPU seconds or three times that
by the clock. A mask's time is that of the library's writing it as bits and of putting -inf into an array of logits.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
import json
import os
import resource
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 12 << 30  # bytes of address space; beyond it a compile counts as killed
asked: dict[str, Any] = json.load(sys.stdin)
ENDS = frozenset(asked["ends"])
tokens = [base64.b64decode(token) for token in asked["tokens"]]
BASE = np.zeros(len(tokens), np.float32)
bits = np.zeros((1, (len(tokens) + 31) // 32), np.int32)


class Guide(NamedTuple):
    """One walk's state: write the mask into `bits`, go on by a token."""

    fill: Callable[[], object]
    advance: Callable[[int], object]


def outlines_core() -> Callable[[str], Callable[[], Guide]]:
    library = importlib.import_module("outlines_core")
    build = importlib.import_module("outlines_core.json_schema").build_regex_from_schema
    ids: dict[bytes, list[int]] = {}
    for token, text in enumerate(tokens):
        if text:
            ids.setdefault(text, []).append(token)
    vocabulary = library.Vocabulary(asked["eos"], ids)

    def compiled(schema: str) -> Callable[[], Guide]:
        index = library.Index(build(schema), vocabulary)

        def guide() -> Guide:
            made = library.Guide(index)
            place = bits.ctypes.data, bits.size, bits.itemsize
            return Guide(lambda: made.write_mask_into(*place), lambda token: made.advance(token, return_tokens=False))

        return guide

    return compiled


def xgrammar() -> Callable[[str], Callable[[], Guide]]:
    library = importlib.import_module("xgrammar")
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    info = library.TokenizerInfo(
        tokens, vocab_type=library.VocabType.RAW, vocab_size=len(tokens), stop_token_ids=sorted(ENDS)
    )
    mask = torch.from_numpy(bits)

    def compiled(schema: str) -> Callable[[], Guide]:
        compiler = library.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        grammar = compiler.compile_json_schema(schema, any_whitespace=True, strict_mode=False)

        def guide() -> Guide:
            matcher = library.GrammarMatcher(grammar)
            return Guide(lambda: matcher.fill_next_token_bitmask(mask), matcher.accept_token)

        return guide

    return compiled


def allowed(token: int) -> bool:
    return bool(bits[0, token >> 5] >> (token & 31) & 1)


def walked(guide: Guide, walk: list[int], spent_us: list[float]) -> bool:
    """Whether every token, and the end after the last, is allowed when its turn comes."""
    logits = np.empty_like(BASE)
    for token in [*walk, None]:
        logits[:] = BASE
        start = time.thread_time_ns()
        guide.fill()
        barred = np.unpackbits(np.invert(bits[0]).view(np.uint8), count=len(logits), bitorder="little")
        np.copyto(logits, -np.inf, where=barred.view(np.bool_))
        spent_us.append((time.thread_time_ns() - start) / 1e3)
        if token is None:
            return any(map(allowed, ENDS))
        if not allowed(token):
            return False
        guide.advance(token)
    return False


def answer(compiled: Callable[[str], Callable[[], Guide]], case: dict[str, Any]) -> dict[str, Any]:
    start = time.process_time()
    try:
        guide = compiled(case["schema"])
    except Exception as error:  # noqa: BLE001 - whatever a library raises is its refusal
        return {"compile_ms": None, "failure": "refused", "error": repr(error)[:200]}
    compile_ms = (time.process_time() - start) * 1e3
    masks_us: list[float] = []
    accepted = []
    for walk, is_timed in zip(case["walks"], case["timed"], strict=True):
        spent_us: list[float] = []
        accepted.append(walked(guide(), walk, spent_us))
        masks_us += spent_us if is_timed else []
    return {"compile_ms": compile_ms, "failure": "", "masks_us": masks_us, "accepted": accepted}


def forked(compiled: Callable[[str], Callable[[], Guide]], case: dict[str, Any]) -> dict[str, Any]:
    """The answer of a process of its own, or why it had to die."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_CPU, (asked["cap_s"], asked["cap_s"] + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what an aborting library says, and xgrammar's warnings
        with os.fdopen(writing, "w") as out:
            json.dump(answer(compiled, case), out)
        os._exit(0)
    os.close(writing)
    text, deadline = b"", time.monotonic() + 3 * asked["cap_s"]
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            break
        text += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and text:
        found: dict[str, Any] = json.loads(text)
        return found
    is_late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}
    return {"compile_ms": None, "failure": "time" if is_late else "killed"}


def main() -> None:
    name = {"outlines_core": "outlines-core", "xgrammar": "xgrammar"}[asked["library"]]
    compiled = {"outlines_core": outlines_core, "xgrammar": xgrammar}[asked["library"]]()
    print(json.dumps({"version": importlib.metadata.version(name)}), flush=True)
    for case in asked["schemas"]:
        print(json.dumps(forked(compiled, case)), flush=True)


if __name__ == "__main__":
    main()
