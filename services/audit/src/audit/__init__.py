"""audit service of the regional imaging cloud."""
