"""The alert rules name metrics and labels that `/metrics` has, and each has its section in the runbook."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import insert, update

from tests.ledger import seed_campaign
from tests.servers import REPOSITORY
from worker.audit.findings import Kind
from worker.bootstrap import System
from worker.domain.clock import FakeClock
from worker.storage.models import DeliveryRow, TallyRow

RULES: dict[str, Any] = yaml.safe_load((REPOSITORY / "config" / "prometheus-alerts.yml").read_text("utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
_DURATION = re.compile(r"\d+[smhd]$")
_SELECTOR = re.compile(r"(pressrun_[a-z_]+)(?:\{([^}]*)\})?")


@pytest.fixture
def samples(http: httpx.Client, system: System, clock: FakeClock) -> dict[str, list[dict[str, str]]]:
    """{metric: [its labels]} of a system in which everything has happened once."""
    seeded = seed_campaign(system.database, clock.now(), 3)
    with system.database.write() as connection:
        connection.execute(update(DeliveryRow).where(DeliveryRow.id == seeded.deliveries[0]).values(status="bounced"))
        for status, reason in (("deferred", "connection_failed"), ("failed", "our_fault"), ("bounced", "bad_address")):
            values = {"slice_id": seeded.slice_id, "status": status, "reason": reason, "n": 1}
            connection.execute(insert(TallyRow).values(values))
    system.meters.observe("send_seconds", {"lane": "bulk"}, [0.1])
    for kind in ("expired_leases", "due_retries"):
        system.meters.inc("sweep_findings", {"kind": kind})
    system.meters.flush()
    system.breakers.trip("mx:mx.example", None, "421")
    system.breakers.sync()
    found: dict[str, list[dict[str, str]]] = {}
    for line in http.get("/metrics").text.splitlines():
        match = re.match(r"(\w+)(?:\{(.*)\})? \S+$", line)
        if match and not line.startswith("#"):
            found.setdefault(match[1], []).append(dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")))
    return found


def test_every_metric_and_label_that_a_rule_names_exists(samples: dict[str, list[dict[str, str]]]) -> None:
    for alert in ALERTS:
        named = _SELECTOR.findall(alert["expr"])
        assert named, alert
        for metric, selector in named:
            assert metric in samples, f"{alert['alert']}: there is no metric {metric}"
            for label, how, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selector):
                values = {one.get(label) for one in samples[metric]}
                wanted = set(value.split("|")) if how == "=~" else {value}
                assert wanted <= values, f"{alert['alert']}: {metric} has no {label} {wanted - values}"
        for label in re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]):
            assert all(label in one for one in samples[named[0][0]]), f"{alert['alert']}: no label {label}"


def test_rules_have_the_shape_that_prometheus_reads() -> None:
    assert set(RULES) == {"groups"}
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    for alert in ALERTS:
        assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
        assert _DURATION.match(alert.get("for", "1m"))
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "runbook"}
        # brackets and quotes are closed, and nothing is left of a thought
        expr = alert["expr"]
        assert all(expr.count(a) == expr.count(b) for a, b in ("()", "[]", "{}")), alert
        assert expr.count('"') % 2 == 0
        assert re.search(r"[<>=]=? ?[\d.]+", expr), f"{alert['alert']} compares with nothing"


def test_every_alert_has_its_section_in_the_runbook() -> None:
    runbook = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    sections = dict(re.findall(r"(?ms)^### (\w+)\n(.*?)(?=^##|\Z)", runbook))
    for alert in ALERTS:
        name = alert["alert"]
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert name in sections, f"docs/operations.md has no section {name}"
        for part in ("You see", "It means", "Type"):
            assert f"**{part}**" in sections[name], f"{name}: the section does not say: {part}"
        assert "`pressrun " in sections[name], f"{name}: nothing to type"
    gone = {name for name in sections if name.startswith("Pressrun")} - {alert["alert"] for alert in ALERTS}
    assert gone == set(), "sections of alerts that are no more"


@pytest.mark.parametrize(
    "failure",
    ["A full disk", "Redis has no memory", "A table is locked, or SQLite is held", "The clock was set",
     "A host is gone", "A deploy that stopped half way"],
)  # fmt: skip
def test_every_failure_has_its_section_in_the_runbook(failure: str) -> None:
    """What to see there: in Flower, and in status, metrics, audit or a log."""
    runbook = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    (section,) = re.findall(rf"(?ms)^### {failure}\n(.*?)(?=^##|\Z)", runbook)
    sees, _, rest = section.partition("**It means**")
    means, _, types = rest.partition("**Type**")
    assert sees.startswith("\n**You see** ")
    assert "Flower" in sees
    assert len(means) > 40
    assert "`pressrun " in types


def test_every_kind_of_finding_is_explained_in_the_runbook() -> None:
    runbook = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    assert {kind for kind in Kind if f"`{kind}`" not in runbook} == set()


def test_the_rules_travel_in_the_wheel() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    assert "config" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
