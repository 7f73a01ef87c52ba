"""LangSmith stays off in what is called from here: the journal is the trace, and nothing leaves unasked."""

from __future__ import annotations

from contextlib import AbstractContextManager

from langsmith import tracing_context


def quiet() -> AbstractContextManager[None]:
    """No tracing to LangSmith inside, whatever the environment says."""
    return tracing_context(enabled=False, parent=False)
