"""Outlive a process: ask people, keep conversations, go on with a run that was stopped."""

from synthon.runs.people import Question, answer, ask_person, questions
from synthon.runs.resuming import cancel, imported, resume
from synthon.runs.threads import Thread

__all__ = ["Question", "Thread", "answer", "ask_person", "cancel", "imported", "questions", "resume"]
