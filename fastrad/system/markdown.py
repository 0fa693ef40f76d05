"""Texts of other origin (names, labels, notes) in Markdown, where they must stay text: no markup, no HTML, one line."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = "\\`*[]~|"


def markdown_text(text: object) -> str:
    """The text as plain Markdown.

    Examples
    --------
    >>> markdown_text("<script>alert(1)</script> a|b")
    '&lt;script>alert(1)&lt;/script> a\\\\|b'
    """
    line = " ".join("".join(" " if _is_control(character) else character for character in str(text)).split())
    escaped = "".join(f"\\{character}" if character in _MARKUP else character for character in line)
    # a lone < or & is itself in Markdown, and reads better in a terminal
    escaped = re.sub(r"&(?=#|\w+;)", "&amp;", escaped)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", escaped)


def markdown_code(text: object) -> str:
    """The text as a code span, where nothing in it could end the span or be taken for HTML; else as plain text.

    Examples
    --------
    >>> markdown_code("head|neck"), markdown_code("a`<b>")
    ('`head|neck`', 'a\\\\`&lt;b>')
    """
    line = str(text)
    plain = line.strip() == line != "" and not any(_is_control(each) or each in "`<>&" for each in line)
    return f"`{line}`" if plain else markdown_text(line)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
