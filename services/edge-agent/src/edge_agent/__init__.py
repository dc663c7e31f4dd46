"""edge-agent service of the regional imaging cloud."""
