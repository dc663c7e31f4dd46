"""An organisation's name is part of a topic's."""

import pytest
from pydantic import ValidationError

from notification.feed.model import Organisation


def test_organisation_that_is_no_topic_name_is_refused() -> None:
    with pytest.raises(ValidationError):
        Organisation(id="a_b", hospitals=frozenset())
