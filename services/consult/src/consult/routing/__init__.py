"""Routing: the region's decision table, and the joiner that gives a submitted case its whole address by it."""

from consult.routing.api import build_routing_api
from consult.routing.joiner import RoutingJoiner
from consult.routing.usecases import Routing

__all__ = ["Routing", "RoutingJoiner", "build_routing_api"]
