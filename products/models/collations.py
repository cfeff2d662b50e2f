"""Explicit collations: all servers and versions sort and compare alike."""

NAME_COLLATION = "utf8mb4_unicode_ci"
BINARY_COLLATION = "utf8mb4_bin"
