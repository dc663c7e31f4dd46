"""object-writer service of the regional imaging cloud."""
