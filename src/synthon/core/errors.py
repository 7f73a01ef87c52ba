"""Every error Synthon raises, in one tree.

SynthonError
├── UserError                 the call or the set-up is wrong; fix the program
│   ├── MissingExtra          an optional dependency or the weights are not installed
│   └── Unsupported           this model cannot do what was asked
├── ProviderError             a model's endpoint or engine failed (status, retry_after_s, request_id)
│   ├── TooManyRequests
│   ├── ProviderTimeout
│   └── ContextTooLong        (tokens, limit)
├── OutputError               the text does not fit the type (text, expected)
├── CheckFailed               a step's check still fails after its retries (check, output)
├── GuardBlocked              a guard stopped a value (guard, evidence)
├── ToolFailed                a tool that a program called failed (tool)
├── LoopDetected              an agent repeats itself (period)
├── BudgetExceeded            a limit is reached (spent, limit)
├── JournalError              the journal could not read or keep a row
├── SchemaTooLarge            a constraint is too costly to compile
├── Suspended                 the run waits for a person
└── Uncertain                 an effect may or may not have happened; a person must settle it
"""

import copyreg


class SynthonError(Exception):
    """The root of the tree: what happened, where, and what to do next."""

    def __reduce__(self) -> tuple[object, ...]:
        # past `__init__`, which asks for more
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined] # pickle's own


class UserError(SynthonError):
    """The program or its set-up is wrong; nothing was sent, but for the `attempts` of models before the one refusing.

    `billable` of these may be billed; the same request never succeeds later.
    """

    attempts = billable = 0
    retryable = False


class MissingExtra(UserError):
    """An optional dependency, or a model's weights, are not on this machine."""


class Unsupported(UserError):
    """A model was asked for something outside its capabilities."""


class ProviderError(SynthonError):
    """An endpoint or engine failed to answer.

    Args:
        status: HTTP status, None where there was no answer.
        retry_after_s: the wait the endpoint asked for, in seconds.
        request_id: the endpoint's own id of the request.
        attempts: requests that were sent before giving up.
        billable: how many of them may be billed, as an answer had begun; of a `ProviderTimeout` all.
        retryable: whether the same request may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        attempts: int = 1,
        billable: int = 0,
        retryable: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.attempts = attempts
        self.billable = attempts if isinstance(self, ProviderTimeout) else billable
        self.retryable = retryable


class TooManyRequests(ProviderError):
    """The endpoint refused the request for its rate (HTTP 429)."""


class ProviderTimeout(ProviderError):
    """The endpoint did not answer in time."""


class ContextTooLong(ProviderError):
    """The request holds more tokens than the model's context.

    Args:
        tokens: tokens of the request, with what it may generate.
        limit: tokens the context holds.
    """

    def __init__(self, message: str, *, tokens: int | None = None, limit: int | None = None) -> None:
        super().__init__(message, retryable=False)
        self.tokens = tokens
        self.limit = limit


class OutputError(SynthonError):
    """A completion does not fit the step's output type.

    Args:
        text: the completion as it came.
        expected: the type it should have had, in words.
        reason: what does not fit, for the model, which has its text before it.
    """

    def __init__(self, message: str, *, text: str = "", expected: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.text = text
        self.expected = expected
        self.reason = reason


class CheckFailed(SynthonError):
    """A step's check still fails after its last retry.

    Args:
        check: the check's name.
        output: the last value it refused.
    """

    def __init__(self, message: str, *, check: str, output: object) -> None:
        super().__init__(message)
        self.check = check
        self.output = output


class GuardBlocked(SynthonError):
    """A guard stopped a value.

    Args:
        guard: the guard's name.
        evidence: the part of the value it objects to.
    """

    def __init__(self, message: str, *, guard: str, evidence: str) -> None:
        super().__init__(message)
        self.guard = guard
        self.evidence = evidence


class ToolFailed(SynthonError):
    """A tool that a program called failed, now or when the call was recorded; a model gets the same as a result.

    Args:
        tool: the tool's name.
    """

    def __init__(self, message: str, *, tool: str) -> None:
        super().__init__(message)
        self.tool = tool


class LoopDetected(SynthonError):
    """An agent makes the same calls with the same results again and again.

    Args:
        period: steps in the circle.
    """

    def __init__(self, message: str, *, period: int) -> None:
        super().__init__(message)
        self.period = period


class BudgetExceeded(SynthonError):
    """A budget's limit is reached; the call that would have passed it was not sent.

    Args:
        spent: what was used, in words, with where it went.
        limit: the limit that stopped the call.
    """

    def __init__(self, message: str, *, spent: str = "", limit: str = "") -> None:
        super().__init__(message)
        self.spent = spent
        self.limit = limit


class JournalError(SynthonError):
    """The journal could not be opened, read, or could not keep a row."""


class SchemaTooLarge(SynthonError):
    """A constraint needs more time, memory or depth than its compilation may take."""


class Suspended(SynthonError):
    """The run waits for a person and goes on in a later process."""


class Uncertain(SynthonError):
    """A tool was killed between act and record, and its receiver cannot tell; a person settles it."""
