"""What the indexer does; one file per verb."""
