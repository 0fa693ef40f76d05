"""Print docs/report-sentences.md: every sentence that a report can print, with its condition."""

from __future__ import annotations

import re

from fastrad.study.report.conclusion_list import CONCLUSIONS
from fastrad.study.report.sentences import SENTENCES

HEAD = """# What a report can say

Every sentence that the page of `fastrad compare` and `fastrad report` can print, and when it does. Words like `this`
are filled in. Those of the place `caveats` also stand at the top of `table.md`, `table.tex` and what the commands
print. Of what stands in [brackets] one part is printed. Notices about the data and notes of its conversion are
repeated as they are. This page is made by
`python tools/report_sentences.py`.

| place | sentence | printed where |
| --- | --- | --- |
"""


def _filled(text: str) -> str:
    return re.sub(r"\{(\w+)\}", r"`\1`", text).replace("|", "\\|")


if __name__ == "__main__":
    rows = [f"| {sentence.place} | {_filled(sentence.text)} | {sentence.condition} |" for sentence in SENTENCES]
    rows += [f"| conclusion | {_filled(each.text)} | {each.condition} |" for each in CONCLUSIONS]
    print(HEAD + "\n".join(rows))
