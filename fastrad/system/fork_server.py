"""Imported first by the process that workers are forked from, and nowhere else: what its children inherit."""

from fastrad.system.processes import fall_silent_when_orphaned

fall_silent_when_orphaned()
