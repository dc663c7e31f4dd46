"""What the edge agent does besides receiving, one use case a file."""
