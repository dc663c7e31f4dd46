"""`make audit-verify`: walks the audit chains of a local region, whose state file (`REGION_STATE`) has the credentials.

Without a state file the environment must have the audit service's own settings (`AUDIT_MONGO_URL`, `AUDIT_MINIO_…`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """The command line; the exit code: 0 all chains hold, 1 one is broken, 2 nothing to look at."""
    path = os.environ.get("REGION_STATE")
    more: dict[str, str] = {}
    if path:
        state = json.loads(Path(path).read_text())
        more = {
            "AUDIT_MONGO_URL": state["mongo"]["urls"]["audit"],
            "AUDIT_MINIO_ENDPOINT": state["minio"]["endpoint"],
            "AUDIT_MINIO_ACCESS_KEY": state["minio"]["access_key"],
            "AUDIT_MINIO_SECRET_KEY": state["minio"]["secret_key"],
        }
    elif "AUDIT_MONGO_URL" not in os.environ:
        print(
            "audit-verify needs REGION_STATE=<file of a running region>, or the settings AUDIT_MONGO_URL, AUDIT_MINIO_…"
        )
        return 2
    return subprocess.run([sys.executable, "-m", "audit.verify"], env=os.environ | more, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
