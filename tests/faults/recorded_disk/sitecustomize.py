"""Record what this process does to the disk: Python imports a module of this name when it starts."""

from tests.faults.disk_log import install

install()
