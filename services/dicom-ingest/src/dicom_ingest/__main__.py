"""Run the ingest: `python -m dicom_ingest`."""

from dicom_ingest.main import build_app
from dicom_ingest.settings import Settings
from imaging_common.http import serve

if __name__ == "__main__":
    serve(build_app, Settings())
