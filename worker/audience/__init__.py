"""Readers: sign-up, confirmation, leaving, suppression, erasure, import."""
