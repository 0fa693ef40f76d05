"""The README and the guide are true: their commands parse, their examples run, their links lead somewhere.

In: `README.md`, `CONTRIBUTING.md` and `docs/*.md`. A `sh` block is only parsed; one in the guide says why by a first
line `# needs: ...`. A `console` block shows commands after `$ ` and lines of what they print, where `…` stands for
anything and `...` for lines left out. `python` blocks run in order, in one folder a page.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from fastrad.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
GUIDE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDE]
DESIGN = sorted((ROOT / "docs" / "design").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
_SECONDS = 240


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str

    def commands(self) -> list[str]:
        """The shell commands of a `sh` or `console` block, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        lines = joined.splitlines()
        if self.language == "console":
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    return [Block(*match) for match in _BLOCK.findall(page.read_text())]


def fastrad_calls(command: str) -> list[list[str]]:
    """The words after each `fastrad` in a shell command."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    calls: list[list[str]] = []
    taking = False
    for word in lexer:
        if re.fullmatch(r"[;&|<>()]+", word):
            taking = False
        elif taking:
            calls[-1].append(word)
        elif word == "fastrad" or word.endswith("/fastrad"):
            calls.append([])
            taking = True
    return calls


def parse(words: list[str]) -> None:
    """Parse a command line as the program does, without running it."""
    command: click.Command = cli
    context, name = None, "fastrad"
    while isinstance(command, click.Group):
        context = command.make_context(name, list(words), parent=context)
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, list(words), parent=context)


def parse_error(words: list[str]) -> str | None:
    """What is wrong with a command line; that an example's file is not here is nothing wrong."""
    try:
        parse(words)
    except click.exceptions.Exit:  # an option like --template prints and ends
        return None
    except click.UsageError as error:
        return None if "does not exist" in error.message else error.format_message()
    return None


def page_id(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_line_parses(page):
    for block in blocks(page):
        if block.language not in ("sh", "console"):
            continue
        for command in block.commands():
            if command.startswith(("docker run", "docker build", "mkdir", "ls ", "apptainer")):
                command = command.split(" fastrad ", 1)[-1]
                command = f"fastrad {command}" if command.startswith("convert") else ""
            for words in fastrad_calls(command):
                if words and words[-1] in ("--version", "--help"):
                    continue
                wrong = parse_error(words)
                assert wrong is None, f"{page.name}: {command}: {wrong}"


@pytest.mark.parametrize("page", GUIDE, ids=page_id)
def test_what_is_not_run_says_what_it_needs(page):
    for block in blocks(page):
        assert block.language in ("sh", "console", "python"), f"{page.name}: a block of {block.language!r}"
        if block.language == "sh":
            assert block.text.startswith("# needs: "), f"{page.name}: {block.text}"


def test_every_command_is_shown_and_every_page_is_in_the_index():
    commands = [line for page in GUIDE for block in blocks(page) for line in block.commands()]
    calls = [words for line in commands for words in fastrad_calls(line)]
    shown = {" ".join(words[:count]) for words in calls for count in (1, 2)}
    assert set(COMMANDS) <= shown
    index = (ROOT / "docs" / "README.md").read_text()
    assert {path.name for path in GUIDE} - {"README.md"} <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))


@pytest.mark.parametrize("page", [*PAGES, *DESIGN], ids=page_id)
def test_links_lead_somewhere(page):
    for target, anchor in _LINK.findall(page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor[1:] in slugs, f"{page.name}: {target}{anchor}"


def expected_pattern(lines: list[str]) -> re.Pattern[str]:
    """`...` on a line of its own stands for any lines, `…` for anything in a line."""
    parts = []
    for line in lines:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(re.escape(part) for part in line.split("…")) + r"[ ]*\n")
    return re.compile("".join(parts))


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, "XDG_CONFIG_HOME": str(folder / ".config"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )


def check_console(block: Block, folder: Path) -> None:
    """Run each command; what it prints (on stdout, then stderr) must match the lines below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        done = run(["bash", "-c", command], folder)
        failing = any(line.startswith("fastrad: ") or "Error: " in line for line in lines)
        assert failing or done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        assert not failing or done.returncode in (1, 2), f"$ {command}\n{done.stdout}{done.stderr}"
        said = done.stdout + done.stderr
        if lines == ["..."]:
            continue
        pattern = expected_pattern(lines)
        # progress and notices go to stderr, in front of results or behind them: each stream may hold the lines
        found = [pattern.search(text) for text in (done.stdout, done.stderr, said, done.stderr + done.stdout)]
        assert not lines or any(found), f"$ {command}\nexpected:\n{chr(10).join(lines)}\nprinted:\n{said}"


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDE, ids=page_id)
def test_the_guide_runs_as_written(page, tmp_path):
    runnable = [block for block in blocks(page) if block.language != "sh"]
    if not runnable:
        pytest.skip(f"{page.name} holds nothing to run")
    for block in runnable:
        if block.language == "console":
            check_console(block, tmp_path)
        else:
            done = run([sys.executable, "-c", block.text], tmp_path)
            assert done.returncode == 0, f"{page.name}:\n{block.text}\n{done.stderr}"


@pytest.mark.slow
def test_python_of_the_readme_runs(tmp_path):
    made = run(
        ["fastrad", "convert", "phantom", "radimagenet", "--kind", "radiology", "--images", "320", "--size", "64"],
        tmp_path,
    )
    assert made.returncode == 0, made.stderr
    examples = [block.text for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert len(examples) >= 2
    for text in examples:
        done = run([sys.executable, "-c", text], tmp_path)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
