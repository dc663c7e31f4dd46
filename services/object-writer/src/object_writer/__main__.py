"""Run the object writer: `python -m object_writer`."""

from imaging_common.http import serve
from object_writer.main import build_app
from object_writer.settings import ObjectWriterSettings

if __name__ == "__main__":
    serve(build_app, ObjectWriterSettings())
