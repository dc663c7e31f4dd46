"""How many consults there were, and how long they took: by hospital, expert or month."""

from consult.statistics.api import build_statistics_api
from consult.statistics.figures import MongoFigures
from consult.statistics.usecases import Statistics

__all__ = ["MongoFigures", "Statistics", "build_statistics_api"]
