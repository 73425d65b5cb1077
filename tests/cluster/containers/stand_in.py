"""Images in the place of those that cannot be pulled: the same tags, made from Debian's packages."""

import shutil
import subprocess
import tempfile
from pathlib import Path

DEBIAN = "stand-in-debian"
FOLDER = Path(__file__).parent / "stand_ins"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


def provide(image: str) -> str:
    """Pulls an image, or makes what stands in for it; a word on how it came."""
    if _docker("image", "inspect", image):
        return "was there"
    if _docker("pull", image):
        return "pulled"
    if not _docker("image", "inspect", DEBIAN):
        _make_debian()
    name = image.partition(":")[0]
    file = FOLDER / f"{name}.Dockerfile"
    command = ["docker", "build", "--quiet", "--tag", image, "--file", file, FOLDER]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return "made from Debian's packages"


def _make_debian() -> None:
    """Debian's base system, by debootstrap, which needs root's rights."""
    if not shutil.which("debootstrap"):
        raise SystemExit("containers: no image can be pulled here; stand-ins need debootstrap, of Debian")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        # Whom this machine trusts: a proxy of its own, perhaps.
        shutil.copy(f"/{_CERTIFICATES}", root / _CERTIFICATES)
        tar = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        command = ["docker", "import", "-", DEBIAN]
        subprocess.run(command, stdin=tar.stdout, check=True, stdout=subprocess.DEVNULL)
        if tar.wait():
            raise SystemExit(f"containers: tar could not read {root}")


def _docker(*arguments: str) -> bool:
    return subprocess.run(["docker", *arguments], capture_output=True).returncode == 0
