from django.db import migrations, models

from farmlokal.mysql.operations import Reviewed


class Migration(migrations.Migration):
    """The new indexes first: the log has an index at any time."""

    dependencies = [("integrations", "0001_initial")]

    operations = [
        migrations.AddIndex("webhookevent", models.Index(fields=["received_at", "id"], name="webhook_log")),
        migrations.AddIndex(
            "webhookevent", models.Index(fields=["status", "received_at", "id"], name="webhook_log_status")
        ),
        migrations.AddIndex(
            "webhookevent", models.Index(fields=["type", "received_at", "id"], name="webhook_log_type")
        ),
        migrations.AddIndex(
            "webhookevent", models.Index(fields=["product_id", "received_at", "id"], name="webhook_log_product")
        ),
        Reviewed(
            "SQL of 0.1.0 names indexes of products only. The new ones begin with the same columns.",
            [
                migrations.RemoveIndex("webhookevent", "webhook_status"),
                migrations.RemoveIndex("webhookevent", "webhook_product"),
                migrations.RemoveIndex("webhookevent", "webhook_received"),
            ],
        ),
    ]
