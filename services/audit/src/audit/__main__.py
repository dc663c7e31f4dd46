"""Run the audit service: `python -m audit`."""

from audit.main import build_app
from audit.settings import AuditSettings
from imaging_common.http import serve

if __name__ == "__main__":
    serve(build_app, AuditSettings())
