"""The networks of a study in several processes of this machine, which share the study's folder by claims.

Each process tunes whole networks, with as many threads as one process alone would have: how often sums are cut into
parts decides their last digits, and a study must not depend on how many processes made it.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from fastrad.dataset.opening import reopened
from fastrad.errors import FastradError
from fastrad.study.networks.claims import measured
from fastrad.study.networks.runs import check_finished, pieces_of, tune
from fastrad.study.protocol.plan import Network, Protocol
from fastrad.system.cores import available_cores
from fastrad.system.processes import team
from fastrad.system.progress import say


def tune_in_jobs(
    networks: Sequence[Network],
    protocol: Protocol,
    folder: Path,
    devices: Sequence[torch.device],
    *,
    jobs: int,
    part: tuple[int, int] = (1, 1),
    wait_for_others: bool = True,
) -> None:
    """As `runs.tune`, in so many processes at once, which take turns on the devices.

    Raises
    ------
    InputError
        As `runs.tune` does, or if a process was ended from outside.
    """
    device = devices[0]
    mine = [piece for piece in pieces_of(networks, protocol, folder, device, part) if not piece.finished]
    jobs = min(jobs, len(mine))
    if jobs <= 1:
        tune(networks, protocol, folder, device, part=part, wait=wait_for_others)  # it checks what is finished
        return
    finished = check_finished(networks, protocol, folder)
    if any(finished):
        say(f"{sum(finished)} of {len(networks)} runs are finished already and kept")
    threads = torch.get_num_threads()
    if device.type == "cpu" and jobs * threads > available_cores():
        say(
            f"notice: {jobs} jobs of {threads} threads share {available_cores()} cores; with "
            f"OMP_NUM_THREADS={max(1, available_cores() // jobs)} each would have its own, and every network's last "
            "digits would be those of so many threads"
        )
    pieces = pieces_of(networks, protocol, folder, device)
    waiting = {piece.place: piece for piece in pieces if not piece.finished}
    with (
        tempfile.TemporaryDirectory() as scratch,
        measured(pieces, "tuning", "done") as meter,
        team(
            jobs,
            _job,
            _packed(networks, protocol, Path(scratch) / "study"),
            folder,
            [str(each) for each in devices],
            threads,
            part,
            wait_for_others,
        ) as processes,
    ):
        working = list(processes)
        while working:
            heard = wait(working, timeout=1.0)
            for place in [place for place in waiting if place.exists()]:
                piece = waiting.pop(place)
                say(f"[{pieces.index(piece) + 1}/{len(pieces)}] {piece.line()}")
            meter.look()
            for process in processes:
                if process in heard:
                    working.remove(process)
                    _raise_what_ended_it(process)


def _raise_what_ended_it(process: Any) -> None:
    try:
        error = process.recv()
    except EOFError:
        raise FastradError(
            "one of the --jobs was ended from outside, for lack of memory perhaps; finished networks are kept: give "
            "the command again, with fewer --jobs"
        ) from None
    if error is not None:
        raise error


def _packed(networks: Sequence[Network], protocol: Protocol, path: Path) -> Path:
    """Networks and protocol in a file, but for the dataset's pixels, which each process opens itself.

    As an argument of a process they would fill a pipe, on which this one waits for ever where that one ends early.
    """
    dataset: Any = protocol.dataset.path
    path.write_bytes(pickle.dumps((networks, replace(protocol, dataset=replace(protocol.dataset, dataset=dataset)))))
    return path


def _job(number: int, packed: Path, folder: Path, devices: list[str], threads: int, part: tuple, wait: bool) -> None:
    networks, protocol = pickle.loads(packed.read_bytes())  # our own parent's, in a folder that is open to nobody else
    protocol = replace(protocol, dataset=replace(protocol.dataset, dataset=reopened(protocol.dataset.dataset)))
    torch.set_num_threads(threads)
    device = torch.device(devices[number % len(devices)])
    tune(networks, protocol, folder, device, part=part, wait=wait, shown=False)
