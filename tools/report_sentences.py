"""Print docs/report-sentences.md: every sentence that a report can print, with its condition."""

from __future__ import annotations

import re

from fastrad.study.report.sentences import SENTENCES

HEAD = """# What a report can say

Every sentence that the page of `fastrad compare` and `fastrad report` can print, and when it does. Words like `this`
are filled in. Those of the place `caveats` also stand at the top of `table.md`, `table.tex` and what the commands
print. The conclusion's sentences are made of numbers alone: `fastrad/study/report/conclusion.py`. This page is made by
`python tools/report_sentences.py`.

| place | sentence | printed where |
| --- | --- | --- |
"""


def _filled(text: str) -> str:
    return re.sub(r"\{(\w+)\}", r"`\1`", text)


if __name__ == "__main__":
    rows = [f"| {sentence.place} | {_filled(sentence.text)} | {sentence.condition} |" for sentence in SENTENCES]
    print(HEAD + "\n".join(rows))
