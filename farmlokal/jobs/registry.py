"""The known actions. Each app registers its own in AppConfig.ready()."""

from __future__ import annotations

from farmlokal.jobs.actions import Action

_actions: dict[str, Action] = {}


def register(*actions: Action) -> None:
    for action in actions:
        if type(_actions.setdefault(action.name, action)) is not type(action):
            raise ValueError(f"Two actions of jobs have the name {action.name}.")


def find(name: str) -> Action | None:
    """None for an action of another release, which this process must leave alone."""
    return _actions.get(name)


def names() -> list[str]:
    return list(_actions)
