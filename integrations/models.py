"""The log of webhooks: deliveries, their outcomes and replays."""

from __future__ import annotations

from django.db import connection, models
from django.utils import timezone
from django.utils.text import Truncator

PARTNER = "partner"
BYTE_FOR_BYTE = "utf8mb4_bin"
MAX_ID_LENGTH = 255
MAX_TYPE_LENGTH = 100
MAX_ERROR_LENGTH = 2000
MAX_NAME_LENGTH = 150
SHORT_LENGTH = 36  # of an id in titles and lists
KEPT_DAYS = 30  # until prune deletes an event


class WebhookEvent(models.Model):
    """One event, however often it is delivered. The row and the event's effect are committed together."""

    class Status(models.TextChoices):
        PROCESSED = "processed"
        SUPERSEDED = "superseded"
        IGNORED = "ignored"
        FAILED = "failed"
        DEAD = "dead"

    # The sender stops after these. Superseded and ignored events may be replayed: meanwhile their type or product may
    # be known, or the product may be listed again.
    DONE = (Status.PROCESSED, Status.SUPERSEDED, Status.IGNORED)

    source = models.CharField(max_length=50, default=PARTNER, db_collation=BYTE_FOR_BYTE)
    webhook_id = models.CharField("id", max_length=MAX_ID_LENGTH, db_collation=BYTE_FOR_BYTE)
    type = models.CharField(max_length=MAX_TYPE_LENGTH)
    product_id = models.BigIntegerField("product", null=True)
    payload = models.BinaryField()  # the body, byte by byte
    headers = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=Status, default=Status.FAILED)  # until an attempt ends
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(default="")
    received_at = models.DateTimeField(default=timezone.now)
    attempted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "webhook"
        ordering = ("-id",)
        default_permissions = ("view",)
        permissions = (("replay_webhookevent", "Can replay webhooks"),)
        constraints = (models.UniqueConstraint(fields=["source", "webhook_id"], name="webhook_id"),)
        indexes = (
            # The log in the order of arrival (webhooks/log_filters.py), all of it or by one of its filters.
            models.Index(fields=["received_at", "id"], name="webhook_log"),
            models.Index(fields=["status", "received_at", "id"], name="webhook_log_status"),
            models.Index(fields=["type", "received_at", "id"], name="webhook_log_type"),
            models.Index(fields=["product_id", "received_at", "id"], name="webhook_log_product"),
        )

    def __str__(self) -> str:
        return " ".join(Truncator(text).chars(SHORT_LENGTH) for text in (self.type, self.webhook_id))


class WebhookReplay(models.Model):
    """One replay of an event."""

    event = models.ForeignKey(WebhookEvent, models.CASCADE, related_name="replays")
    by = models.CharField(max_length=MAX_NAME_LENGTH)
    at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=10)
    error = models.TextField(default="")

    class Meta:
        default_permissions = ("view",)
        ordering = ("id",)

    def __str__(self) -> str:
        return f"by {self.by}"


# SQL, since Django's bulk_create(ignore_conflicts=True) does not tell whether it inserted the row.
UPDATE_OLDER = "UPDATE `{}` SET version = %s WHERE product_id = %s AND event_type = %s AND version < %s"
INSERT_FIRST = "INSERT IGNORE INTO `{}` (version, product_id, event_type) VALUES (%s, %s, %s)"


class AppliedVersion(models.Model):
    """The newest version that an event of this type has applied to a product. The partner counts the versions."""

    pk = models.CompositePrimaryKey("product_id", "event_type")
    product_id = models.BigIntegerField()
    event_type = models.CharField(max_length=MAX_TYPE_LENGTH, db_collation=BYTE_FOR_BYTE)
    version = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.event_type} of product {self.product_id}: {self.version}"

    @classmethod
    def advance(cls, product_id: int, event_type: str, version: int) -> bool:
        """Record the version as applied. False if it is not newer than the last one. Needs the product's lock."""
        row, table = (version, product_id, event_type), cls._meta.db_table
        with connection.cursor() as cursor:
            is_newer = cursor.execute(UPDATE_OLDER.format(table), (*row, version))
            return bool(is_newer or cursor.execute(INSERT_FIRST.format(table), row))
