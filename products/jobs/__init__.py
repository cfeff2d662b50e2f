"""Jobs that change many products."""

from __future__ import annotations

from products.jobs.changes import (
    ChangeCommodity,
    ChangePrice,
    ChangePriceByPercent,
    ChangeStock,
    Restore,
    Withdraw,
)
from products.jobs.exports import Export
from products.jobs.imports import CheckImport, Import
from products.jobs.reindex import Reindex

BULK_ACTIONS = (Withdraw(), Restore(), ChangePriceByPercent(), ChangePrice(), ChangeStock(), ChangeCommodity())
ACTIONS = (*BULK_ACTIONS, Reindex(), CheckImport(), Import(), Export())
