"""Webhooks: subscriptions to an organisation's feed over HTTPS (Standard Webhooks, structured-mode CloudEvents)."""
