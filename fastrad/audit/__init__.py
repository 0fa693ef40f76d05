"""What is wrong with a dataset that no checksum shows: copies, blanks, imbalance, leaks between splits, burned-in text.

In: dataset files (`.beton` with their cards). Out: `audit.json`, `audit.html` and `rows.csv` in a folder.
"""

from fastrad.audit.audit import AuditOptions, audit

__all__ = ["AuditOptions", "audit"]
