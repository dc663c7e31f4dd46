"""What the store keeper does, one verb a file."""
