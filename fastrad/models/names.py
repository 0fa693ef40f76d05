"""Where the tensors of a ResNet stand in a file of another tool, and what torchvision calls them.

In: what a weights file holds: a state dict, or dictionaries around it. Out: the tensors of one network under
torchvision's names. Lightning, torch.compile, DataParallel and the like put a prefix before every name, `nn.Sequential`
numbers the children, trainers keep a moving average beside the network: all of them leave the names of a residual
block as they are, and so those names tell where a network begins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from fastrad.errors import InputError

# First parts of names behind the pooling: of classifiers, and of what pretraining puts in their place.
HEADS = (
    *("fc", "head", "classifier", "last_linear", "linear"),
    *("projector", "projection", "projection_head", "proj", "proj_head", "predictor", "prediction_head"),
    *("contrastive_head", "mlp", "prototypes", "queue", "queue_ptr"),
)
# torch.compile, FSDP and activation checkpointing put these in anywhere
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_BLOCK = r"\d+\.(?:conv\d|bn\d|downsample\.\d)\.(?:weight|bias|running_mean|running_var)$"
_NAMED_BLOCK = re.compile(r"(?P<prefix>(?:.*?\.)??)layer(?P<stage>[1-4])\." + _BLOCK)
_NUMBERED_BLOCK = re.compile(r"(?P<prefix>(?:.*\.)?)(?P<stage>[4-7])\." + _BLOCK)
# The children of torchvision's network by number; RadImageNet's own files are of this kind.
_NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_POOLING = 8
_COPY = re.compile(r"(?:^|_)(?:ema|swa|averaged|momentum|teacher|target|key|k)(?:_|$)", re.IGNORECASE)
_MOST_ENTRIES = 200_000  # a ResNet-152 with its optimizer's state has some 3,000
_DEEPEST = 4  # dictionaries inside each other
_MOST_NETWORKS = 20


@dataclass(frozen=True)
class NamedState:
    """The entries of one network.

    Attributes
    ----------
    entries : dict of str to object
        By torchvision's names where the file's are recognised; heads and names that are no ResNet's are among them.
    in_file : dict of str to str
        What the file calls each.
    prefix : str
        What stands before the names in the file; "" where nothing does.
    notices : tuple of str
        What was left out, a line each, to be told behind the file's name.
    """

    entries: dict[str, object]
    in_file: dict[str, str]
    prefix: str
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    nest: tuple[str, ...]  # keys of the dictionaries around it
    key: str
    clean: str  # the key without wrappers
    value: object


@dataclass(frozen=True)
class _Place:
    """Where a network stands: in which dictionary, behind which prefix."""

    nest: tuple[str, ...]
    prefix: str
    numbered: bool

    def holds(self, entry: _Entry) -> bool:
        return entry.nest == self.nest and entry.clean.startswith(self.prefix)

    @property
    def is_copy(self) -> bool:
        """Whether its name says that it is a moving average, or the slow one of two networks."""
        return any(_COPY.search(part) for part in (*self.nest, *self.prefix.split(".")))

    def __str__(self) -> str:
        return ".".join((*self.nest, self.prefix)).rstrip(".") or "the state dict itself"


def find_network(loaded: Mapping[str, object]) -> NamedState:
    """Find the network in what a weights file holds.

    Of a network and its moving average the network is taken, and the notices say so.

    Parameters
    ----------
    loaded : mapping
        A state dict, or dictionaries around one or more.

    Returns
    -------
    NamedState
        Where no ResNet is recognised, the entries of the dictionary with most tensors as they are.

    Raises
    ------
    InputError
        If the file holds several networks and none of them is the obvious one, or two entries of one name. The message
        lacks the file's name.
    """
    entries = list(_flat(loaded))
    places = _places(entries)
    place, notices = _chosen(places, entries)
    own: dict[str, _Entry] = {}
    outside: list[_Entry] = []
    inner = [other for other in places if other != place and other.prefix.startswith(place.prefix)]
    for entry in entries:
        if not place.holds(entry) or any(other.holds(entry) for other in inner):
            if entry.nest == place.nest and isinstance(entry.value, Tensor):
                outside.append(entry)
            continue
        name = entry.clean[len(place.prefix) :]
        if (other := own.get(name)) is not None and not _same(other.value, entry.value):
            raise InputError(f"{other.key} and {entry.key} are both {name}, with other values; save one network alone")
        own[name] = entry
    averaged = [entry for entry in outside if entry.clean.rpartition(".")[2] == "n_averaged"]
    if averaged:
        notices.append("holds the average of a network over its training (torch.optim.swa_utils): that is taken")
    if left := [entry.key for entry in outside if entry not in averaged]:
        notices.append(f"{_tensors(len(left))} outside of {place} left out: {_first(left)}")
    if place.numbered:
        own = _by_name(own)
    return NamedState(
        {name: entry.value for name, entry in own.items()},
        {name: entry.key for name, entry in own.items()},
        next((entry.key[: -len(name)] for name, entry in own.items() if entry.key.endswith(name)), place.prefix),
        tuple(notices),
    )


def nearest_name(
    key: str, shape: tuple[int, ...], expected: Mapping[str, tuple[int, ...]], names: Collection[str]
) -> str:
    """What the reader is told of a name that is no ResNet's: the expected one most like it, and a prefix to strip.

    Parameters
    ----------
    key, shape
        The name and what stands under it.
    expected : mapping
        Name to shape.
    names : collection of str
        All names of the network: a prefix is one only where most expected names stand behind it.
    """
    inside = max((name for name in expected if key.endswith(name) and key != name), key=len, default="")
    prefix = key[: -len(inside)] if inside else ""
    if prefix and 2 * sum(prefix + name in names for name in expected) > len(expected):
        return f"the nearest expected name is {inside}: strip {prefix!r} from every name"
    alike = [name for name, wanted in expected.items() if wanted == shape] or list(expected)
    small = {name.casefold(): name for name in alike}
    nearest = small[get_close_matches(key.casefold(), small, 1, 0)[0]]
    in_case = ", in lower case" if nearest == key.casefold() else ""
    return f"the nearest expected name is {nearest}{in_case}"


def _flat(loaded: Mapping[str, object], nest: tuple[str, ...] = ()) -> Iterator[_Entry]:
    stack, seen = [(nest, loaded)], 0
    while stack:
        nest, mapping = stack.pop()
        for key, value in mapping.items():
            seen += 1
            if seen > _MOST_ENTRIES:
                raise InputError(f"holds more than {_MOST_ENTRIES:,} entries; save the model's state_dict() alone")
            if isinstance(value, Mapping):
                if len(nest) < _DEEPEST:
                    stack.append(((*nest, str(key)), value))
                continue
            text = str(key)
            yield _Entry(nest, text, ".".join(part for part in text.split(".") if part not in _WRAPPERS), value)


def _places(entries: list[_Entry]) -> list[_Place]:
    """Where all four stages of a ResNet stand; where none is whole, the place with most of one."""
    stages: dict[_Place, Counter[str]] = {}
    for entry in entries:
        for numbered, pattern in ((False, _NAMED_BLOCK), (True, _NUMBERED_BLOCK)):
            if isinstance(entry.value, Tensor) and (found := pattern.fullmatch(entry.clean)):
                place = _Place(entry.nest, found["prefix"], numbered)
                stages.setdefault(place, Counter())[found["stage"]] += 1
    whole = [place for place, seen in stages.items() if len(seen) == 4]
    return whole or sorted(stages, key=lambda place: -stages[place].total())[:1]


def _chosen(places: list[_Place], entries: list[_Entry]) -> tuple[_Place, list[str]]:
    if not places:
        tensors = Counter(entry.nest for entry in entries if isinstance(entry.value, Tensor))
        nest = tensors.most_common(1)[0][0] if tensors else max((entry.nest for entry in entries), key=len, default=())
        return _Place(nest, "", False), []
    if len(places) > _MOST_NETWORKS:
        raise InputError(f"holds {len(places):,} networks; save the state_dict() of the one that you want alone")
    plain = [place for place in places if not place.is_copy]
    among = plain or places
    among = sorted(among, key=lambda place: (len(place.nest), len(place.prefix), str(place)))
    chosen = among[0]
    others = [place for place in among if place != chosen]
    if differing := [place for place in others if not _same_network(chosen, place, entries)]:
        names = ", ".join(map(str, (chosen, *differing)))
        raise InputError(f"holds several networks ({names}); save the state_dict() of the one that you want alone")
    copies = [place for place in places if place.is_copy]
    if chosen.is_copy:
        return chosen, [f"holds nothing but a moving average or slow copy of a network: {chosen} is taken"]
    if copies:
        return chosen, [f"{chosen} is taken, not its moving average or slow copy {', '.join(map(str, copies))}"]
    return chosen, []


def _same_network(one: _Place, other: _Place, entries: list[_Entry]) -> bool:
    """Whether they are one network that was registered twice."""
    ours = {entry.clean[len(one.prefix) :]: entry.value for entry in entries if one.holds(entry)}
    theirs = {entry.clean[len(other.prefix) :]: entry.value for entry in entries if other.holds(entry)}
    blocks = [name for name in {*ours, *theirs} if (_NUMBERED_BLOCK if one.numbered else _NAMED_BLOCK).fullmatch(name)]
    return one.numbered == other.numbered and all(_same(ours.get(name), theirs.get(name)) for name in blocks)


def _same(one: object, other: object) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return False
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _by_name(own: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """From the numbers of `nn.Sequential` to torchvision's names; a single linear layer at the end is the head."""
    named, head = {}, {}
    for key, entry in own.items():
        first, dot, rest = key.partition(".")
        if first.isdecimal() and int(first) >= _POOLING:
            head[key] = entry
        else:
            named[_NUMBERED.get(first, first) + dot + rest] = entry
    places = {key.rpartition(".")[0] for key in head}
    for key, entry in head.items():
        part = key.rpartition(".")[2]
        is_linear = len(head) == 2 and len(places) == 1 and part in ("weight", "bias")
        named[f"fc.{part}" if is_linear else f"head.{key}"] = entry
    return named


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count:,} tensors"


def _first(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
