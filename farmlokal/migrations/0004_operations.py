from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("farmlokal", "0003_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Operations",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "verbose_name_plural": "operations",
                "permissions": (
                    ("view_operations", "Can view the operations page"),
                    ("force_breaker", "Can open, close and reset circuit breakers"),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
