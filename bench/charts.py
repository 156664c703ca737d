"""Line charts as SVG in one page of HTML that needs nothing else, light and dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 920, 320, 70, 20, 20, 46
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #ddd; --shade: #0001; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #16181c; --faint: #3a3d44; --shade: #fff1; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; } text { fill: var(--ink); font: 12px system-ui, sans-serif; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid var(--faint); }
"""

Points = Sequence[tuple[float, float]]


def chart(
    title: str,
    lines: Mapping[str, Points],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    shaded: tuple[float, float, str] | None = None,
) -> str:
    """One chart; `x` and `y` name the axes. `shaded` marks a stretch of x, with what it is."""
    points = [point for line in lines.values() for point in line if point[1] > 0 or not log_y]
    across = _Scale([p[0] for p in points], _LEFT, _WIDTH - _RIGHT, log_x)
    up = _Scale([p[1] for p in points] + ([] if log_y else [0.0]), _HEIGHT - _BOTTOM, _TOP, log_y)
    parts = [
        f'<h2>{escape(title)}</h2><svg viewBox="0 0 {_WIDTH} {_HEIGHT + 24}" role="img" aria-label="{escape(title)}">'
    ]
    if shaded:
        left, right = across.at(shaded[0]), across.at(shaded[1])
        height = _HEIGHT - _BOTTOM - _TOP
        parts.append(
            f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{height}" fill="var(--shade)"/>'
        )
        parts.append(
            f'<text x="{(left + right) / 2:.1f}" y="{_TOP + 14}" text-anchor="middle">{escape(shaded[2])}</text>'
        )
    for value in up.ticks():
        at = up.at(value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="var(--faint)"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    for value in across.ticks():
        at = across.at(value)
        anchor = "end" if at > _WIDTH - _RIGHT - 20 else "middle"
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="{anchor}">{_short(value)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    parts.append(
        f'<text x="14" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {_HEIGHT / 2})">{escape(y)}'
        "</text>"
    )
    for place, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        drawn = " ".join(f"{across.at(a):.1f},{up.at(b):.1f}" for a, b in line if b > 0 or not log_y)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        left = _LEFT + place * 215
        parts.append(f'<rect x="{left}" y="{_HEIGHT + 4}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="{_HEIGHT + 15}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def bars(title: str, values: Mapping[str, tuple[float, float, float]]) -> str:
    """Bars that lie, each with its name and value; a line at its end spans the lowest and the highest."""
    longest = max(high for _, _, high in values.values()) or 1.0
    left, room = 230, _WIDTH - 230 - 90
    height = 34 * len(values) + 8
    parts = [
        f'<h2>{escape(title)}</h2><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">',
    ]
    for place, (name, (value, low, high)) in enumerate(values.items()):
        top, colour = 34 * place + 6, _COLOURS[place % len(_COLOURS)]
        end, first, last = (left + room * each / longest for each in (value, low, high))
        parts.append(
            f'<text x="{left - 10}" y="{top + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{top}" width="{end - left:.1f}" height="22" fill="{colour}"/>'
            f'<path d="M{first:.1f} {top + 11}H{last:.1f}" stroke="var(--ink)" stroke-width="2"/>'
            f'<text x="{max(end, last) + 8:.1f}" y="{top + 16}">{_short(value)}</text>'
        )
    return "".join([*parts, "</svg>"])


def table(rows: Sequence[Sequence[object]]) -> str:
    """A table; the first row names the columns."""
    head, *body = rows
    cells = "".join(f"<th>{escape(str(cell))}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><tr>{cells}</tr>{lines}</table>"


def page(title: str, *parts: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{''.join(parts)}</html>\n"
    )


class _Scale:
    """Where values stand between two edges."""

    def __init__(self, values: Sequence[float], first: float, last: float, log: bool) -> None:
        self._log = log
        self._low, self._high = min(values, default=0.0), max(values, default=1.0)
        if log:
            self._low, self._high = 10 ** math.floor(math.log10(self._low)), 10 ** math.ceil(math.log10(self._high))
        if self._low == self._high:
            self._high = self._low + 1.0
        self._first, self._last = first, last

    def at(self, value: float) -> float:
        low, high = self._low, self._high
        share = math.log(value / low) / math.log(high / low) if self._log else (value - low) / (high - low)
        return self._first + (self._last - self._first) * share

    def ticks(self) -> list[float]:
        if self._log:
            return [10.0**power for power in range(round(math.log10(self._low)), round(math.log10(self._high)) + 1)]
        rough = (self._high - self._low) / 6
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
        first = math.ceil(self._low / step)
        return [step * i for i in range(first, int(self._high / step) + 1)]


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.6g}"
