"""What a daemon process may answer on its control socket: every field, with its type and limits.

The process belongs to another user and may be hostile, so an answer is checked before anything uses
it: unknown fields are dropped, and one wrong field makes the whole answer invalid. Rules: no socket
and no output here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pywsgid.wire import process_abi

Answer = dict[str, Any]  # the fields of RECORDS, or of IDENTITY
Kind = Callable[[Any], Any]  # returns a value of that kind; raises ValueError for any other

DIGITS_MAX = 20  # of a whole number: 64 bits
SECONDS_MAX = 1e11  # no time in an answer is longer or further away


def parse(answer: bytes, question: str) -> Answer | None:
    """Returns the answer to a question; None if it is not valid."""
    try:
        fields: Answer = RECORDS.get(question, IDENTITY)(json.loads(answer, parse_int=_bounded))
    except (ValueError, RecursionError):
        return None
    return fields


def _bounded(digits: str) -> int:
    """Python needs quadratic time for the digits of a number."""
    if len(digits) > DIGITS_MAX:
        raise ValueError
    return int(digits)


# -------- kinds of values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError
    return int(value)


def _user_id(value: Any) -> int:
    number = _whole(value)
    if number >= 1 << 32:
        raise ValueError
    return number


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not -SECONDS_MAX < value < SECONDS_MAX:
        raise ValueError
    number: float = value
    return number


def _list_of(kind: Kind, most: int | None = None) -> Kind:
    def check(value: Any) -> list[Any]:
        if not isinstance(value, list) or (most is not None and len(value) > most):
            raise ValueError
        return [kind(item) for item in value]

    return check


def _record_of(**fields: Kind) -> Kind:
    def check(value: Any) -> Answer:
        if not isinstance(value, dict):
            raise ValueError
        return {name: kind(value.get(name)) for name, kind in fields.items()}

    return check


def _stack(value: Any) -> list[str]:
    """What a thread is doing, and its stack."""
    texts: list[str] = _list_of(_text)(value)
    if len(texts) != 2:
        raise ValueError
    return texts


# -------- answers

IDENTITY_FIELDS: dict[str, Kind] = {"group": _text, "slot": _whole, "pid": _whole, "state": _text}
IDENTITY = _record_of(**IDENTITY_FIELDS)
HISTOGRAM = _list_of(_whole, process_abi.PAGE_BUCKETS)
RUNNING = _list_of(_record_of(thread=_whole, request=_text, elapsed=_seconds))
RECORDS = {  # question -> its answer; the answer to any other question is IDENTITY
    "status": _record_of(
        **IDENTITY_FIELDS,
        uid=_user_id,
        python=_text,
        since=_seconds,
        threads=_whole,
        at_once=_whole,
        running=RUNNING,
        queue=_whole,
        started=_whole,
        finished=_whole,
        errors=_whole,
        queue_times=HISTOGRAM,
        application_times=HISTOGRAM,
    ),
    "stacks": _record_of(**IDENTITY_FIELDS, stacks=_list_of(_stack)),
}
