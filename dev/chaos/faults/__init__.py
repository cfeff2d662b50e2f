"""The faults. Each is a context manager: the fault lasts as long as the block. harm.py has the code that they share."""
