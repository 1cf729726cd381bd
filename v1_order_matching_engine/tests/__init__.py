"""What is V1's own: the lock, threads, the book, the NDJSON reader and the command line."""
