"""Adapters: the ports of this service on the real servers."""
