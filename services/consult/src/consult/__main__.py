"""Run the consult service: `python -m consult`."""

from consult.main import build_app
from consult.settings import ConsultSettings
from imaging_common.http import serve

if __name__ == "__main__":
    serve(build_app, ConsultSettings())
