"""Deliveries on their way: tokens → claim → personalise → send → journal → record, each its own step."""
