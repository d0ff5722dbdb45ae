"""The only place that builds anything: from one configuration to parts that know each other, and back to nothing."""

from mediaserver.daemon.daemon import Daemon as Daemon
from mediaserver.daemon.edge import EdgeDaemon as EdgeDaemon
