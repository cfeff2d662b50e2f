"""The number of SQL statements of a job's step, as the server counts them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dev.testing.databases import statements_sent
from dev.testing.offers import make_offers
from farmlokal.jobs import registry, steps
from farmlokal.jobs.models import Job
from products.listing import statistics
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture(autouse=True)
def _delete_rows(live_database: None) -> Iterator[None]:
    yield
    for model in (Job, Product):
        model._default_manager.all().delete()


def statements_of_a_step(name: str, **parameters: str) -> int:
    make_offers({"name": f"Mango {n}", "price": 100} for n in range(2 * steps.FIRST_ITEMS))
    action = registry.find(name)
    assert action
    job = steps.start(action, "asha", parameters=parameters, filter="q=mango")
    statistics.current()  # this process has its sample
    sent = statements_sent(lambda: steps.advance(job.pk, 0))
    job.refresh_from_db()
    assert job.changed == steps.FIRST_ITEMS
    return sent


def test_price_takes_five_statements_a_product_and_seven_a_step() -> None:
    # SELECT job; SELECT matching products
    # BEGIN; SELECT job FOR UPDATE; SELECT products FOR UPDATE
    # for each product: SAVEPOINT; UPDATE product; UPDATE postings; INSERT its change; RELEASE SAVEPOINT
    # UPDATE job; COMMIT
    assert statements_of_a_step("product.price_percent", percent="5") == 5 * steps.FIRST_ITEMS + 7
