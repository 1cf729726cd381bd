"""Tests of the engine on a replicated log."""
