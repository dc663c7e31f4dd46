"""The settings of a service that looks people up; mixed into its `ServiceSettings`."""

from pydantic import BaseModel, SecretStr


class DirectorySettings(BaseModel):
    """As which client of the provider (`oidc_issuer`) a service looks people up."""

    directory_client_id: str = ""
    """A confidential client whose service account may view the realm's users (`view-users`)."""
    directory_client_secret: SecretStr = SecretStr("")
