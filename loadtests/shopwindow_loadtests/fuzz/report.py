"""The report of a run, for people and as JSON."""

from __future__ import annotations

from typing import Any

from shopwindow_loadtests.fuzz.page_verdicts import AGREE, FIELDS
from shopwindow_loadtests.fuzz.state import State
from shopwindow_loadtests.fuzz.watching import GROWTH, GROWTH_BYTES

INVARIANTS = {
    "the server stays up": "the same processes, and /readyz 200, all the time",
    "connection and models stay up": "no reply says that a model or the connection is gone",
    "answered in time": "every request that is owed an answer gets one",
    "errors are typed": "no UNKNOWN, INTERNAL or HTTP 5xx but 503, except those allowed below",
    "errors are short": "at most 2,000 characters",
    "errors are printable": "no control characters",
    "errors tell no secret": "no name of shared memory",
    FIELDS: "INVALID_ARGUMENT and NOT_FOUND to page parameters and `like` begin with a field of the request",
    "answers are whole": "each output is as long as its shape says",
    "answers are numbers": "no NaN, and infinity only as the score of a padded place",
    AGREE: "fields, totals, facets and groups fit the request and each other",
    "closed protocols stay closed": "shared memory, logging, tracing and models",
    "neighbours are unharmed": "the answers of other callers are what they were before",
    "memory stays flat": f"after the warm-up at most {GROWTH:.0%} and {GROWTH_BYTES // 2**20} MiB more",
}


def summary(state: State, requests: int) -> str:
    """Return the report for people: each rule with PASS or FAIL, then the findings with how to send them again."""
    lines = [
        f"{state.done:,} of {requests:,} requests (seed {state.seed}) in {state.seconds:.0f} s, "
        f"{state.done / max(state.seconds, 0.001):.0f}/s; {state.compared:,} answers to neighbours compared, "
        f"{state.refused:,} refused in an overload"
    ]
    broken = {found.invariant for found in state.findings.values()}
    for invariant, meaning in INVARIANTS.items():
        judged = invariant != "memory stays flat" or bool(state.memory)
        lines.append(f"{('FAIL' if invariant in broken else 'PASS') if judged else '----'}  {invariant}: {meaning}")
    if not state.memory:
        lines.append("      memory was not judged, because no part of the run was long enough")
    for memory in state.memory:
        grown = (f"{part} {before / 2**20:.0f} -> {after / 2**20:.0f}" for part, (before, after) in memory.items())
        lines.append(f"      MiB after the warm-up: {', '.join(grown)}")
    lines += [f"      {count:,} x allowed: {reason}" for reason, count in sorted(state.allowed.items())]
    for kind in sorted({outcome.partition(":")[0] for outcome in state.outcomes}):
        counts = {
            name.partition(": ")[2]: count for name, count in state.outcomes.items() if name.startswith(f"{kind}: ")
        }
        shown = (f"{status} {count:,}" for status, count in sorted(counts.items(), key=lambda item: -item[1]))
        lines.append(f"      {kind}: {', '.join(shown)}")
    for found in state.findings.values():
        lines += ["", f"FINDING  {found.invariant}, {found.count:,} times: {found.text}", f"         {found.what}"]
        if found.numbers:
            again = f'make fuzz FUZZ_ARGS="--seed {state.seed} --only {found.numbers[0]}"'
            lines.append(f"         requests {', '.join(map(str, found.numbers))}; again: {again}")
    return "\n".join(lines)


def as_json(state: State, requests: int) -> dict[str, Any]:
    """Return the report as JSON."""
    return {"requests": requests, "passed": state.done >= requests and not state.findings, **state.as_dict()}
