"""Retrievals: images that lie in a hospital's own PACS are asked for, shared by all who wait, and waited for.

`model` holds the rules, `desk` who waits in this copy, `retriever` connects both with store, topics and index,
`edges` knows which hospital can be asked now.
"""
