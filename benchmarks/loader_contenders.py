"""The loaders that are compared: fastrad's engines and their peers, each used as its own documentation says.

In: where its storage lies, a workload and a number of threads. Out: epochs of (images, keys); `rows_of` makes manifest
rows of the keys. Crops are drawn as torchvision's `RandomResizedCrop` draws them; where a library has an operation of
its own for that, it is the library's. A peer that leaves the crop to its user gets one `cv2.resize` and one `cv2.flip`
an image. Every import of a peer is inside its own function.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from loader_data import SIDE, files_of

BATCH_SIZE = 256

Epoch = Callable[[], Iterator[tuple[Any, Any]]]


@dataclass(frozen=True)
class Work:
    """What a loader is asked for: `scale` None is workload A, else the crop's share of the area.

    `normalised` is workload C, for fastrad's engines; the others' batches are normalised by the caller.
    """

    place: Path
    threads: int
    scale: tuple[float, float] | None
    ratio: tuple[float, float]
    normalised: bool


@dataclass(frozen=True)
class Contender:
    """A loader and the storage that it reads.

    `package` is what must be importable; `environment` the one over the common one that has it (see peers.txt).
    """

    storage: str
    package: str
    load: Callable[[Work], Epoch]
    rows_of: Callable[[Any], np.ndarray] = np.asarray
    environment: str = ""

    @property
    def is_ours(self) -> bool:
        """True for fastrad's own engines."""
        return self.package == "fastrad"


# what most peers leave to their user


def _crop_box(scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """torchvision's `RandomResizedCrop.get_params` for a square frame, without torch's cost for a single number."""
    for _ in range(10):
        area = SIDE * SIDE * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= SIDE and 0 < height <= SIDE:
            return random.randint(0, SIDE - height), random.randint(0, SIDE - width), height, width
    return 0, 0, SIDE, SIDE


def _crop_and_flip(image: np.ndarray, work: Work) -> np.ndarray:
    if work.scale is None:
        return image
    top, left, height, width = _crop_box(work.scale, work.ratio)
    image = cv2.resize(image[top : top + height, left : left + width], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return cv2.flip(image, 1) if random.random() < 0.5 else image


def _decode(encoded: bytes | np.ndarray) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)


def _single_threaded(_: int = 0) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _workers(work: Work) -> dict[str, Any]:
    return {
        "batch_size": BATCH_SIZE,
        "num_workers": work.threads,
        "worker_init_fn": _single_threaded,
        "persistent_workers": True,
    }


# fastrad


def _fastrad(work: Work, engine: str, name: str) -> Epoch:
    from fastrad.loading import Loader
    from fastrad.loading.policy import Augmentation

    policy = Augmentation.none() if work.scale is None else Augmentation(scale=work.scale, ratio=work.ratio)
    loader = Loader(
        work.place / name,
        BATCH_SIZE,
        engine=engine,
        size=SIDE,
        augment=policy,
        workers=work.threads,
        dtype=torch.float32 if work.normalised else torch.uint8,
    )
    return lambda: ((batch.images, batch.rows) for batch in loader)


def _ours(engine: str, name: str = "all.beton") -> Callable[[Work], Epoch]:
    return lambda work: _fastrad(work, engine, name)


# torch's DataLoader


def _image_folder(work: Work) -> Epoch:
    """What people write: ImageFolder, PIL, torchvision's transforms."""
    from PIL import Image
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps: list[Any] = [transforms.PILToTensor()]
    if work.scale is not None:
        steps = [transforms.RandomResizedCrop(SIDE, work.scale, work.ratio), transforms.RandomHorizontalFlip(), *steps]
    data = ImageFolder(work.place, transforms.Compose(steps), loader=lambda path: Image.open(path).convert("L"))
    data.samples = [(path, row) for row, (path, _) in enumerate(data.samples)]
    loader = torch.utils.data.DataLoader(data, shuffle=True, **_workers(work))
    return lambda: iter(loader)


class _Files(torch.utils.data.Dataset):
    """Encoded files, decoded by OpenCV."""

    def __init__(self, work: Work, suffix: str) -> None:
        self._paths, self._work = files_of(work.place, suffix), work

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        return _crop_and_flip(_decode(np.fromfile(self._paths[row], np.uint8)), self._work), row


class _Array(torch.utils.data.Dataset):
    """One memory-mapped array of all images."""

    def __init__(self, work: Work) -> None:
        self._images, self._work = np.load(work.place / "all.npy", mmap_mode="r"), work

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        return _crop_and_flip(np.asarray(self._images[row]), self._work), row


def _data_loader(make: Callable[[Work], torch.utils.data.Dataset]) -> Callable[[Work], Epoch]:
    def load(work: Work) -> Epoch:
        loader = torch.utils.data.DataLoader(make(work), shuffle=True, **_workers(work))
        return lambda: iter(loader)

    return load


# FFCV as it comes


def _ffcv(work: Work) -> Epoch:
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    images = [SimpleRGBImageDecoder(), ToTensor()]
    if work.scale is not None:
        crop = RandomResizedCropRGBImageDecoder((SIDE, SIDE), scale=work.scale, ratio=work.ratio)
        images = [crop, RandomHorizontalFlip(), ToTensor()]
    loader = Loader(
        str(work.place / "all.beton"),
        batch_size=BATCH_SIZE,
        num_workers=work.threads,
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={"image": images, "label": [IntDecoder(), ToTensor()]},
    )
    return lambda: iter(loader)


# NVIDIA DALI with its own readers


def _dali(work: Work, read: Callable[[Path], tuple[Any, Any]], encoded: bool) -> Epoch:
    from nvidia.dali import Pipeline, fn, types

    pipeline = Pipeline(BATCH_SIZE, work.threads, None, prefetch_queue_depth=2, seed=1)
    with pipeline:
        stored, keys = read(work.place)
        if not encoded:
            images = stored
            if work.scale is not None:
                images = fn.random_resized_crop(
                    images,
                    size=[SIDE, SIDE],
                    random_area=work.scale,
                    random_aspect_ratio=work.ratio,
                    antialias=False,
                    interp_type=types.INTERP_LINEAR,
                )
        elif work.scale is None:
            images = fn.decoders.image(stored, device="cpu", output_type=types.GRAY)
        else:
            images = fn.decoders.image_random_crop(
                stored,
                device="cpu",
                output_type=types.GRAY,
                random_area=work.scale,
                random_aspect_ratio=work.ratio,
            )
            images = fn.resize(images, size=[SIDE, SIDE], interp_type=types.INTERP_LINEAR, antialias=False)
        if work.scale is not None:
            images = fn.flip(images, horizontal=fn.random.coin_flip())
        pipeline.set_outputs(images, keys)
    pipeline.build()
    steps = math.ceil(next(iter(pipeline.reader_meta().values()))["epoch_size"] / BATCH_SIZE)

    def epoch() -> Iterator[tuple[Any, Any]]:
        for _ in range(steps):
            images, keys = pipeline.run()
            yield torch.from_dlpack(images.as_tensor()), keys

    return epoch


def _read_png_files(place: Path) -> tuple[Any, Any]:
    from nvidia.dali import fn

    paths = files_of(place, ".png")
    return fn.readers.file(files=paths, labels=list(range(len(paths))), random_shuffle=True, name="reader")


def _read_shards(place: Path) -> tuple[Any, Any]:
    from nvidia.dali import fn

    return fn.readers.webdataset(
        paths=files_of(place, ".tar"),
        index_paths=files_of(place, ".idx"),
        ext=["jpg", "json"],
        random_shuffle=True,
        name="reader",
    )


def _read_npy(place: Path) -> tuple[Any, Any]:
    from nvidia.dali import fn

    stored = fn.readers.numpy(files=files_of(place, ".npy"), random_shuffle=True, name="reader")
    return stored, stored


def _rows_of_labels(keys: Any) -> np.ndarray:
    return np.asarray(keys.as_tensor()).ravel()


def _rows_of_json(keys: Any) -> np.ndarray:
    return np.array([json.loads(bytes(keys.at(k)))["row"] for k in range(len(keys))])


def _rows_of_names(keys: Any) -> np.ndarray:
    return np.array([int(Path(keys[k].source_info()).stem) for k in range(len(keys))])


# streaming formats


def _webdataset(work: Work) -> Epoch:
    import webdataset

    shards = files_of(work.place, ".tar")

    def sample(pair: tuple[bytes, str]) -> tuple[np.ndarray, int]:
        return _crop_and_flip(_decode(pair[0]), work), int(pair[1])

    data = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).to_tuple("jpg", "__key__").map(sample)
    data = data.batched(BATCH_SIZE, collation_fn=torch.utils.data.default_collate)
    loader = webdataset.WebLoader(data, **{**_workers(work), "batch_size": None})
    return lambda: iter(loader)


def _litdata(work: Work) -> Epoch:
    import litdata

    class Images(litdata.StreamingDataset):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return _crop_and_flip(_decode(sample["image"]), work), sample["label"]

    loader = litdata.StreamingDataLoader(Images(str(work.place), shuffle=True), **_workers(work))
    return lambda: iter(loader)


def _streaming(work: Work) -> Epoch:
    import streaming

    class Images(streaming.StreamingDataset):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return _crop_and_flip(_decode(sample["image"]), work), sample["label"]

    streaming.base.util.clean_stale_shared_memory()
    data = Images(local=str(work.place), shuffle=True, batch_size=BATCH_SIZE)
    loader = torch.utils.data.DataLoader(data, **_workers(work))
    return lambda: iter(loader)


def _spdl(work: Work) -> Epoch:
    from spdl.pipeline import PipelineBuilder

    paths = files_of(work.place, ".jpg")

    def load(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images = [_crop_and_flip(_decode(np.fromfile(paths[row], np.uint8)), work) for row in rows]
        return torch.from_numpy(np.stack(images)), torch.from_numpy(rows)

    def epoch() -> Iterator[tuple[Any, Any]]:
        order = np.random.permutation(len(paths))
        batches = np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))
        builder = PipelineBuilder().add_source(batches).pipe(load, concurrency=work.threads).add_sink(3)
        pipeline = builder.build(num_threads=work.threads)
        with pipeline.auto_stop():
            yield from pipeline

    return epoch


CONTENDERS = {
    "fastrad direct, raw": Contender("beton-raw", "fastrad", _ours("direct")),
    "fastrad direct, JPEG": Contender("beton-jpeg", "fastrad", _ours("direct")),
    "fastrad resident": Contender("beton-raw", "fastrad", _ours("resident")),
    "fastrad dali, JPEG": Contender("beton-jpeg", "fastrad", _ours("dali")),
    "fastrad dali, JPEG shards": Contender("shards", "fastrad", _ours("dali", "all.card.json")),
    "DataLoader + PIL, PNG": Contender("png", "torchvision", _image_folder),
    "DataLoader + cv2, PNG": Contender("png", "torch", _data_loader(lambda work: _Files(work, ".png"))),
    "DataLoader + cv2, JPEG": Contender("jpeg", "torch", _data_loader(lambda work: _Files(work, ".jpg"))),
    "DataLoader, mapped array": Contender("array", "torch", _data_loader(_Array)),
    "FFCV, raw RGB": Contender("ffcv-raw", "ffcv", _ffcv),
    "FFCV, JPEG RGB": Contender("ffcv-jpeg", "ffcv", _ffcv),
    "DALI file, PNG": Contender(
        "png", "nvidia.dali", lambda work: _dali(work, _read_png_files, encoded=True), _rows_of_labels
    ),
    "DALI webdataset, JPEG": Contender(
        "shards", "nvidia.dali", lambda work: _dali(work, _read_shards, encoded=True), _rows_of_json
    ),
    "DALI numpy, raw": Contender(
        "npy", "nvidia.dali", lambda work: _dali(work, _read_npy, encoded=False), _rows_of_names
    ),
    "WebDataset + cv2, JPEG": Contender("shards", "webdataset", _webdataset),
    "LitData + cv2, JPEG": Contender("litdata", "litdata", _litdata),
    "Streaming + cv2, JPEG": Contender("mds", "streaming", _streaming, environment="mosaicml-streaming"),
    "SPDL + cv2, JPEG": Contender("jpeg", "spdl", _spdl),
}
