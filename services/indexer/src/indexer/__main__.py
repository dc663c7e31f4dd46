"""Starts the service: `python -m indexer`."""

from imaging_common.http import serve
from indexer.main import build_app
from indexer.settings import IndexerSettings

if __name__ == "__main__":
    serve(build_app, IndexerSettings())
