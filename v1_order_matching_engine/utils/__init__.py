"""Helpers of the command line: measuring, reading and stopping."""
