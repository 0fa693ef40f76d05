"""Any image file, or one frame of it, as one 2-D uint8 array; and that array fitted into a square.

In: a path or bytes (PNG, JPEG, BMP, TIFF, DICOM or HDF5). Out: gray pixels, or an `ImageError` with the reason. Only
numpy and cv2 are imported (numba, pydicom or h5py when such a file is met), so that conversion workers stay small.

    decode.py     bytes -> pixels: colour, alpha, 16 bit, windows, boxes
    png.py        plain gray and RGB PNG, faster than OpenCV; the rest is left to it
    structure.py  is the file whole? asked before the decoder, which may return part of an image in silence
    tiff.py       TIFF, strictly
    values.py     gray values as a file holds them, and their way to 8 bits
    window.py     a range of values onto 0 to 255; a DICOM file's own window: dicom/grayscale.py
    normalisation.py  gray levels -> a network's input
    geometry.py   pad, squash or crop into a square
    dicom/        DICOM: frames as stored, gray scale, colour, the ultrasound region
    walk.py       the image files below a folder: what convert and predict find, and what is left out
    masks.py      which of them are masks
    gif.py        frames of a GIF file
    hdf5.py       frames of an HDF5 file, one at a time
    frames.py     how many frames a file holds, whatever its name
    doppler.py    is it colour Doppler?
"""

from fastrad.imaging.decode import decode_gray, decode_values, read_gray, read_values
from fastrad.imaging.geometry import FIT_MODES, PIXEL_ASPECTS, fit, make_square
from fastrad.imaging.structure import MAX_PIXELS, ImageError

__all__ = [
    "FIT_MODES",
    "MAX_PIXELS",
    "PIXEL_ASPECTS",
    "ImageError",
    "decode_gray",
    "decode_values",
    "fit",
    "make_square",
    "read_gray",
    "read_values",
]
