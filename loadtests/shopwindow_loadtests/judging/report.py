"""The HTML page of a load test: verdict, figures, plots, comparison with the baseline. One file, no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from shopwindow_loadtests.judging.baseline import Difference
from shopwindow_loadtests.judging.plots import plots
from shopwindow_loadtests.judging.samples import Samples
from shopwindow_loadtests.judging.slo import Verdict
from shopwindow_loadtests.judging.summary import HEADER, Figures, cells
from shopwindow_loadtests.scenario.options import LoadTestOptions

_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}.missed{color:#b00}"
)


def page(
    options: LoadTestOptions,
    *,
    samples: Samples,
    summary: dict[str, Figures],
    verdict: Verdict,
    notes: Sequence[str],
    differences: Sequence[Difference],
) -> str:
    """Write the page.

    Args:
        options: The test.
        samples: All of its samples.
        summary: Their figures.
        verdict: Whether the limits were kept.
        notes: What else there is to say, a line each.
        differences: To the baseline.
    """
    loop = "open loop" if options.open_loop else "closed loop"
    levels = ", ".join(f"{level:g}" for level in options.load.levels)
    unit = "requests/s" if options.open_loop else "users"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Load test</title>",
        f"<style>{_STYLE}</style><h1>Load test</h1>",
        f"<p>{escape(options.url)}, {loop}, {options.shape} of {levels} {unit}, {options.duration_s:g} s</p>",
        f"<p class='{'' if verdict.code == 0 else 'missed'}'>{escape(verdict.code.name.replace('_', ' '))}</p>",
        *(f"<p>{escape(line)}</p>" for line in (*verdict.lines, *notes)),
        _table(["", *HEADER], ([name, *cells(row)] for name, row in summary.items())),
    ]
    errors = Counter(samples.error[~samples.answered].tolist())
    if errors:
        parts += [
            "<h2>Errors</h2>",
            _table(["error", "requests"], ([name, str(n)] for name, n in errors.most_common())),
        ]
    if differences:
        parts += ["<h2>Against the baseline</h2>", _table(_COMPARED, map(_compared, differences))]
    if len(samples):
        for title, image in plots(samples, load=options.load, open_loop=options.open_loop):
            parts.append(f"<h2>{title}</h2>{image}")
    return "\n".join([*parts, "</html>"])


_COMPARED = ["", "before", "now", "change", "95 % interval", ""]


def _compared(difference: Difference) -> list[str]:
    return [
        f"{difference.name} {difference.metric}",
        f"{difference.before:.4g}",
        f"{difference.now:.4g}",
        *difference.said,
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in header)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
