"""`python -m gateway`: one copy of the portal."""

from gateway.main import build_app
from gateway.settings import GatewaySettings
from imaging_common.http import serve

if __name__ == "__main__":
    settings = GatewaySettings()
    serve(lambda: build_app(settings), settings)
