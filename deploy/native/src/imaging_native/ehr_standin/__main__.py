"""Run the EHR stand-in: `python -m imaging_native.ehr_standin`."""

from imaging_common.http import serve
from imaging_native.ehr_standin.app import build_app
from imaging_native.ehr_standin.settings import EhrSettings

if __name__ == "__main__":
    settings = EhrSettings()
    serve(lambda: build_app(settings), settings)
