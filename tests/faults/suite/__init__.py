"""The fault suite: a whole Pressrun under a seeded schedule of faults, and an auditor who compares three books."""
