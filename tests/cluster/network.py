"""A bridge, and network namespaces on it that know each other by name: what a compose network is."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Interface names have at most 15 characters, and other test runs may be under way on this machine.
_MARK = f"swp{os.getpid()}"
_SUBNET = f"10.213.{os.getpid() % 256}"


class Network:
    """Hosts on one bridge.

    Attributes:
        addresses: the IP address of each host, by its name.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.addresses = {host: f"{_SUBNET}.{number}" for number, host in enumerate(hosts, start=2)}

    def inside(self, host: str) -> list[str]:
        """What to put before a command for it to run on a host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def cut(self, host: str) -> None:
        """Unplugs a host: nothing comes or goes, and nobody is told."""
        _ip("link", "set", self._plug(host), "down")

    def heal(self, host: str) -> None:
        """Plugs a host in again."""
        _ip("link", "set", self._plug(host), "up")

    def _namespace(self, host: str) -> str:
        return f"{_MARK}-{host}"

    def _plug(self, host: str) -> str:
        return f"{_MARK}p{list(self.addresses).index(host)}"

    def _create(self, host: str) -> None:
        namespace, plug = self._namespace(host), self._plug(host)
        _ip("netns", "add", namespace)
        _ip("link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", plug, "master", _MARK, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "addr", "add", f"{self.addresses[host]}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        # Leads nowhere. Ray finds its own address by the route to a public one.
        _ip("-n", namespace, "route", "add", "default", "via", f"{_SUBNET}.1")

    def _tell_names(self, host: str) -> None:
        """Lets a host know all others. `ip netns exec` puts these files over those in /etc."""
        lines = ["127.0.0.1 localhost", *(f"{ip} {name}" for name, ip in self.addresses.items())]
        folder = _files(self._namespace(host))
        folder.mkdir(parents=True)
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        # Nobody is asked for names beyond these: refused at once, where this machine's server would time out.
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")

    def _remove(self, host: str) -> None:
        _ip("netns", "del", self._namespace(host), check=False)
        shutil.rmtree(_files(self._namespace(host)), ignore_errors=True)


@contextmanager
def network(hosts: Sequence[str]) -> Iterator[Network]:
    """A network for as long as it is needed; nothing of it is left behind."""
    made = Network(hosts)
    with ExitStack() as stack:
        stack.callback(_ip, "link", "del", _MARK, check=False)
        _ip("link", "add", _MARK, "type", "bridge")
        _ip("addr", "add", f"{_SUBNET}.1/24", "dev", _MARK)
        _ip("link", "set", _MARK, "up")
        for host in hosts:
            stack.callback(made._remove, host)
            made._create(host)
            made._tell_names(host)
        yield made


def _files(namespace: str) -> Path:
    return Path("/etc/netns") / namespace


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
