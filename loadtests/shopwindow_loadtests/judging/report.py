"""The HTML page of a load test: verdict, limits, conditions, figures, plots, comparison. One file, no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from shopwindow_loadtests.judging.baseline import Difference
from shopwindow_loadtests.judging.conditions import Conditions
from shopwindow_loadtests.judging.plots import as_image, plots
from shopwindow_loadtests.judging.samples import Samples
from shopwindow_loadtests.judging.slo import ExitCode, Verdict
from shopwindow_loadtests.judging.summary import HEADER, Figures, cells
from shopwindow_loadtests.scenario.options import LoadTestOptions

_STYLE = (
    "body{font:15px system-ui,sans-serif;color:#222;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}td:first-child,th{white-space:nowrap}img{max-width:100%}"
    ".facts th{font-weight:normal;color:#666;vertical-align:top}.facts td{text-align:left;white-space:normal}"
    ".verdict{color:#fff;padding:.5em .8em;border-radius:.3em;font-size:1.2em;font-weight:bold}"
    ".good{background:#1a7f37}.bad{background:#b42318}.unclear{background:#9a6700}"
    "ul.limits{list-style:none;padding:0}ul.limits li{padding:.15em .6em;border-left:.3em solid;margin:.3em 0}"
    ".limits li.kept{border-color:#1a7f37}.limits li.missed{border-color:#b42318;color:#b42318}"
    ".limits li.few{border-color:#9a6700}"
)
_VERDICTS = {
    ExitCode.OK: ("good", "OK: all limits were kept"),
    ExitCode.SLO_MISSED: ("bad", "SLO MISSED: the server broke a limit"),
    ExitCode.TOO_FEW_SAMPLES: ("unclear", "TOO FEW SAMPLES: no verdict"),
    ExitCode.HARNESS_FAILURE: ("unclear", "HARNESS FAILURE: no verdict on the server"),
}


def page(
    options: LoadTestOptions,
    *,
    conditions: Conditions,
    samples: Samples,
    summary: dict[str, Figures],
    verdict: Verdict,
    notes: Sequence[str],
    differences: Sequence[Difference],
) -> str:
    """Return the page.

    Args:
        options: The test.
        conditions: When and where it ran.
        samples: All of its samples; a failed test may have none.
        summary: Their figures.
        verdict: Whether the limits were kept.
        notes: Further remarks, one line each.
        differences: The comparison with the baseline.
    """
    colour, said = _VERDICTS[verdict.code]
    if options.shape == "ramp" and verdict.code == ExitCode.OK:
        said = "OK: the limits held at the start of the ramp; see below how far"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Load test</title>",
        f"<style>{_STYLE}</style><h1>Load test</h1>",
        f"<p class='verdict {colour}'>{said}</p>",
        _limits(verdict),
        _facts(options, conditions),
        *(f"<p>{escape(line)}</p>" for line in notes),
    ]
    if summary:
        parts.append(_table(["", *HEADER], ([name, *cells(row)] for name, row in summary.items())))
    errors = Counter(samples.error[~samples.answered].tolist())
    if errors:
        parts += [
            "<h2>Errors</h2>",
            _table(["error", "requests"], ([name, str(n)] for name, n in errors.most_common())),
        ]
    if differences:
        parts += ["<h2>Against the baseline</h2>", _table(_COMPARED, map(_compared, differences))]
    if len(samples):
        for title, figure in plots(samples, load=options.load, open_loop=options.open_loop):
            parts.append(f"<h2>{title}</h2>{as_image(figure)}")
    return "\n".join([*parts, "</html>"])


def _limits(verdict: Verdict) -> str:
    """Return a line for each limit, first those that were missed."""
    kinds = {"SLO MISSED": "missed", "TOO FEW": "few", "HARNESS": "few"}
    lines = [
        (next((kind for words, kind in kinds.items() if line.startswith(words)), "missed"), line)
        for line in verdict.lines
    ]
    lines += [("kept", line) for line in verdict.kept]
    items = "".join(f"<li class='{kind}'>{escape(line)}</li>" for kind, line in lines)
    return f"<ul class='limits'>{items}</ul>" if items else ""


def _facts(options: LoadTestOptions, conditions: Conditions) -> str:
    loop = "open loop" if options.open_loop else "closed loop"
    levels = ", ".join(f"{level:g}" for level in options.load.levels)
    unit = "requests/s" if options.open_loop else "users"
    facts = {
        "Date": f"{conditions.began:%Y-%m-%d %H:%M:%S %Z}",
        "Server": options.url,
        "Index generation": "unknown" if conditions.generation is None else str(conditions.generation),
        "Load": f"{loop}, {options.shape} of {levels} {unit}, {options.duration_s:g} s",
        "Requests from": str(options.mix or options.queries),
        "Sent by": f"{conditions.machine}; {options.workers} process{'es' if options.workers > 1 else ''}",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table class='facts'>{rows}</table>"


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
