"""notification service of the regional imaging cloud."""
