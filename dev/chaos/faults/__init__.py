"""The faults: each is a context manager that begins it and, after the block, ends it. harm.py has what they share."""
