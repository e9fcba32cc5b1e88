"""What kind of file system a path lies on."""

from __future__ import annotations

import re
from pathlib import Path

# What their names begin with. All of FUSE but that of local disks, "fuseblk": what lies behind it (Samba, SSH, a
# cloud) reports nothing either. The last ones are folders that a virtual machine has from its host.
_NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "davfs", "fuse",
            "9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs")  # fmt: skip


def is_network(path: Path) -> bool:
    """Whether a path lies on a network file system, by the type of its mount. False where unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    real = path.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, point, fstype, *_ = line.split(" ")
        # The kernel writes a space as \040, and likewise tab, newline and backslash.
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point))
        if real.is_relative_to(place) and len(place.parts) >= best:  # of mounts over mounts, the last
            best, kind = len(place.parts), fstype
    return kind.startswith(_NETWORK) and kind != "fuseblk"
