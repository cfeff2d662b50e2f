"""The pages that import and export products: uploads, buttons, downloads and permissions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from openpyxl import load_workbook

from dev.testing.files import checked, start_check, start_export, upload_rows
from dev.testing.jobs import finish
from dev.testing.offers import make_offer, make_offers
from dev.testing.staff import make_staff
from farmlokal.jobs import steps
from farmlokal.jobs.models import Job
from products.files import uploads
from products.files.columns import COLUMNS
from products.files.storage import PIECE_BYTES, export_rows
from products.models import Commodity, FilePiece, Product, ProductFile

pytestmark = pytest.mark.django_db

PRODUCTS = "/admin/products/product/"
IMPORT, PIECES, EXPORT = f"{PRODUCTS}import/", f"{PRODUCTS}import/pieces/", f"{PRODUCTS}export/"
EDITOR = ("view_job", "view_product", "add_product", "change_product")


@pytest.fixture
def editor(client: Client) -> Client:
    client.force_login(make_staff(*EDITOR))
    return client


def sent(content: bytes, name: str = "prices.csv") -> dict[str, Any]:
    return {"file": SimpleUploadedFile(name, content)}


def page_of(job: Job) -> str:
    return f"/admin/farmlokal/job/{job.pk}/change/"


def test_small_file_is_checked_and_imported_without_javascript(editor: Client) -> None:
    product = make_offer()
    answer = editor.post(IMPORT, sent(f"id,price\n{product.pk},45.50\n0,1\n".encode()), follow=True)
    page = answer.content.decode()
    assert "Check prices.csv for import" in page
    assert "<td>120.00</td><td>45.50</td>" in page
    assert "no product has the id 0" in page
    assert "Import the 1 good row<" in page
    job = Job.objects.get()
    answer = editor.post(f"{IMPORT}{job.pk}/start/", follow=True)
    assert "Import prices.csv" in answer.content.decode()
    product.refresh_from_db()
    assert str(product.price) == "45.50"
    assert "This file has been imported: <a" in editor.get(page_of(job)).content.decode()


def test_file_of_more_than_a_piece_needs_no_javascript(editor: Client) -> None:
    """The browser's form sends it at once."""
    lines = "".join(f"{number},1\n" for number in range(1, 80_000))
    content = f"id,price\n{lines}".encode()
    assert len(content) > PIECE_BYTES
    assert "Check prices.csv for import" in editor.post(IMPORT, sent(content), follow=True).content.decode()


def test_form_that_is_sent_twice_leaves_the_first_check_its_file(
    editor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request looked for the upload before the first one had read it."""
    file = upload_rows("id,price", [[make_offer().pk, "45"]])
    monkeypatch.setattr(uploads, "_pending", lambda *_: ProductFile(pk=file.pk))
    page = editor.post(IMPORT, {"upload": file.pk}).content.decode()
    assert "The file was sent already." in page
    assert checked(file).done == 1


def test_second_click_leads_to_the_same_job(editor: Client) -> None:
    job = checked(upload_rows("id,price", [[make_offer().pk, "45"]]))
    first, second = (editor.post(f"{IMPORT}{job.pk}/start/")["Location"] for _ in range(2))
    assert first == second
    assert Job.objects.count() == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id,cost\n7,1\n", "Unknown columns: cost."),
        ("id,name\n7,Café\n".encode("latin1"), "The file is not UTF-8: it has the byte 0xE9"),
        (b"PK\x03\x04", "not a readable XLSX workbook"),
    ],
)
def test_unreadable_file_is_explained_and_not_kept(editor: Client, content: bytes, reason: str) -> None:
    answer = editor.post(IMPORT, sent(content))
    assert reason in answer.content.decode()
    assert not ProductFile.objects.exists()
    assert not Job.objects.exists()


def test_form_without_a_file_is_explained(editor: Client) -> None:
    assert "Choose a file." in editor.post(IMPORT).content.decode()
    assert "The file is empty." in editor.post(IMPORT, sent(b"")).content.decode()


def send_piece(client: Client, content: bytes, **query: Any) -> Any:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return client.generic("POST", f"{PIECES}?{text}", content, content_type="application/octet-stream")


def test_large_file_arrives_in_pieces(editor: Client) -> None:
    product = make_offer()
    content = f"id,price,description\n{product.pk},45,{'x' * 10_000}\n".encode()
    upload = send_piece(editor, content[:5000], number=0, name="large.csv").json()["upload"]
    for _ in range(2):  # the second time after a lost answer
        assert send_piece(editor, content[5000:], number=1, upload=upload).json() == {"upload": upload}
    editor.post(IMPORT, {"upload": upload})
    job = Job.objects.get()
    assert (job.parameters["name"], job.status, job.failed) == ("large.csv", "finished", 0)
    assert ProductFile.objects.get().updated == 1


@pytest.mark.parametrize(
    ("content", "query"),
    [
        (b"", {"number": 0}),
        (b"x" * (PIECE_BYTES + 1), {"number": 0}),
        (b"x", {"number": 64}),
        (b"x", {"number": "-1"}),
        (b"x", {"number": "1" * 30}),
        (b"x", {"number": 0, "upload": 999}),
        (b"x", {"number": 0, "upload": "x"}),
    ],
)
def test_bad_piece_is_refused(editor: Client, content: bytes, query: dict[str, Any]) -> None:
    answer = send_piece(editor, content, **query)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert not FilePiece.objects.exists()


def test_upload_of_another_user_is_refused(editor: Client) -> None:
    upload = send_piece(editor, b"id,price\n7,1\n", number=0).json()["upload"]
    editor.force_login(make_staff(*EDITOR, name="ravi"))
    assert send_piece(editor, b"x", number=1, upload=upload).status_code == 400
    assert "The upload has ended." in editor.post(IMPORT, {"upload": upload}).content.decode()


def test_read_upload_takes_no_more_pieces(editor: Client) -> None:
    file = upload_rows("id,price", [[1, 1]])
    assert send_piece(editor, b"x", number=0, upload=file.pk).status_code == 400


def test_import_starts_only_after_its_check(editor: Client) -> None:
    job = start_check(upload_rows("id,price", [[make_offer().pk, "45"]]))
    assert editor.post(f"{IMPORT}{job.pk}/start/").status_code == 404
    steps.stop(job.pk)
    assert editor.post(f"{IMPORT}{job.pk}/start/").status_code == 404
    assert editor.post(f"{IMPORT}{finish(start_export()).pk}/start/").status_code == 404


def test_check_without_good_changes_offers_no_import(editor: Client) -> None:
    job = checked(upload_rows("id,price", [[0, "45"]]))
    page = editor.get(page_of(job)).content.decode()
    assert "There is nothing to import." in page
    assert "/start/" not in page


def test_export_of_a_filter_is_downloaded_as_csv_and_xlsx(editor: Client) -> None:
    products = make_offers({"name": f"Mango {n}", "organic": n < 2} for n in range(5))
    page = editor.get(EXPORT, {"organic": "true"}).content.decode()
    assert "2 products will be exported" in page
    editor.post(f"{EXPORT}?organic=true")
    job = Job.objects.get()
    page = editor.get(page_of(job)).content.decode()
    for form, kind in (("csv", "text/csv"), ("xlsx", "spreadsheetml")):
        url = f"{EXPORT}{job.pk}/{form}/"
        assert f'href="{url}"' in page
        answer = editor.get(url)
        assert kind in answer["Content-Type"]
        assert answer["Content-Disposition"].endswith(f'-{job.pk}.{form}"')
    sheet = load_workbook(io.BytesIO(answer.getvalue())).active
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0] == COLUMNS
    assert sorted(row[0] for row in rows[1:]) == [product.pk for product in products[:2]]
    assert rows[1][7] == 50  # a number, so that spreadsheets can add it up


def run_export_action(client: Client, query: str = "", **values: Any) -> list[int]:
    """The ids in the file of the list's action."""
    client.post(f"{PRODUCTS}{query}", {"action": "export", "index": "0", **values})
    job = Job.objects.latest("pk")
    return sorted(int(row[0]) for row in export_rows(ProductFile.objects.get(pk=job.parameters["file"])))


def test_selected_products_are_exported(editor: Client) -> None:
    products = [product.pk for product in make_offers({"name": f"Mango {n}"} for n in range(5))]
    assert run_export_action(editor, _selected_action=products[1:3]) == products[1:3]


@pytest.mark.parametrize("keys", [range(1, 102), [-1]])
def test_refused_selection_is_explained(editor: Client, keys: Sequence[int]) -> None:
    """A page has 101 rows if the product with the searched number comes before a full page."""
    answer = editor.post(PRODUCTS, {"action": "export", "_selected_action": keys}, follow=True)
    assert "Select 1 to 100 products, or all that match." in answer.content.decode()
    assert not Job.objects.exists()


def test_all_products_of_the_list_are_exported(editor: Client) -> None:
    products = [product.pk for product in make_offers({"name": f"Mango {n}"} for n in range(5))]
    make_offer(name="Zebra", commodity=Commodity.objects.get(slug="turmeric"))
    exported = run_export_action(editor, "?q=mango", _selected_action=products[1], select_across="1")
    assert exported == products


def test_list_links_to_import_and_export_of_its_filter(editor: Client) -> None:
    page = editor.get(f"{PRODUCTS}?q=mango").content.decode()
    assert f'href="{IMPORT}"' in page
    assert f'href="{EXPORT}?q=mango"' in page
    editor.force_login(make_staff("view_product", name="ravi"))
    page = editor.get(PRODUCTS).content.decode()
    assert IMPORT not in page
    assert f'href="{EXPORT}"' in page


@pytest.mark.parametrize("query", ["colour=red", "withdrawn=maybe", "ids=x", "price_min=x"])
def test_bad_filter_of_an_export_is_refused(editor: Client, query: str) -> None:
    assert editor.get(f"{EXPORT}?{query}").status_code == 400
    assert editor.post(f"{EXPORT}?{query}").status_code == 400


@pytest.mark.parametrize("form", ["pdf", "CSV", "xlsx.exe"])
def test_unknown_format_is_not_found(editor: Client, form: str) -> None:
    assert editor.get(f"{EXPORT}{finish(start_export()).pk}/{form}/").status_code == 404


def test_unfinished_export_cannot_be_downloaded(editor: Client) -> None:
    make_offer()
    job = start_export()
    assert editor.get(f"{EXPORT}{job.pk}/csv/").status_code == 404
    assert "Download" not in editor.get(page_of(job)).content.decode()


def test_deleted_file_is_explained(editor: Client) -> None:
    export, check = finish(start_export()), checked(upload_rows("id,price", [[make_offer().pk, "45"]]))
    ProductFile.objects.all().delete()
    for job in (export, check):
        assert "The file has been deleted" in editor.get(page_of(job)).content.decode()
    assert editor.get(f"{EXPORT}{export.pk}/csv/").status_code == 404
    assert editor.post(f"{IMPORT}{check.pk}/start/").status_code == 404


@pytest.mark.parametrize(
    ("permissions", "may_import", "may_export"),
    [
        (EDITOR, True, True),
        (("add_product", "view_product"), False, True),
        (("change_product", "view_product"), False, True),
        (("add_product", "change_product"), True, False),
        (("view_job",), False, False),
    ],
)
def test_each_url_needs_its_permissions(
    client: Client, permissions: tuple[str, ...], may_import: bool, may_export: bool
) -> None:
    check = checked(upload_rows("id,price", [[make_offer().pk, "45"]]))
    export = finish(start_export())
    client.force_login(make_staff(*permissions))
    imports = [client.get(IMPORT), client.post(IMPORT), send_piece(client, b"x", number=0)]
    imports.append(client.post(f"{IMPORT}{check.pk}/start/"))
    exports = [client.get(EXPORT), client.post(EXPORT)]
    exports += [client.get(f"{EXPORT}{export.pk}/{form}/") for form in ("csv", "xlsx")]
    assert {answer.status_code != 403 for answer in imports} == {may_import}
    assert {answer.status_code != 403 for answer in exports} == {may_export}
    if not may_import:
        assert Product.objects.filter(version=1).count() == 1


def test_viewer_of_jobs_gets_neither_button_nor_download(client: Client) -> None:
    check = checked(upload_rows("id,price", [[make_offer().pk, "45"]]))
    export = finish(start_export())
    client.force_login(make_staff("view_job"))
    assert "/start/" not in client.get(page_of(check)).content.decode()
    assert "Download" not in client.get(page_of(export)).content.decode()


def test_anonymous_visitor_is_sent_to_the_login(client: Client) -> None:
    for url in (IMPORT, EXPORT, f"{EXPORT}1/csv/"):
        assert client.get(url)["Location"].startswith("/admin/login/")
    assert client.post(PIECES)["Location"].startswith("/admin/login/")
