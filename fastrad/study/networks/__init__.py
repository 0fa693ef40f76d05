"""The study's networks: tuned or frozen, kept in one folder each, and what they score."""
