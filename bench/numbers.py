"""How figures are written."""

from __future__ import annotations


def number(value: float | None) -> str:
    """With three significant digits and thousands separators; "-" if there is none."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
