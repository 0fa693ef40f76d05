"""`GrayscaleImageField`: FFCV's missing one-channel image field, for stock `ffcv.Loader` and `ffcv.DatasetWriter`.

In: a `.beton` file whose image field holds raw or JPEG gray images of one size. Out: batches (N, H, W, 1) uint8. FFCV
needs no change: `ffcv.Loader(path, ..., custom_fields={"image": GrayscaleImageField})`. A JPEG that cannot be decoded
becomes a black image and a line on stderr, because an exception inside FFCV's pipeline thread would hang it; FFCV's own
decoder leaves another sample's pixels there.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from fastrad.dataset.beton import layout
from fastrad.dataset.beton.writer import encode_jpeg
from fastrad.errors import FormatError, InputError, MissingDependencyError


@contextmanager
def _thread_counts_kept() -> Iterator[None]:
    """`import ffcv` sets the threads of torch and numba to one; put them back."""
    import numba
    import torch

    torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)


try:
    with _thread_counts_kept():
        import ffcv._libffcv
        from ffcv.fields.base import ARG_TYPE, Field
        from ffcv.pipeline.allocation_query import AllocationQuery
        from ffcv.pipeline.compiler import Compiler
        from ffcv.pipeline.operation import Operation
except ModuleNotFoundError as error:
    if error.name != "ffcv":
        raise
    raise MissingDependencyError("ffcv", "GrayscaleImageField", "pip install 'fastrad[ffcv]'") from None

_TJPF_GRAY, _TJFLAG_STOPONWARNING = 6, 8192

# FFCV's extension is linked against libturbojpeg, so its symbols resolve through it.
_library = ctypes.CDLL(ffcv._libffcv.__file__)
_open_decompressor = _library.tjInitDecompress
_open_decompressor.argtypes, _open_decompressor.restype = [], ctypes.c_void_p
_close_decompressor = _library.tjDestroy
_close_decompressor.argtypes, _close_decompressor.restype = [ctypes.c_void_p], ctypes.c_int
_read_header = _library.tjDecompressHeader3
_read_header.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_ulong] + [ctypes.c_void_p] * 4
_read_header.restype = ctypes.c_int
_decompress = _library.tjDecompress2
_decompress.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_ulong, ctypes.c_void_p] + [ctypes.c_int] * 5  # type: ignore
_decompress.restype = ctypes.c_int


@ctypes.CFUNCTYPE(None, ctypes.c_int64)
def _say_damaged(sample: int) -> None:
    print(
        f"fastrad: sample {sample} cannot be decoded and is black in this batch; run `fastrad verify`", file=sys.stderr
    )


class GrayscaleImageDecoder(Operation):
    """Yields the stored images as they are: (N, H, W, 1) uint8, decoded by as many threads as the loader has."""

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, AllocationQuery]:
        shape = (self.field.height, self.field.width, 1)
        if (self.metadata["height"] != shape[0]).any() or (self.metadata["width"] != shape[1]).any():
            raise FormatError(f"not every image is {shape[0]} x {shape[1]} as the image field says; convert again")
        dtype = np.dtype("u1")
        return replace(previous_state, jit_mode=True, shape=shape, dtype=dtype), AllocationQuery(shape, dtype)

    def generate_code(self) -> Callable:
        return self._raw_code() if self.field.encoding == "raw" else self._jpeg_code()

    def _raw_code(self) -> Callable:
        read, parallel_range = self.memory_read, Compiler.get_iterator()

        def decode(batch_indices, destination, metadata, storage_state):
            for position in parallel_range(len(batch_indices)):
                stored = read(metadata[batch_indices[position]]["data_ptr"], storage_state)
                destination[position].reshape(-1)[:] = stored
            return destination[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode

    def _jpeg_code(self) -> Callable:
        read, parallel_range = self.memory_read, Compiler.get_iterator()
        strands = Compiler.num_threads

        def decode(batch_indices, destination, metadata, storage_state):
            count = len(batch_indices)
            damaged = np.zeros(count, dtype=np.bool_)
            for strand in parallel_range(strands):
                handle = _open_decompressor()
                found = np.zeros(4, dtype=np.int32)
                for position in range(strand, count, strands):
                    record = metadata[batch_indices[position]]
                    stored = read(record["data_ptr"], storage_state)
                    height, width = np.int32(record["height"]), np.int32(record["width"])
                    start = found.ctypes.data
                    status = _read_header(
                        handle, stored.ctypes.data, stored.size, start, start + 4, start + 8, start + 12
                    )
                    if status == 0 and found[0] == width and found[1] == height:
                        status = _decompress(
                            handle,
                            stored.ctypes.data,
                            stored.size,
                            destination[position].ctypes.data,
                            width,
                            width,
                            height,
                            _TJPF_GRAY,
                            _TJFLAG_STOPONWARNING,
                        )
                    else:
                        status = -1
                    if status != 0:
                        destination[position] = 0
                        damaged[position] = True
                _close_decompressor(handle)
            for position in range(count):
                if damaged[position]:
                    _say_damaged(np.int64(batch_indices[position]))
            return destination[:count]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


class GrayscaleImageField(Field):
    """One-channel images of one size, stored raw or as baseline JPEG.

    Parameters
    ----------
    encoding : str
        "raw" or "jpeg".
    height, width : int
        In pixels.
    quality : int
        Of the JPEG, 1 to 100.
    """

    def __init__(self, encoding: str = "raw", height: int = 224, width: int = 224, quality: int = 90) -> None:
        if encoding not in layout.MODES:
            raise InputError(f"GrayscaleImageField: encoding {encoding!r} is none of raw, jpeg")
        self.encoding, self.height, self.width, self.quality = encoding, height, width, quality

    @property
    def metadata_type(self) -> np.dtype:
        """What is kept of each image: position, length, width, height and encoding."""
        return layout.IMAGE_METADATA

    @staticmethod
    def from_binary(binary: np.ndarray) -> GrayscaleImageField:
        """The field that an argument block of 1,024 bytes describes; raises `FormatError` where fastrad wrote none."""
        arguments = layout.parse_image_arguments(np.frombuffer(np.asarray(binary).tobytes(), dtype=np.uint8))
        if arguments is None:
            raise FormatError("the image field was not written by fastrad's GrayscaleImageField")
        return GrayscaleImageField(*arguments)

    def to_binary(self) -> np.ndarray:
        """The argument block, as FFCV's writer stores it."""
        block = layout.image_arguments(self.encoding, self.height, self.width, self.quality)
        return block.view(ARG_TYPE)[0]

    def encode(self, destination: np.ndarray, image: np.ndarray, malloc: Callable) -> None:
        """Called by `ffcv.DatasetWriter` for each sample.

        Parameters
        ----------
        destination : numpy.ndarray
            Where the image's record goes.
        image : numpy.ndarray
            (H, W) or (H, W, 1) uint8.
        malloc : callable
            Gives a position in the file and a buffer for so many bytes.
        """
        image = np.ascontiguousarray(image)
        if image.dtype != np.uint8 or image.size != self.height * self.width:
            raise InputError(
                f"GrayscaleImageField: {image.dtype} image of shape {image.shape}; "
                f"uint8 ({self.height}, {self.width}) is needed"
            )
        image = image.reshape(self.height, self.width)
        stored = image.reshape(-1) if self.encoding == "raw" else encode_jpeg(image, self.quality)
        pointer, storage = malloc(len(stored))
        storage[:] = stored
        destination[0] = (pointer, len(stored), self.width, self.height, layout.MODES[self.encoding])

    def get_decoder_class(self) -> type[Operation]:
        """What decodes the field, without any further operation."""
        return GrayscaleImageDecoder
