"""The system calls that confined code may not make, as a seccomp program (seccomp(2), linux/filter.h)."""

from __future__ import annotations

import errno
import json
import platform
import struct
from pathlib import Path

from synthon.core.errors import UserError

_NUMBERS = Path(__file__).with_name("_syscalls.json")  # of what is denied, by processor
_CLONE_THREAD = 0x10000
_X32 = 0x40000000  # a second set of numbers on x86_64 that would slip through
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def seccomp() -> bytes:
    """A filter that allows threads and denies processes, sockets, mounts, tracing and memory that no limit counts.

    Raises:
        UserError: the numbers of this processor's system calls are not known here.
    """
    machine, known = platform.machine(), json.loads(_NUMBERS.read_text("utf-8"))
    if machine not in known:
        msg = f"sy.bubblewrap() knows the system calls of {', '.join(known)}, not {machine!r}. Use sy.monty()."
        raise UserError(msg)
    numbers = known[machine]
    denied = list(numbers["denied"].values())
    steps = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, numbers["audit"]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, numbers["clone3"]),  # its flags lie in memory, so libc is sent back to clone
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 3, numbers["clone"]),
        (_LOAD, 0, 0, 16),  # the low half of its flags
        (_ANY_BIT, 0, len(denied) + 2, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        *((_EQUAL, len(denied) - place, 0, number) for place, number in enumerate(denied)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
