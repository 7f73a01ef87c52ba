"""Outlive a process: ask people, keep conversations, act once, go on with a run that was stopped."""

from synthon.runs.effects import Doubt, doubts, effect, settle
from synthon.runs.people import Question, answer, ask_person, questions
from synthon.runs.resuming import cancel, imported, resume
from synthon.runs.threads import Thread

__all__ = [
    "Doubt", "Question", "Thread", "answer", "ask_person", "cancel", "doubts", "effect", "imported", "questions",
    "resume", "settle",
]  # fmt: skip
