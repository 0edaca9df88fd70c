"""Everything that a room without a network needs, in one file that installs itself.

``k8slab bundle`` makes it where there is a network. It is a shell script (`install.sh`) with an
archive behind it: the wheels of the lock file, k8slab's own, and the labs. Wheels are made for
one version of Python on one kind of processor, so the file is for machines like this one; what
it needs of the system, the programs that packets are made with, is listed and not packed.
"""

from k8slab.course.offline.packing import Packed, pack

__all__ = ["Packed", "pack"]
