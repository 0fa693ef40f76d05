"""Docstrings of the public surface: what `fastrad` and its packages export, and the public methods of those classes.

Every parameter is named in the docstring, and what a function returns and raises by itself has its section. Examples in
docstrings (`>>>`) are run.
"""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import fastrad
from fastrad.errors import FastradError

SINGLE_FILES = (
    "fastrad.loading.augment",
    "fastrad.errors",
    "fastrad.archives.manifest",
    "fastrad.models.resnet",
    "fastrad.models.weights",
)


def modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(fastrad.__path__, "fastrad.")]
    return ["fastrad", *(name for name in names if not name.endswith("__main__"))]


def exported(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not name.startswith("__")]
    if module.__name__ in SINGLE_FILES:
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        return [name for name in own if not name.startswith("_")]
    return []


def public_objects() -> Iterator[tuple[str, Any]]:
    for name in modules():
        module = import_module(name)
        for item in exported(module):
            value = getattr(module, item)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{name}.{item}", value


def methods(owner: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(owner).items():
        value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name, value


OBJECTS = dict(public_objects())
FUNCTIONS = {name: value for name, value in OBJECTS.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in OBJECTS.items() if inspect.isclass(value)}
METHODS = {f"{name}.{method}": value for name, owner in CLASSES.items() for method, value in methods(owner)}


def section(text: str, title: str) -> bool:
    return re.search(rf"^\s*{title}\n\s*-{{{len(title)}}}$", text, re.MULTILINE) is not None


def raises_ours(function: Callable) -> bool:
    """Whether a `raise` of one of our errors stands in the function itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names = {node.exc.func.id for node in ast.walk(tree) if _is_raise_of_name(node)}
    errors = {name for name, value in vars(import_module("fastrad.errors")).items() if _is_error(value)}
    return bool(names & errors)


def _is_raise_of_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, FastradError)


def _bare(name: str, value: Any) -> str:
    text = inspect.getdoc(value.fget if isinstance(value, property) else value) or ""
    generated = dataclasses.is_dataclass(value) and text.startswith(f"{getattr(value, '__name__', '')}(")
    return "" if text and not generated else f"{name}: no docstring of its own"


def _unnamed_parameters(name: str, function: Callable) -> str:
    text = inspect.getdoc(function) or ""
    parameters = [word for word in inspect.signature(function).parameters if word not in ("self", "cls")]
    missing = [word for word in parameters if not re.search(rf"\b{re.escape(word)}s?\b", text)]
    return f"{name}: parameters {', '.join(missing)}" if missing and len(parameters) > 1 else ""


def _missing_sections(name: str, function: Callable) -> str:
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    silent = signature.return_annotation in (None, "None") or section(text, "Returns") or section(text, "Yields")
    if len(signature.parameters) > 1 and not silent:
        return f"{name}: Returns"
    return f"{name}: Raises" if raises_ours(function) and not section(text, "Raises") else ""


def _unnamed_fields(name: str, owner: type) -> str:
    text = " ".join(inspect.getdoc(base) or "" for base in owner.__mro__ if base.__module__.startswith("fastrad"))
    words: list[str] = []
    if dataclasses.is_dataclass(owner):
        words = [field.name for field in dataclasses.fields(owner) if not field.name.startswith("_")]
    elif "__init__" in vars(owner) and not issubclass(owner, Exception):
        words = list(inspect.signature(owner).parameters)
    missing = [word for word in words if not re.search(rf"\b{re.escape(word)}\b", text)]
    return f"{name}: fields {', '.join(missing)}" if missing else ""


def test_every_public_name_says_what_its_reader_needs():
    """One line per offender: a docstring of its own, each parameter, what comes back, what is raised, each field."""
    methods_that_are_called = {name: value for name, value in METHODS.items() if inspect.isfunction(value)}
    found = [
        *(f"{name}: says nothing" for name in modules() if len((import_module(name).__doc__ or "").split()) < 5),
        *(_bare(name, value) for name, value in {**OBJECTS, **METHODS}.items()),
        *(_unnamed_parameters(name, value) for name, value in {**FUNCTIONS, **methods_that_are_called}.items()),
        *(_missing_sections(name, value) for name, value in FUNCTIONS.items()),
        *(_unnamed_fields(name, value) for name, value in CLASSES.items()),
    ]
    assert not [line for line in found if line]


def test_the_surface_is_what_is_looked_at():
    assert {"fastrad.Loader", "fastrad.dataset.BetonFile", "fastrad.models.weights.load_weights"} <= set(OBJECTS)
    assert len(METHODS) > 20


def test_examples_in_docstrings_give_what_they_say():
    for name in modules():
        failed, _ = doctest.testmod(import_module(name))
        assert failed == 0, name
