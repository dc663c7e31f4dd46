"""What can be wrong with an operator's wish about organisations."""


class OrganisationExists(Exception):
    """There is one of that id."""


class NoOrganisation(Exception):
    """There is none of that id."""


class OrganisationChanged(Exception):
    """It is no longer as the operator saw it."""
