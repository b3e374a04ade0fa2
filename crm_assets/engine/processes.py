"""Worker processes: each runs a job of its own and sends its records back."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from crm_assets.concurrency import deaf_to_interrupts
from crm_assets.engine.checkpoint import SessionLine
from crm_assets.engine.work import TaskT
from crm_assets.engine.worker import Job, run_job
from crm_assets.errors import CrmAssetsError, InfrastructureError, InputError

__all__ = ["run_in_processes"]

Message = list[SessionLine] | int | Exception
"""Records; at its end how many sandboxes a job discarded, or the error that ended it."""


def run_in_processes(jobs: Sequence[Job[TaskT]]) -> Iterator[list[SessionLine] | int]:
    """Run each job in a process of its own; yields records as they come, and discarded sandboxes.

    Closing the generator, or an interrupt, stops the processes; what they have finished and not yet sent
    is lost.

    Raises:
        CrmAssetsError: a job failed, or its process ended unexpectedly.
    """
    # Not fork: this process may hold database connections and threads (Dagster's, for one).
    context = multiprocessing.get_context("spawn")
    children: list[BaseProcess] = []
    receivers: dict[Connection, BaseProcess] = {}
    try:
        for job in jobs:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(
                target=_child, args=(job, sender), name=f"crm-assets-{job.number}", daemon=True
            )
            with deaf_to_interrupts():
                child.start()
            sender.close()
            children.append(child)
            receivers[receiver] = child
        while receivers:
            for ready in wait(list(receivers)):
                assert isinstance(ready, Connection)
                message = _receive(ready, receivers[ready])
                yield message
                if isinstance(message, int):
                    ready.close()
                    del receivers[ready]
    finally:
        _stop(children)
        for receiver in receivers:
            receiver.close()


def _receive(receiver: Connection, child: BaseProcess) -> list[SessionLine] | int:
    """Return one message.

    Raises:
        CrmAssetsError: the error that ended the job.
    """
    try:
        message: Message = receiver.recv()
    except (EOFError, OSError):  # at the end of a message, or in the middle of one
        child.join()
        raise InfrastructureError(
            f"A worker process ended unexpectedly (exit code {child.exitcode}); what is finished is kept."
        ) from None
    if isinstance(message, Exception):
        raise message
    return message


def _stop(children: Sequence[BaseProcess]) -> None:
    """End workers that still run; each rolls back by losing its connections."""
    for child in children:
        if child.is_alive():
            child.terminate()
    for child in children:
        child.join(10)
        if child.is_alive():
            child.kill()
            child.join()


def _child(job: Job[TaskT], sender: Connection) -> None:
    """Run a job in a worker process."""
    try:
        sender.send(asyncio.run(run_job(job, sender.send)))
    except InputError as error:
        sender.send(InputError(str(error)))  # one of its subclasses might not survive the way
    except CrmAssetsError as error:
        sender.send(InfrastructureError(str(error)))
    except BrokenPipeError:
        pass  # the parent is gone
    except Exception as error:
        with suppress(Exception):  # an error that cannot be pickled is at least printed below
            sender.send(error)
        raise
    finally:
        sender.close()
