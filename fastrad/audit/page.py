"""The audit's page: one HTML file that opens without a network, with thumbnails of what was found.

In: the audit's report and its datasets. Out: `audit.html`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from fastrad.dataset import Dataset
from fastrad.system.files import write_atomically

THUMBNAIL = 112
GROUPS_SHOWN = 24
SAMPLES_SHOWN = 8


def write_page(report: dict[str, Any], datasets: Sequence[Dataset], path: Path) -> None:
    """Write the page of a report of `audit` over these datasets to `path`."""
    environment = Environment(
        loader=PackageLoader("fastrad.audit"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )

    def thumbnail(sample: dict[str, Any]) -> str:
        return _png_uri(datasets[sample["dataset"]].decode(sample["index"]))

    page = environment.get_template("audit.html").render(
        report=report, thumbnail=thumbnail, groups_shown=GROUPS_SHOWN, samples_shown=SAMPLES_SHOWN
    )
    write_atomically(path, page.encode())


def _png_uri(image: np.ndarray) -> str:
    scale = THUMBNAIL / max(image.shape)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
    done, data = cv2.imencode(".png", small)
    assert done
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()
