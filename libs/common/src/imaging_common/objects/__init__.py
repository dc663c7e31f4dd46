"""objects: see model.py for the formats."""
