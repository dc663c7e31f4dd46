"""gateway service of the regional imaging cloud."""
