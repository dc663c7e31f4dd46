"""indexer service of the regional imaging cloud."""
