"""index: see model.py for the formats."""
