"""Who tells systems: organisations, what concerns them, their feeds, and snapshots of what they missed."""
