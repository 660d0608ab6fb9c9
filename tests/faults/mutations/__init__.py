"""Breaks each promise on purpose and looks whether its test notices: `make mutations`."""
