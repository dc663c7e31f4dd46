"""Run the edge agent: `python -m edge_agent`."""

from edge_agent.main import build_app
from edge_agent.settings import Settings
from imaging_common.http import serve

if __name__ == "__main__":
    settings = Settings()
    serve(lambda: build_app(settings), settings)
