"""Generated clients call the service and get typed responses, also for problems."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from accounts.models import User
from dev.testing.npm import install_script
from dev.testing.offers import make_offers
from dev.testing.servers import running
from dev.testing.staff import make_staff, session_headers
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

GENERATOR = str(Path(sys.executable).with_name("openapi-python-client"))
TSC = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]
UNKNOWN_ID = 999_999_999_999
LIMIT_ERROR = {"parameter": "limit", "detail": "must be a whole number from 1 to 100."}
NAME_ERROR = {"pointer": "/name", "detail": "must have a letter or a digit."}


class Service(NamedTuple):
    url: str
    document: bytes
    products: list[Product]  # the first two by name
    headers: dict[str, str]  # of a staff session


@pytest.fixture(scope="module")
def service(live_database: None, database_environment: dict[str, str]) -> Iterator[Service]:
    products = make_offers([{"name": "Alphonso Mango"}, {"name": "Badami Mango"}, {"name": "Dasheri Mango"}])
    user = make_staff(name="client")
    with running(database_environment) as server:
        document = server.request("/openapi.json").body
        yield Service(f"http://localhost:{server.port}", document, products, session_headers(user))
    User.objects.filter(pk=user.pk).delete()


def run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python_client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the generated package."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "openapi.json").write_bytes(service.document)
    (folder / "config.yaml").write_text("post_hooks: []")  # by default it formats the package with ruff
    options = ["--path", "openapi.json", "--config", "config.yaml", "--meta", "none", "--fail-on-warning"]
    run(GENERATOR, "generate", *options, "--output-path", "generated_client", folder=folder)
    sys.path.insert(0, str(folder))
    yield "generated_client"
    sys.path.remove(str(folder))


def test_python_client_imports_every_module(python_client: str) -> None:
    package = import_module(python_client)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{python_client}.")]
    assert f"{python_client}.api.partner.receive_webhook" in names
    for name in names:
        import_module(name)


def call(python_client: str, operation: str, service: Service, *arguments: Any, **options: Any) -> Any:
    module = import_module(f"{python_client}.api.catalogue.{operation}")
    with import_module(python_client).Client(service.url, headers=service.headers) as client:
        return module.sync(*arguments, client=client, **options)


def test_python_client_reads_typed_products(service: Service, python_client: str) -> None:
    models = import_module(f"{python_client}.models")
    first, second, _ = service.products
    page = call(python_client, "list_products", service, sort=models.ListProductsSort.NAME, limit=2)
    assert isinstance(page, models.ProductPage)
    assert [(type(product), product.id) for product in page.results] == [
        (models.Product, first.pk),
        (models.Product, second.pk),
    ]
    fields = [models.ListProductsFieldsItem.NAME, models.ListProductsFieldsItem.PRICE]
    page = call(python_client, "list_products", service, ids=[second.pk, first.pk, UNKNOWN_ID], fields=fields)
    assert [(type(product), product.name) for product in page.results] == [
        (models.SelectedProduct, second.name),
        (models.SelectedProduct, first.name),
    ]
    assert page.missing == [UNKNOWN_ID]
    product = call(python_client, "get_product", service, first.pk)
    assert isinstance(product, models.Product)
    assert (product.created_at, product.commodity.slug) == (first.created_at, "mango")


def test_python_client_reads_problems(service: Service, python_client: str) -> None:
    models = import_module(f"{python_client}.models")
    problem = call(python_client, "list_products", service, limit=101)
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.code) == (400, "invalid-parameter")
    assert [error.to_dict() for error in problem.errors] == [LIMIT_ERROR]
    problem = call(python_client, "get_product", service, UNKNOWN_ID)
    assert isinstance(problem, models.Problem)
    assert problem.code == "not-found"


def test_python_client_writes(service: Service, python_client: str) -> None:
    models = import_module(f"{python_client}.models")

    def create(name: str) -> Any:
        farm, grade = service.products[0].farm_id, models.NewProductGrade.A
        body = models.NewProduct(name=name, commodity="mango", grade=grade, farm=farm, price="12.50")
        return call(python_client, "create_product", service, body=body)

    product = create("Zafran Mango")
    assert isinstance(product, models.Product)
    assert product.name == "Zafran Mango"
    problem = create("!!!")
    assert isinstance(problem, models.Problem)
    assert [error.to_dict() for error in problem.errors] == [NAME_ERROR]


def test_typescript_client_compiles_and_reads_typed_responses(service: Service) -> None:
    first, second, _ = service.products
    folder = Path(install_script("farmlokal/tests/clients", "call.ts")).parent
    (folder / "openapi.json").write_bytes(service.document)
    run("node", "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "-o", "schema.ts", folder=folder)
    run("node", "node_modules/typescript/bin/tsc", *TSC, "call.ts", folder=folder)
    output = run("node", "call.js", service.url, str(first.farm_id), json.dumps(service.headers), folder=folder)
    assert json.loads(output) == {
        "listed": [first.name, second.name],
        "selected": [{"id": each.pk, "name": each.name, "price": "50.00"} for each in (second, first)],
        "missing": [UNKNOWN_ID],
        "product": "mango",
        "created": "Zill Mango",
        "readProblem": {"status": 400, "code": "invalid-parameter", "errors": [LIMIT_ERROR]},
        "writeProblem": {"status": 400, "code": "invalid-parameter", "errors": [NAME_ERROR]},
    }
