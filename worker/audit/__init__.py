"""The self-check: ledger, queues and leases compared, and what is inconsistent, stuck or overdue."""
