"""The one global lock."""
