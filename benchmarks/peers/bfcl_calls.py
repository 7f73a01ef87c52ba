"""BFCL's own prompt, reading and AST match; run by `benchmarks.tools` in an environment of its own.

Reads {"rows": [{"id", "category", "messages", "functions", "allowed"}, ..], "texts": {id: text}} from stdin. Writes the
messages that `bfcl-eval` sends to a model without an interface for functions, by id; for each text whether it holds
calls, and whether they match; and the version.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import sys
import types
from typing import Any

# the match reads one flag of the model's; the table that holds it would import every provider's package
config = types.ModuleType("bfcl_eval.constants.model_config")
config.MODEL_CONFIG_MAPPING = {"model": types.SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined] # a stand-in
sys.modules[config.__name__] = config

from bfcl_eval.constants.enums import Language, ReturnFormat  # noqa: E402 - after the stand-in
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # noqa: E402 - same
from bfcl_eval.model_handler.utils import (  # noqa: E402 - same
    default_decode_ast_prompting,
    system_prompt_pre_processing_chat_model,
)
from bfcl_eval.utils import is_empty_output  # noqa: E402 - same


def judged(row: dict[str, Any], text: str) -> dict[str, bool]:
    """Whether a text holds calls, and whether they are an allowed answer."""
    try:
        calls = default_decode_ast_prompting(text, ReturnFormat.PYTHON)
    except Exception:  # noqa: BLE001 - the package too counts whatever its reader raises as no calls
        return {"calls": False, "right": row["category"] == "irrelevance"}
    if is_empty_output(calls):
        return {"calls": False, "right": row["category"] == "irrelevance"}
    if row["category"] == "irrelevance":
        return {"calls": True, "right": False}
    try:
        found = ast_checker(row["functions"], calls, row["allowed"], Language.PYTHON, row["category"], "model")
    except Exception:  # noqa: BLE001 - same
        return {"calls": True, "right": False}
    return {"calls": True, "right": bool(found["valid"])}


asked = json.load(sys.stdin)
prompts, verdicts = {}, {}
for row in asked["rows"]:
    messages = copy.deepcopy(row["messages"])
    prompts[row["id"]] = system_prompt_pre_processing_chat_model(messages, row["functions"], row["id"])
    if row["id"] in asked["texts"]:
        verdicts[row["id"]] = judged(row, asked["texts"][row["id"]])
json.dump({"prompts": prompts, "verdicts": verdicts, "version": importlib.metadata.version("bfcl-eval")}, sys.stdout)
