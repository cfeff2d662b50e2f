"""Uploaded and exported files. MySQL keeps them, because the next request may reach another machine."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

MAX_FILE_NAME_LENGTH = 200


class ProductFile(models.Model):
    """The rows of an import or an export.

    The numbers and the sample are those of the check before an import.
    """

    name = models.CharField(max_length=MAX_FILE_NAME_LENGTH)
    by = models.CharField(max_length=300)
    columns = models.JSONField(default=list)  # empty until the upload is complete and readable
    rows = models.PositiveIntegerField(default=0)
    created = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    sample = models.JSONField(default=list)  # [{"row", "id", "name", "changes": [[column, before, after]]}]
    import_job = models.PositiveBigIntegerField(null=True)  # a check allows one import
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class FilePiece(models.Model):
    """A part of a file, at most 1 MB: the server limits the size of a statement."""

    pk = models.CompositePrimaryKey("file_id", "number")
    file = models.ForeignKey(ProductFile, models.CASCADE, related_name="pieces", db_index=False)
    number = models.PositiveIntegerField()  # of its first row; of an upload that is not read yet, 0, 1, 2, …
    content = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"piece {self.number} of file {self.file_id}"
