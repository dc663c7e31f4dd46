"""The hospital's PACS: asked by C-FIND or QIDO-RS, its health, and how many connections it is asked over."""
