"""What processes of every stage have in common: none of them outlives the command that started it, and Ctrl-C reaches
the parent, always, and nobody else. None of them looks for modules in the current directory: a folder there that is
called fastrad (a clone's parent has one) or a file numpy.py would be imported in the place of what the parent uses.
SIGTERM and SIGHUP find no process half started either.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from fastrad.errors import FastradError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHARED_MEMORY = "/dev/shm"
_VANISHED = (EOFError, OSError)  # what a worker meets as it begins where its parent, or their locks, are gone


class WorkerPool(ProcessPoolExecutor):
    """An executor whose processes never see Ctrl-C, are never left half started by one, and end with their parent.

    Parameters
    ----------
    workers : int
        Number of processes, started as work is submitted.
    method : str
        "spawn" or "forkserver", as of `multiprocessing`.
    initializer : callable, optional
        What each process calls first.

    Raises
    ------
    FastradError
        If the machine lets no process share a lock with this one.
    """

    def __init__(self, workers: int, method: str, initializer: Callable[[], None] | None = None) -> None:
        context = multiprocessing.get_context(method)
        try:
            super().__init__(workers, mp_context=context, initializer=_begin, initargs=(initializer,))
        except (OSError, ImportError) as error:  # an ImportError where the system has no semaphores at all
            what = getattr(error, "strerror", None) or str(error)
            raise FastradError(
                f"{_SHARED_MEMORY}: worker processes need it, and it is missing, full or not writable ({what}); mount "
                f"it (`mount -t tmpfs tmpfs {_SHARED_MEMORY}`; in a container `--shm-size 64m`), or delete what fills "
                "it"
            ) from error

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """As of `Executor`; Ctrl-C waits until the process that the work may need is there."""
        with uninterrupted():
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all work; after an error give up what has not begun."""
        self.shutdown(wait=True, cancel_futures=kind is not None)


def fall_silent_when_orphaned() -> None:
    """In what workers are forked from: let one whose parent is gone before it has begun end without a traceback."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, _VANISHED):
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook


def end_fork_server() -> None:
    """End what workers are forked from, where it was begun, and wait for that: a command leaves nothing behind."""
    server = forkserver._forkserver  # as Python's own tests do: there is no public way
    process = getattr(server, "_forkserver_pid", None)
    if process is not None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
        server._stop()  # type: ignore[attr-defined]


def deliver_lost_interrupts() -> None:
    """Raise KeyboardInterrupt again where Python drops it: inside a `__del__` or a weak reference's callback."""

    def again(unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            # raised at once, it would be dropped here too; sent to the main thread, it wakes it from waiting
            threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        else:
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = again


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the signals that end a command wait for the end of the block, and keep Ctrl-C from what is begun inside.

    A process that is only half started when KeyboardInterrupt comes is known to nobody: it would not be ended with the
    others, and complain of what it no longer finds.
    """
    if threading.current_thread() is not threading.main_thread():  # another thread gets no KeyboardInterrupt
        with _no_current_directory(), _blocked():
            yield
        return
    came: list[tuple] = []
    handled = [number for number in _ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, lambda *what: came.append(what)) for number in handled}
    try:
        with _no_current_directory(), _blocked():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            number, handler = came[0][0], before[came[0][0]]
            if callable(handler):
                handler(*came[0])
            else:
                os.kill(os.getpid(), number)


def import_settings() -> dict[str, str]:
    """The environment of an interpreter that imports this fastrad, and nothing from the current directory."""
    place = os.path.abspath(__file__).rpartition(f"{os.sep}fastrad{os.sep}")[0]
    settings = {"PYTHONSAFEPATH": "1"}
    if os.path.basename(place) not in ("site-packages", "dist-packages"):  # those are looked through after the library
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH")]))
    return settings


@contextmanager
def _no_current_directory() -> Iterator[None]:
    """Let interpreters that are begun inside have `import_settings`."""
    settings = import_settings()
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _blocked() -> Iterator[None]:
    """Block SIGINT for this thread; processes that it begins inherit that, from their first instruction on."""
    resource_tracker.ensure_running()  # begun inside, as with the first process, it would lift the block at once
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(initializer: Callable[[], None] | None) -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a fork server that someone else started has not blocked it
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer()


@contextmanager
def team(count: int, function: Callable[..., None], *arguments: Any) -> Iterator[list[Connection]]:
    """`function(number, *arguments)` in `count` processes of their own, numbered from 0, for the length of a block.

    Whoever is still at work when the block ends, by an error or by Ctrl-C, is ended with it.

    Parameters
    ----------
    count : int
    function : callable
        Of a module; it works, and returns nothing.
    arguments
        Small things that can be pickled: the parent waits until a process has read them.

    Yields
    ------
    list of Connection
        One a process. It can be read once: None where the work is done, or the exception that ended it. It is closed
        from the other side where the process ended without a word (a lack of memory): EOFError.
    """
    context = multiprocessing.get_context("spawn")
    ears, processes = [], []
    try:
        for number in range(count):
            ear, mouth = context.Pipe(duplex=False)
            process = context.Process(target=_work_and_tell, args=(mouth, function, number, arguments), daemon=True)
            with uninterrupted():
                process.start()
            mouth.close()
            ears.append(ear)
            processes.append(process)
        yield ears
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        for ear in ears:
            ear.close()


def _work_and_tell(mouth: Connection, function: Callable[..., None], number: int, arguments: tuple) -> None:
    _begin(None)
    try:
        function(number, *arguments)
    except Exception as error:
        mouth.send(error)
    else:
        mouth.send(None)
