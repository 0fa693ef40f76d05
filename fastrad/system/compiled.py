"""Functions that numba compiles for given types, kept on disk where that can be."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(*signatures: str) -> Callable[[Callable], Callable]:
    """`njit` for these signatures, at once and without the GIL."""

    def compile_(function: Callable) -> Callable:
        try:
            return njit(list(signatures), nogil=True, cache=True)(function)
        except Exception:  # numba has nowhere to keep it, or what it kept is damaged: then seconds at each start
            return njit(list(signatures), nogil=True)(function)

    return compile_
