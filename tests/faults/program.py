"""Run commands of fastrad one after another in this process, each with one failing system call, and say how each ended.

    LD_PRELOAD=failing_calls.so FAULT_PLAN=file python program.py < commands

A command is a line of JSON, {"words": [...], "call": "open", "errno": 28, "at": 3, "always": false, "below": "/data"};
the answer is a line of JSON: {"status": 1, "stderr": "...", "calls": 17, "seconds": 0.4}.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import struct
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout

from fastrad.cli import main

_PLAN = struct.Struct("llll32s480s")


def _run(words: list[str]) -> tuple[object, str]:
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        try:
            main(words)
        except SystemExit as ended:
            return ended.code or 0, errors.getvalue()
        except BaseException:
            return "traceback", errors.getvalue() + traceback.format_exc()
    return "no exit", errors.getvalue()


with open(os.environ["FAULT_PLAN"], "r+b") as file:
    plan = mmap.mmap(file.fileno(), _PLAN.size)
for line in sys.stdin:
    asked = json.loads(line)
    began = time.monotonic()
    fault = asked["at"], asked["errno"], asked["always"], asked["call"].encode(), asked["below"].encode()
    plan[:] = _PLAN.pack(0, *fault)
    status, errors = _run(asked["words"])
    calls = _PLAN.unpack(plan[:])[0]
    plan[:] = bytes(_PLAN.size)
    answer = {"status": status, "stderr": errors, "calls": calls, "seconds": time.monotonic() - began}
    print(json.dumps(answer), flush=True)
