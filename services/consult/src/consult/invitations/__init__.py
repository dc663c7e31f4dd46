"""Invitations: an expert outside the region gets an account, a part in one case, and an e-mail that leads there."""

from consult.invitations.api import build_invitations_api
from consult.invitations.usecases import Invitations

__all__ = ["Invitations", "build_invitations_api"]
