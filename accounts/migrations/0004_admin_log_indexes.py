from django.db import migrations, models

# The table is Django's, so no model of ours declares its indexes. The admin's front page asks for the newest entries
# of one user, and a history page for the entries of one object.
BY_USER = models.Index(fields=["user", "action_time"], name="admin_log_user")
BY_OBJECT = models.Index(fields=["content_type", "object_id"], name="admin_log_object")
# MySQL indexes a text by its first characters only. A BIGINT key has at most 20.
BY_OBJECT.fields_orders = [("content_type", ""), ("object_id", "(20)")]


# schema_editor instead of SQL: our indexes replace those that MySQL made for the foreign keys, and remove_index()
# makes them again.


def add_indexes(apps, schema_editor):
    for index in (BY_USER, BY_OBJECT):
        schema_editor.add_index(apps.get_model("admin", "LogEntry"), index)


def remove_indexes(apps, schema_editor):
    for index in (BY_USER, BY_OBJECT):
        schema_editor.remove_index(apps.get_model("admin", "LogEntry"), index)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_staff_manager"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [migrations.RunPython(add_indexes, remove_indexes, atomic=False)]
