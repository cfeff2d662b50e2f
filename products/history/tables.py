"""The models whose changes are recorded."""

from __future__ import annotations

from products.models import Category, Commodity, District, Farm, Product, State

MODELS = (Product, Farm, Category, Commodity, District, State)
