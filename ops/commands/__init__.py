"""Command families, one module each."""
