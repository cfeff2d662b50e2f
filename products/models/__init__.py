"""The catalogue's tables."""

from products.models.farms import Farm
from products.models.files import MAX_FILE_NAME_LENGTH, FilePiece, ProductFile
from products.models.idempotency import IdempotencyKey
from products.models.load_lease import LoadLease
from products.models.postings import Posting
from products.models.products import (
    INDEXED_FILTERS,
    MAX_DESCRIPTION_LENGTH,
    MAX_ID,
    MAX_STOCK,
    ROW_COLUMNS,
    SORT_FIELDS,
    Product,
    ProductQuerySet,
)
from products.models.vocabulary import (
    Category,
    Commodity,
    District,
    State,
    VocabularyEntry,
    VocabularyVersion,
    new_version,
)

__all__ = [
    "INDEXED_FILTERS",
    "MAX_DESCRIPTION_LENGTH",
    "MAX_FILE_NAME_LENGTH",
    "MAX_ID",
    "MAX_STOCK",
    "ROW_COLUMNS",
    "SORT_FIELDS",
    "Category",
    "Commodity",
    "District",
    "Farm",
    "FilePiece",
    "IdempotencyKey",
    "LoadLease",
    "Posting",
    "Product",
    "ProductFile",
    "ProductQuerySet",
    "State",
    "VocabularyEntry",
    "VocabularyVersion",
    "new_version",  # named in migration 0001
]
