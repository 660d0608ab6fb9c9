"""Faults, by what they take hold of. `TABLE` has them all by name."""

from tests.faults.suite.faults import broker, clock, database, deploy, disk, events, mail, processes
from tests.faults.suite.faults.table import TABLE, Fault

__all__ = ["TABLE", "Fault", "broker", "clock", "database", "deploy", "disk", "events", "mail", "processes"]
