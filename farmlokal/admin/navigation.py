"""The sections of the admin, and which of them a user may open. Pages of other packages are named by their URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.http import HttpRequest
from django.urls import reverse


class Page(NamedTuple):
    """permissions: any one of them opens the page."""

    label: str
    url_name: str
    permissions: tuple[str, ...]
    model: str = ""  # as in "products.product"


def _list(label: str, model: str) -> Page:
    app, name = model.split(".")
    return Page(label, f"admin:{app}_{name}_changelist", (f"{app}.view_{name}", f"{app}.change_{name}"), model)


class Area(NamedTuple):
    label: str
    about: str  # one line for the overview
    pages: tuple[Page, ...]


AREAS = (
    Area("Products", "What farms offer: price, unit and stock.", (_list("Products", "products.product"),)),
    Area("Farms", "Who grows it, and where.", (_list("Farms", "products.farm"),)),
    Area(
        "Vocabulary",
        "Names that products share, and that clients filter by.",
        (
            _list("Commodities", "products.commodity"),
            _list("Categories", "products.category"),
            _list("Districts", "products.district"),
            _list("States", "products.state"),
        ),
    ),
    Area("Webhooks", "Changes that the partner sent.", (_list("Webhooks", "integrations.webhookevent"),)),
    Area("Jobs", "Work on many rows at once.", (_list("Jobs", "farmlokal.job"),)),
    Area(
        "Operations",
        "Traffic, the partner and the databases.",
        (Page("Operations", "operations", ("farmlokal.view_operations",)),),
    ),
    Area("Users", "Staff and their roles.", (_list("Users", "accounts.user"), _list("Groups", "auth.group"))),
    Area("API clients", "Programs that may write to the catalogue.", (_list("API clients", "accounts.apiclient"),)),
)


class Link(NamedTuple):
    page: Page
    url: str
    is_current: bool

    @property
    def label(self) -> str:
        return self.page.label


class Section(NamedTuple):
    area: Area
    links: Sequence[Link]  # at least one

    @property
    def label(self) -> str:
        return self.area.label

    @property
    def url(self) -> str:
        return self.links[0].url

    @property
    def is_current(self) -> bool:
        return any(link.is_current for link in self.links)


def sections(request: HttpRequest) -> list[Section]:
    """The sections with a page that the user may open."""
    opened = [Section(area, list(_links(request, area.pages))) for area in AREAS]
    return [section for section in opened if section.links]


def _links(request: HttpRequest, pages: Sequence[Page]) -> Iterator[Link]:
    for page in pages:
        if any(request.user.has_perm(name) for name in page.permissions):
            url = reverse(page.url_name)
            yield Link(page, url, request.path.startswith(url))
