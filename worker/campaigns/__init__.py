"""Campaigns: opened by a post, planned in slices, served in turns, controlled and watched."""
