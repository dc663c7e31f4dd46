"""Verification of OIDC access tokens (RFC 9068, RFC 7519): every service checks the signed token itself."""

from imaging_common.auth.tokens import ClaimNames, Claims, InvalidToken, TokenVerifier, session_name

__all__ = ["ClaimNames", "Claims", "InvalidToken", "TokenVerifier", "session_name"]
