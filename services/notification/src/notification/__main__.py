"""Run the notification service: `python -m notification`."""

from imaging_common.http import serve
from notification.main import build_app
from notification.settings import NotificationSettings

if __name__ == "__main__":
    serve(build_app, NotificationSettings())
