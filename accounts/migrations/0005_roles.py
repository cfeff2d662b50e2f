from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_admin_log_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="GrantedPermission",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("role", models.CharField(max_length=150)),
                ("permission", models.CharField(max_length=201)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("role", "permission"), name="granted_permission"),
                ],
            },
        ),
    ]
