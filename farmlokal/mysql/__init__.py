"""Django's MySQL backend, and what this service asks of it besides."""
