"""The metrics of a run for TensorBoard, where it is installed.

In: one row of metrics an epoch. Out: `tensorboard/events.out.tfevents.run` in the run folder, read by
`tensorboard --logdir RUN` or by that of a folder of runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from fastrad.system.files import write_atomically


def write_events(folder: Path, rows: Sequence[Mapping[str, float]]) -> bool:
    """Write every epoch's numbers anew, as `metrics.csv` is: after a resumption none is there twice.

    Parameters
    ----------
    folder : Path
        The run folder.
    rows : sequence of mappings
        With `epoch`; every other number becomes a curve over it.

    Returns
    -------
    bool
        False where TensorBoard is not installed: then nothing is written.
    """
    if find_spec("tensorboard") is None:
        return False
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as scratch:
        with SummaryWriter(scratch) as writer:
            for row in rows:
                for name, value in row.items():
                    if name != "epoch":
                        writer.add_scalar(name, value, int(row["epoch"]), walltime=float(row["epoch"]))
        (events,) = Path(scratch).iterdir()  # under a name with the host's, which is nobody's business
        target = folder / "tensorboard"
        target.mkdir(exist_ok=True)
        write_atomically(target / "events.out.tfevents.run", events.read_bytes())
    return True
