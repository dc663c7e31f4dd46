"""consult service of the regional imaging cloud."""
