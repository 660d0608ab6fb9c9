"""Numbers as they stand in the ledger."""

from __future__ import annotations

import click

LAST_ID = 2**63 - 1
"""The largest that both databases hold."""

ID = click.IntRange(1, LAST_ID)
