from __future__ import annotations

from django.db import migrations

from products.seeding import agmarknet


class Migration(migrations.Migration):
    dependencies = [("products", "0001_initial")]

    operations = [migrations.RunPython(lambda apps, schema_editor: agmarknet.load(apps), migrations.RunPython.noop)]
