"""Pressrun: an event-driven email delivery worker."""

__version__ = "0.1.0"
