"""What a job does: the base classes of all actions, and their outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection, transaction

from farmlokal.counts import Total
from farmlokal.http.problems import Problem

if TYPE_CHECKING:  # at run time, models.py is loaded later
    from farmlokal.jobs.models import Job

ITEM_ERRORS = (ValidationError, Problem)


class Taken(NamedTuple):
    """The next items of a job."""

    items: Sequence[Any]
    cursor: Any  # the position after these items, as JSON
    is_last: bool  # no items follow


def take_ids(ids: Sequence[int], cursor: int | None, count: int) -> Taken:
    """The next of ascending ids. The cursor is the last id taken before."""
    rest = [pk for pk in ids if cursor is None or pk > cursor]
    return Taken(rest[:count], rest[:count][-1] if rest else cursor, is_last=len(rest) <= count)


class Failure(NamedTuple):
    key: str  # names the item for staff
    reason: str


class Outcome(NamedTuple):
    changed: int = 0
    failures: Sequence[Failure] = ()


class Action(ABC):
    """A kind of job. It has no state: all is in the job's row, because any process may do the next step."""

    name: ClassVar[str]  # in the job's row: a later release must still know it
    title: ClassVar[str]
    permission: ClassVar[str] = ""  # needed to start, drive and stop such a job
    max_items: ClassVar[int] = 50  # in a step: it must take well under a second
    result_template: ClassVar[str] = ""  # a part of the page of a finished job, with job and the values of result()

    def describe(self, job: Job) -> str:
        """One line for staff."""
        return self.title

    def permission_of(self, job: Job) -> str:
        return self.permission

    def count(self, job: Job) -> Total | None:
        """The number of items, if it is cheap to know. Called once, when the job starts."""
        return None

    def result(self, job: Job, user: Any) -> dict[str, Any]:
        """The values for result_template. user: who looks at the page."""
        return {}

    @abstractmethod
    def take(self, job: Job, count: int) -> Taken:
        """At most `count` items after job.cursor. Runs outside the step's transaction, and takes no locks.

        Raises ValidationError or Problem if the job cannot go on.
        """

    @abstractmethod
    def apply(self, job: Job, items: Sequence[Any]) -> Outcome:
        """Change these items, in the step's transaction. Lock them first: they may have changed since take().

        If it raises, nothing of the step is saved. The engine then tries one item at a time.
        """

    def key(self, item: Any) -> str:
        return str(item)


class ItemAction(Action):
    """Changes one item after the other, each in a savepoint. A ValidationError or Problem fails that item only."""

    def lock(self, job: Job, items: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
        """(item, row) of the items that still exist and match. The others are done, and unchanged."""
        return [(item, item) for item in items]

    def prepare(self, job: Job) -> Any:
        """What apply_one() needs beside the row, read once for each step."""
        return job.parameters

    @abstractmethod
    def apply_one(self, row: Any, prepared: Any) -> bool:
        """False if the row has the wanted values already."""

    def apply(self, job: Job, items: Sequence[Any]) -> Outcome:
        changed, failures = 0, []
        prepared = self.prepare(job)
        for item, row in self.lock(job, items):
            try:
                with transaction.atomic():
                    changed += self.apply_one(row, prepared)
            except ITEM_ERRORS as error:
                if connection.needs_rollback:  # a deadlock has ended the whole transaction
                    raise
                failures.append(Failure(self.key(item), reason_of(error)))
        return Outcome(changed, failures)


def reason_of(error: Exception) -> str:
    if isinstance(error, Problem):
        return str(error.detail)
    if isinstance(error, ValidationError):
        return _text_of(error)
    return f"{type(error).__name__}: {error}"


def _text_of(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    fields: Mapping[str, Sequence[str]] = error.message_dict
    return " ".join(f"{name}: {' '.join(messages)}" for name, messages in fields.items())
