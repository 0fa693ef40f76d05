"""Small archives of pictures, and a key for pseudonyms of each test's own."""

from picture_archives import archive, own_key, small_chunks

__all__ = ["archive", "own_key", "small_chunks"]
