from django.db import migrations, models

from farmlokal.mysql.operations import Reviewed

CHANGED = (
    "ALTER TABLE products_product"
    " DROP INDEX product_created_at, ADD INDEX product_created_at (is_active, created_at, id{price}),"
    " DROP INDEX product_name, ADD INDEX product_name (is_active, name, id{price})"
)


def add_price(apps, schema_editor):
    if not has_price(schema_editor.connection):
        schema_editor.execute(CHANGED.format(price=", price"))


def remove_price(apps, schema_editor):
    if has_price(schema_editor.connection):
        schema_editor.execute(CHANGED.format(price=""))


def has_price(connection):
    """A migration that was killed may have changed the indexes already."""
    with connection.cursor() as cursor:
        indexes = connection.introspection.get_constraints(cursor, "products_product")
    return "price" in indexes["product_name"]["columns"]


class Migration(migrations.Migration):
    """A range of prices in another order is checked within the index."""

    dependencies = [
        ("products", "0009_load_lease"),
    ]

    operations = [
        Reviewed(
            "One statement replaces both indexes, so the release before finds their names at all times.",
            [
                migrations.SeparateDatabaseAndState(
                    [migrations.RunPython(add_price, remove_price, atomic=False)],
                    [
                        migrations.RemoveIndex("product", "product_created_at"),
                        migrations.AddIndex(
                            "product",
                            models.Index(fields=["is_active", "created_at", "id", "price"], name="product_created_at"),
                        ),
                        migrations.RemoveIndex("product", "product_name"),
                        migrations.AddIndex(
                            "product", models.Index(fields=["is_active", "name", "id", "price"], name="product_name")
                        ),
                    ],
                ),
            ],
        ),
    ]
