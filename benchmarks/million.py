"""A million readers: as fast at the end as at the start, in as much memory as a hundred thousand.

In a run of its own, with the sink that knows each recipient, 200 people sign up while the million go out.
"""

from __future__ import annotations

from typing import Any

from benchmarks import latency
from benchmarks.bed import Setup
from benchmarks.pipeline import best_sink, cpu_note, measure, ours
from benchmarks.report import Options, Result

_READERS = 1_000_000
# 200 of them, over the planning and most of the sending
_SIGN_UPS_A_SECOND = 2.0


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    found = [_both(database, readers) for database in options.databases]
    rows = []
    for one in found:
        large, small = one["large"], one["small"]
        rows.append((
            f"{large['database']}, {readers:,} readers", large["sink"], f"{large['per_second']:,.0f}",
            f"{large.get('steadiness', '–')}", f"{large['first_s']} s",
            f"{sum(ours(large).values()):.0f}", f"{_largest(large):.0f} MB", f"{_largest(small):.0f} MB",
            round(_most_grown(large, small), 2),
            f"{one['confirmations']['p50'] * 1000:,.0f} · {one['confirmations']['p99'] * 1000:,.0f} ms",
        ))  # fmt: skip
    header = (
        "ledger", "sink", "mails/s", "last tenth's speed by the first's", "first mail",
        "CPU µs a mail", "largest process", f"at {readers // 10:,}", "most grown", "confirmations p50 · p99",
    )  # fmt: skip
    notes = [cpu_note(one["large"]) for one in found]
    notes += [f"Peaks, {one['large']['database']}: {_grown(one['small'], one['large'])}." for one in found]
    notes += [_server(one["small"], one["large"]) for one in found if "database" in one["large"]["peaks_mb"]]
    return Result(header, rows, found, notes)


def _grown(small: dict[str, Any], large: dict[str, Any]) -> str:
    """Every process of ours, MB, at the smaller size and at the larger."""
    sizes = [{name: peaks for name, peaks in one["peaks_mb"].items() if name in _peaks(one)} for one in (small, large)]
    said = (
        f"{name} {' · '.join(f'{mb:.0f}' for mb in peaks)} → {' · '.join(f'{mb:.0f}' for mb in sizes[1][name])}"
        for name, peaks in sizes[0].items()
    )
    return "; ".join(said) + " MB"


def _server(small: dict[str, Any], large: dict[str, Any]) -> str:
    """PostgreSQL's own, which are not in the table: what looks like growth is its shared buffers filling up."""
    whole, private = (
        " → ".join(f"{max(one[kind]['database']):.0f}" for one in (small, large)) for kind in ("peaks_mb", "private_mb")
    )
    return f"PostgreSQL's largest process: {whole} MB with the shared buffers it has touched, {private} MB of its own."


def _both(database: str, readers: int) -> dict[str, Any]:
    with best_sink() as sink:
        small = measure(Setup(database, readers // 10), sink)
        large = measure(Setup(database, readers), sink)
    confirmations = latency.measure(Setup(database, readers), _SIGN_UPS_A_SECOND)
    return {"small": small, "large": large, "confirmations": confirmations}


def _largest(one: dict[str, Any]) -> float:
    return max(_peaks(one).values())


def _peaks(one: dict[str, Any]) -> dict[str, float]:
    """The largest process of each group of ours, MB; not PostgreSQL's, which grow into its shared buffers."""
    return {name: max(peaks) for name, peaks in one["peaks_mb"].items() if name not in ("sink", "database")}


def _most_grown(large: dict[str, Any], small: dict[str, Any]) -> float:
    """The group whose largest process grew most, as a factor."""
    before = _peaks(small)
    return max(peak / before[name] for name, peak in _peaks(large).items())
