"""manage.py create_staff and create_demo_staff."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from accounts.roles import ROLES

PASSWORD = "tall-mango-tree-9"


@pytest.fixture(autouse=True)
def _fast_hasher(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def create(*arguments: str) -> str:
    output = StringIO()
    call_command("create_staff", *arguments, stdout=output)
    return output.getvalue()


def answer_prompts(command: list[str], environment: Mapping[str, str], *lines: str) -> tuple[int, str]:
    """Run the command on a terminal of its own; type a line at each "Password" prompt. Returns status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment)
    answers, output = list(lines), b""
    while True:
        try:
            piece = os.read(terminal, 1000)
        except OSError:  # the command has ended
            piece = b""
        if not piece:
            break
        output += piece
        if answers and output.count(b": ") > len(lines) - len(answers):
            os.write(terminal, f"{answers.pop(0)}\n".encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode()


@pytest.mark.django_db
def test_generated_password_is_printed_and_works(client: Client) -> None:
    output = create("anna", "--role", "catalogue-editor", "--role", "auditor", "--generate-password")
    user = User.objects.get(username="anna")
    assert set(user.groups.values_list("name", flat=True)) == {"Catalogue editor", "Auditor"}
    assert user.is_staff
    assert not user.is_superuser
    assert user.has_perm("products.change_product")
    password = output.strip().rsplit(" ", 1)[1]
    assert user.check_password(password)
    assert client.login(username="anna", password=password)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["anna", "--role", "gardener"], 'no role "gardener". The roles are: Auditor, Catalogue editor, '),
        (["ASHA", "--role", "auditor"], "already exists"),
        (["an na", "--role", "auditor"], "Enter a valid username"),
        (["", "--role", "auditor"], "cannot be blank"),
        (["anna"], "--role"),
    ],
)
def test_bad_argument_is_named(arguments: list[str], message: str) -> None:
    User.objects.create_user("asha")
    with pytest.raises(CommandError, match=message.replace(".", r"\.")):
        create(*arguments, "--generate-password")
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_without_a_terminal_the_command_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO())
    with pytest.raises(CommandError, match="Use --generate-password"):
        create("anna", "--role", "auditor")
    assert not User.objects.exists()


@pytest.mark.usefixtures("live_database")
@pytest.mark.parametrize(
    ("lines", "status", "text"),
    [
        ([PASSWORD, PASSWORD], 0, "anna may log in as Auditor."),
        ([PASSWORD, "other"], 1, "The passwords differ."),
        (["12345", "12345"], 1, "too short"),
    ],
)
def test_terminal_is_asked_twice(
    database_environment: dict[str, Any], lines: list[str], status: int, text: str
) -> None:
    command = [sys.executable, "manage.py", "create_staff", "anna", "--role", "auditor"]
    try:
        ended, output = answer_prompts(command, database_environment, *lines)
        assert text in output
        assert PASSWORD not in output
        assert ended == status
        assert User.objects.filter(username="anna").count() == (status == 0)
    finally:
        User.objects.filter(username="anna").delete()


@pytest.mark.django_db
def test_demo_staff_are_created_and_printed_once() -> None:
    output = StringIO()
    call_command("create_demo_staff", stdout=output)
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert len(lines) == len(ROLES)
    for name, password in lines:
        user = User.objects.get(username=name)
        assert user.check_password(password)
        assert [group.name.lower().replace(" ", "-") for group in user.groups.all()] == [name]
    again = StringIO()
    call_command("create_demo_staff", stdout=again)
    assert again.getvalue() == ""


@pytest.mark.django_db
def test_demo_skips_a_role_that_was_deleted() -> None:
    Group.objects.get(name="Auditor").delete()
    call_command("create_demo_staff", stdout=StringIO())
    assert not User.objects.filter(username="auditor").exists()
