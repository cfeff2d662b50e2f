import os

# Before openpyxl is imported: where lxml is installed, openpyxl would read and write by it, and keep other characters.
os.environ.setdefault("OPENPYXL_LXML", "False")
