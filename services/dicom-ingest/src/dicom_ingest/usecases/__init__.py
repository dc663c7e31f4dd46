"""What the ingest does, one verb a file."""
