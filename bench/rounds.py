"""Interleaved rounds: A B C, then B C A, then C A B, so that disturbances of the machine affect all
alike.

A sample is a dict of figures. If a contender raises an exception, its sample of that round is
{"error": text}, and the others continue.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Sample = dict[str, float]
Samples = dict[str, list[dict]]
Name = TypeVar("Name", bound=Hashable)
# Failures of a contender that do not end the bench: socket errors, wrong answers, no output from
# wrk.
FAILURES = (OSError, ValueError, RuntimeError, AssertionError)


def interleave(
    contenders: Mapping[Name, Callable[[], Sample]], rounds: int
) -> dict[Name, list[dict]]:
    """Runs every contender once in each round; each round begins with another one."""
    names = list(contenders)
    samples: dict[Name, list[dict]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            samples[name].append(_sample(contenders[name]))
    return samples


def _sample(contender: Callable[[], Sample]) -> dict:
    try:
        return contender()
    except FAILURES as error:
        return {"error": f"{type(error).__name__}: {error}"}


def values(samples: list[dict], key: str) -> list[float]:
    return [sample[key] for sample in samples if key in sample]


def median(samples: list[dict], key: str) -> float | None:
    found = values(samples, key)
    return statistics.median(found) if found else None


def spread(samples: list[dict], key: str) -> float | None:
    """(highest - lowest) / median."""
    found, middle = values(samples, key), median(samples, key)
    return (max(found) - min(found)) / middle if found and middle else None


def ratio(ours: list[dict], theirs: list[dict], key: str) -> float | None:
    """The median of the ratios of each round: anything that slowed down a whole round cancels
    out.
    """
    pairs = [(a[key], b[key]) for a, b in zip(ours, theirs) if key in a and b.get(key)]
    return statistics.median(a / b for a, b in pairs) if pairs else None


def keys(samples: list[dict]) -> list[str]:
    """The figures of a contender, in the order of their first appearance."""
    return [
        key for key in dict.fromkeys(key for sample in samples for key in sample) if key != "error"
    ]


def errors(samples: list[dict]) -> list[str]:
    """The failures: exceptions, and answers other than 200."""
    raised = [sample["error"] for sample in samples if "error" in sample]
    wrong = sum(sample.get("errors", 0) for sample in samples)
    return raised + ([f"{wrong:g} requests failed"] if wrong else [])
