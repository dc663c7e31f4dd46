"""A route without an access rule keeps the service from starting: nothing is open by forgetting it."""

import pytest
from fastapi import FastAPI

from imaging_common.http import Access, access
from imaging_common.http.rules import KEY, require_rules, routes_without_rule


def test_service_does_not_start_when_a_route_names_no_rule() -> None:
    app = FastAPI()
    app.get("/open", openapi_extra=access(Access.PUBLIC))(lambda: None)
    require_rules(app)
    app.post("/forgotten")(lambda: None)
    assert routes_without_rule(app) == ["POST /forgotten"]
    with pytest.raises(RuntimeError, match="POST /forgotten"):
        require_rules(app)


def test_rule_stands_in_the_openapi_document() -> None:
    app = FastAPI()
    app.get("/records", openapi_extra=access(Access.AUDITOR))(lambda: None)
    assert app.openapi()["paths"]["/records"]["get"][KEY] == "auditor"
