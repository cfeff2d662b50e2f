"""Builds the image without Docker, and runs it as Render would: make rehearse."""
