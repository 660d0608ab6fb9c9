"""The command line: one small module for each family of commands."""

from worker.cli.root import main

__all__ = ["main"]
