"""The Debian packages that a region on one machine needs."""

import glob
import os
import shutil
import subprocess

PROGRAMS = {
    "dcmtk": "dcmsend",
    "orthanc": "Orthanc",
    "chromium": "chromium",
}
"""Package → a program it brings."""
FILES = {
    "orthanc-dicomweb": "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "fonts-noto-cjk": "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "libpango-1.0-0": "/usr/lib/*/libpango-1.0.so.0",
    "libpangoft2-1.0-0": "/usr/lib/*/libpangoft2-1.0.so.0",
    "libharfbuzz-subset0": "/usr/lib/*/libharfbuzz-subset.so.0",
}
"""Package → a file it brings; `*`: any folder."""


def missing() -> list[str]:
    """The packages that are not installed."""
    programs = [package for package, program in PROGRAMS.items() if not shutil.which(program, path=_path())]
    return programs + [package for package, file in FILES.items() if not glob.glob(file)]


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin"


def ensure(*, check_only: bool) -> int:
    """Install what is missing as root; else print a line for each and return 1."""
    packages = missing()
    if not packages:
        return 0
    if check_only or os.geteuid() != 0:
        for package in packages:
            print(f"missing Debian package: {package} (install it, or run `make deps` as root)")
        return 1
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        print(f"apt-get {' '.join(words)} …", flush=True)
        subprocess.run(["apt-get", *words], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=1800)
    still = missing()
    for package in still:
        print(f"missing Debian package: {package} (apt-get did not bring it)")
    return int(bool(still))
