"""The one pass over a sample: read its rows, crop, resize bilinearly, flip, into the batch's own memory.

In: addresses (a file descriptor with offsets, or memory), integer crop boxes, flips. Out: uint8 squares at an address.
Compiled by numba without the GIL and cached across processes (`system.compiled`); plain threads run it side by side.

The filter is bilinear with half-pixel centres, edges clamped to the crop, no antialiasing, rounded to the nearest
gray level: `cv2.resize(INTER_LINEAR)` on the crop. Weights have 7 bits horizontally and 15 vertically, which moves a
pixel by at most one gray level and leaves a crop of the output's own size exact. With AVX2, sixteen output pixels take
one byte shuffle and one multiply-add, as long as eight of them lie within sixteen source pixels (shrinking by up to 2).
"""

# mypy: disable-error-code="call-arg,call-overload,attr-defined"
# (numba's intrinsics take a typing context that their callers do not pass, and its settings are set at run time)

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import carray, config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastrad.loading.policy import Parameters
from fastrad.system.compiled import compiled

_PREAD = types.ExternalFunction("pread", types.int64(types.int32, types.uintp, types.uintp, types.int64))
_MEMCPY = types.ExternalFunction("memcpy", types.uintp(types.uintp, types.uintp, types.uintp))
PADDING = 64  # bytes that must be readable behind a source in memory

_BYTES = ir.VectorType(ir.IntType(8), 32)
_HALF = ir.VectorType(ir.IntType(8), 16)
_WORDS = ir.VectorType(ir.IntType(16), 16)


def _load(builder: ir.IRBuilder, address: ir.Value, kind: ir.VectorType) -> ir.Value:
    return builder.load(builder.inttoptr(address, ir.PointerType(kind)), align=1)


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    builder.store(value, builder.inttoptr(address, ir.PointerType(value.type)), align=1)


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


@intrinsic
def _blend_columns(typing_context, first, second, table, destination):
    """Sixteen weighted neighbour pairs, eight from sixteen bytes at `first` and eight from `second`, as int16.

    `table` points to 32 bytes of shuffle indices and 32 of weights (pairs that sum up to 128).
    """

    def generate(context, builder, signature, arguments):
        first, second, table, destination = arguments
        lanes = [ir.Constant(ir.IntType(32), lane) for lane in range(32)]
        indices = ir.Constant(ir.VectorType(ir.IntType(32), 32), lanes)
        pixels = builder.shuffle_vector(_load(builder, first, _HALF), _load(builder, second, _HALF), indices)
        weights = _load(builder, builder.add(table, ir.Constant(table.type, 32)), _BYTES)
        pairs = _call(builder, "llvm.x86.avx2.pshuf.b", _BYTES, pixels, _load(builder, table, _BYTES))
        _store(builder, _call(builder, "llvm.x86.avx2.pmadd.ub.sw", _WORDS, pairs, weights), destination)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp, types.uintp), generate


@intrinsic
def _blend_rows(typing_context, upper, lower, weight, destination):
    """Sixteen pixels between two rows of int16 (7 fractional bits); weight is the lower row's share in 1 / 32768."""

    def generate(context, builder, signature, arguments):
        upper, lower, weight, destination = arguments
        above, below = _load(builder, upper, _WORDS), _load(builder, lower, _WORDS)
        shares = ir.Constant(_WORDS, ir.Undefined)
        for lane in range(16):
            shares = builder.insert_element(shares, weight, ir.Constant(ir.IntType(32), lane))
        step = _call(builder, "llvm.x86.avx2.pmul.hr.sw", _WORDS, builder.sub(below, above), shares)
        rounded = builder.add(builder.add(above, step), ir.Constant(_WORDS, [64] * 16))
        _store(builder, builder.trunc(builder.lshr(rounded, ir.Constant(_WORDS, [7] * 16)), _HALF), destination)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.int16, types.uintp), generate


@intrinsic
def _bytes_at(typing_context, address):
    """The address as a pointer to uint8, for `carray`."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.uintp), generate


def _has_avx2() -> bool:
    if config.CPU_NAME or config.CPU_FEATURES is not None:
        return False  # numba was told to compile for another processor
    return bool(llvmlite.binding.get_host_cpu_features().get("avx2"))


AVX2 = _has_avx2()


@njit(nogil=True)
def _columns(crop, size, flip, pixels, shares):
    """For each output column: the left one of its two source pixels, and the right one's share in 1 / 128."""
    last = (crop - 1) * 128
    for x in range(size):
        position = int(np.floor((2 * x + 1) * crop * 64 / size + 0.5)) - 64
        position = min(max(position, 0), last)
        column = size - 1 - x if flip else x
        pixels[column] = position >> 7
        shares[column] = position & 127


@njit(nogil=True)
def _vector_table(pixels, shares, size, starts, bases, table):
    """Turn the columns into what `_blend_columns` reads; False where eight pixels do not lie within sixteen bytes.

    The weight 128 is beyond int8: a pixel with no right neighbour is taken twice with weight 64.
    """
    for group in range(len(starts)):
        for half in range(2):
            first = starts[group] + 8 * half
            base = min(pixels[first], pixels[first + 7])
            if max(pixels[first], pixels[first + 7]) + 1 - base > 15:
                return False
            bases[group, half] = base
            for lane in range(8):
                pixel, share = pixels[first + lane] - base, shares[first + lane]
                at = 16 * half + 2 * lane
                table[group, at] = pixel
                table[group, at + 1] = pixel + (share > 0)
                table[group, 32 + at] = 128 - share if share > 0 else 64
                table[group, 33 + at] = share if share > 0 else 64
    return True


@njit(nogil=True)
def _blend_row(source, pixels, shares, size, row):
    """One source row, read and blended column by column: for any scale and any processor."""
    line = carray(_bytes_at(source), (pixels[:size].max() + 2,))
    for x in range(size):
        share = np.int64(shares[x])
        row[x] = np.int64(line[pixels[x]]) * (128 - share) + np.int64(line[pixels[x] + (share > 0)]) * share


@njit(nogil=True)
def _blend_output(upper, lower, weight, size, output):
    """One output row from two blended rows, pixel by pixel."""
    line = carray(_bytes_at(output), (size,))
    for x in range(size):
        above, below = np.int64(upper[x]), np.int64(lower[x])
        line[x] = (above + (((below - above) * weight + 16384) >> 15) + 64) >> 7


@njit(nogil=True)
def _resize(source, stride, height, width, flips, output, size, starts, pixels, shares, bases, table, rows):
    """Resize the crop of `height` x `width` pixels at address `source` to size x size at address `output`."""
    _columns(width, size, flips & 1, pixels, shares)
    vectors = AVX2 and size >= 16 and _vector_table(pixels, shares, size, starts, bases, table)
    held = np.full(2, -1, np.int64)
    last = (height - 1) << 15
    for y in range(size):
        position = int(np.floor((2 * y + 1) * height * 16384 / size + 0.5)) - 16384
        position = min(max(position, 0), last)
        upper, weight = position >> 15, position & 32767
        for row in range(upper, upper + 1 + (weight > 0)):
            if held[row & 1] == row:
                continue
            held[row & 1] = row
            line = source + row * stride
            if vectors:
                for group in range(len(starts)):
                    _blend_columns(
                        np.uintp(line + bases[group, 0]),
                        np.uintp(line + bases[group, 1]),
                        np.uintp(table.ctypes.data + 64 * group),
                        np.uintp(rows.ctypes.data + 2 * ((row & 1) * rows.shape[1] + starts[group])),
                    )
            else:
                _blend_row(np.uintp(line), pixels, shares, size, rows[row & 1])
        first, second = upper & 1, (upper + (weight > 0)) & 1
        target = output + size * (size - 1 - y if flips & 2 else y)
        if vectors:
            for group in range(len(starts)):
                _blend_rows(
                    np.uintp(rows.ctypes.data + 2 * (first * rows.shape[1] + starts[group])),
                    np.uintp(rows.ctypes.data + 2 * (second * rows.shape[1] + starts[group])),
                    np.int16(weight),
                    np.uintp(target + starts[group]),
                )
        else:
            _blend_output(rows[first], rows[second], weight, size, np.uintp(target))


@compiled()
def resample(descriptor, sources, frame_height, frame_width, boxes, flips, size, output, status):
    """Crop, resize and flip N samples.

    Parameters
    ----------
    descriptor : int
        The file to read the samples from, at positions `sources`; -1 where `sources` are addresses in memory, with
        `PADDING` readable bytes behind the last sample.
    sources : np.ndarray
        int64 of shape (N,).
    frame_height, frame_width : int
        The stored frames, pixels.
    boxes : np.ndarray
        int64 of shape (N, 4): top, left, height, width; inside the frame.
    flips : np.ndarray
        uint8 of shape (N,): 1 for left and right, 2 for top and bottom, 3 for both.
    size : int
        The output is size x size pixels.
    output : int
        The address of N * size * size bytes.
    status : np.ndarray
        int64 of shape (N,), written: 0, or the number of missing bytes where a read came short.
    """
    groups = size // 16 + (size % 16 > 0)
    starts = np.minimum(np.arange(groups) * 16, max(size - 16, 0))
    pixels, shares = np.empty(size + 1, np.int64), np.empty(size + 1, np.int64)
    bases, table = np.empty((groups, 2), np.int64), np.empty((groups, 64), np.uint8)
    rows = np.empty((2, size + 64), np.int16)
    frame = np.empty(frame_height * frame_width + 64, np.uint8)
    for sample in range(len(sources)):
        top, left, height, width = boxes[sample]
        target = output + sample * size * size
        start = sources[sample] + top * frame_width
        length = height * frame_width
        status[sample] = 0
        if descriptor >= 0:
            whole = height == size and width == size and frame_width == size and flips[sample] == 0
            memory = target if whole else np.int64(frame.ctypes.data)
            done = 0
            while done < length:
                count = _PREAD(np.int32(descriptor), np.uintp(memory + done), np.uintp(length - done), start + done)
                if count <= 0:
                    break
                done += count
            status[sample] = length - done
            if whole or done < length:
                continue
            start = memory
        _resize(
            start + left, frame_width, height, width, np.int64(flips[sample]), target, size,
            starts, pixels, shares, bases, table, rows,
        )  # fmt: skip


@compiled()
def read(descriptor, sources, length, output, status):
    """Read N samples of `length` bytes each, at file positions `sources`, to the address `output`.

    `status` (int64, shape (N,)) gets 0, or the number of missing bytes where a read came short.
    """
    for sample in range(len(sources)):
        done = 0
        target = output + sample * length
        while done < length:
            count = _PREAD(
                np.int32(descriptor), np.uintp(target + done), np.uintp(length - done), sources[sample] + done
            )
            if count <= 0:
                break
            done += count
        status[sample] = length - done


@compiled()
def copy(sources, length, output):
    """Copy N samples of `length` bytes each from the addresses `sources` to the address `output`."""
    for sample in range(len(sources)):
        _MEMCPY(np.uintp(output + sample * length), np.uintp(sources[sample]), np.uintp(length))


@compiled()
def look_up(pixels, table, output):
    """Write `table[p]` for each pixel; the table's 256 entries are the bits of floating numbers."""
    for index in range(len(pixels)):
        output[index] = table[pixels[index]]


def boxes_and_flips(parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Crop boxes (int64, shape (N, 4)) and flips (uint8, shape (N,)) as `resample` takes them."""
    boxes = np.stack([parameters.top, parameters.left, parameters.height, parameters.width], axis=1)
    return boxes, parameters.flip_horizontal.astype(np.uint8) | parameters.flip_vertical.astype(np.uint8) << 1
