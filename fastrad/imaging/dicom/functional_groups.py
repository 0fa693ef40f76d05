"""The elements that hold for one frame of an enhanced multi-frame object.

Such objects (PS3.3 C.7.6.16) keep rescale, window and spacing in functional groups: one for each frame, or one shared
by all. What stands in a frame's own group goes before what is shared, and that before the top level.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from fastrad.imaging.dicom.header import Header
from fastrad.imaging.structure import ImageError

# the elements of a group replace those of the top level together, never one without the other
_GROUPS = {
    "PixelValueTransformationSequence": (
        ("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
        ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    ),
    "FrameVOILUTSequence": (
        ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
        ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    ),
    "PixelMeasuresSequence": (("PixelSpacing", "PixelAspectRatio"), ("PixelSpacing",)),
    "FramePixelDataPropertiesSequence": (("ImagerPixelSpacing",), ("ImagerPixelSpacing",)),
}


def of_frame(header: Header, frame: int) -> Dataset:
    """The header's elements, with those of the functional groups of frame `frame` (from 0) in their place.

    Raises
    ------
    ImageError
        If there are groups for each frame, and none for this one.
    """
    elements = header.elements
    shared = elements.get("SharedFunctionalGroupsSequence") or []
    each = elements.get("PerFrameFunctionalGroupsSequence") or []
    if not shared and not each:
        return elements
    if each and len(each) != header.frames:
        raise ImageError(
            header.name, f"DICOM has functional groups for {len(each)} frames and says that it holds {header.frames}"
        )
    merged = Dataset()
    merged.update(elements)
    for sequence, (replaced, taken) in _GROUPS.items():
        for groups in (each[frame : frame + 1], shared[:1]):
            items = groups[0].get(sequence) if groups else None
            if not items:
                continue
            for keyword in replaced:
                if keyword in merged:
                    del merged[keyword]
            for keyword in taken:
                if keyword in items[0]:
                    merged[keyword] = items[0][keyword]
            break
    return merged
