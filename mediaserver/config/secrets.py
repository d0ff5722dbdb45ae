"""Secrets: read from files or the environment, or made at random in the state folder on first start; never shown."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from mediaserver.config.base import CREDENTIALS_DIRECTORY
from mediaserver.config.model import Config
from mediaserver.config.references import KeyPath
from mediaserver.config.sections import SecretRef
from mediaserver.errors import ConfigError

MIN_SITE_KEY_BYTES = 32
"""RFC 7518 §3.2: a key for HS256 has at least the size of the hash."""

# Without 0/o, 1/l/i and u: somebody types these into a phone.
_PASSWORD_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # noqa: S105 - an alphabet
_PASSWORD_GROUPS, _GROUP = 4, 5
_MAX_SECRET_BYTES = 64 * 1024


class SecretStore:
    """Gives the daemon's parts the secrets that the configuration refers to."""

    def __init__(self, config: Config, *, environment: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environment = os.environ if environment is None else environment

    def text(self, ref: SecretRef) -> str:
        """The secret as text. Raises `ConfigError` where it is missing, empty or readable by others."""
        if ref.env is not None:
            value = self._environment.get(ref.env, "")
            if not value:
                raise ConfigError(f"the environment variable {ref.env} is not set")
            return value
        return self._read(self.file_of(ref))

    def key(self, ref: SecretRef, *, purpose: str) -> bytes:
        """32 bytes derived from the secret for one purpose (HKDF-like: HMAC-SHA-256 keyed with the secret)."""
        return hmac.new(self.text(ref).encode(), purpose.encode(), hashlib.sha256).digest()

    def file_of(self, ref: SecretRef) -> Path:
        """File that holds the secret. Raises `ValueError` for one from the environment, `ConfigError` as `Config.path`."""
        if ref.file is not None:
            return self._config.path(ref.file, self._environment)
        if ref.state is not None:
            return self._config.path(Path("secrets", ref.state))
        raise ValueError("a secret from the environment has no file")

    def problems(self, *, first_start: bool = True) -> Iterator[tuple[KeyPath, str]]:
        """Yields (key path, what is wrong) for every secret that cannot be had.

        With `first_start` a secret of the state folder that does not exist yet is fine: it is made then.
        """
        for path, ref in references(self._config):
            if first_start and ref.state is not None and not self.file_of(ref).exists():
                continue
            try:
                value = self.text(ref)
            except ConfigError as error:
                yield path, str(error)
                continue
            if path[:2] == ("secrets", "site_keys") and len(value.encode()) < MIN_SITE_KEY_BYTES:
                yield path, f"is shorter than {MIN_SITE_KEY_BYTES} bytes, the least for HS256"
        yield from self._key_files()

    def make_missing(self) -> tuple[str, ...]:
        """Make the secrets of the state folder that are not there yet; returns their names."""
        made = []
        for path, ref in references(self._config):
            if ref.state is None or self.file_of(ref).exists():
                continue
            write_private(self.file_of(ref), _password() if path[0] == "users" else secrets.token_urlsafe(48))
            made.append(ref.state)
        return tuple(made)

    def _key_files(self) -> Iterator[tuple[KeyPath, str]]:
        listeners = self._config.listeners
        for name, certificate in (("https", listeners.https.certificate), ("sip", listeners.sip.certificate)):
            here: KeyPath = ("listeners", name, "certificate")
            for key, file in (("key_file", certificate.key_file), ("chain_file", certificate.chain_file)):
                try:
                    if file is not None:
                        self._look_at(self._config.path(file, self._environment), private=key == "key_file")
                except ConfigError as error:
                    yield (*here, key), str(error)

    def _look_at(self, path: Path, *, private: bool) -> None:
        if private:
            self._read(path)
        elif not path.is_file():
            raise ConfigError(f"there is no file {path}")

    def _read(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if not stat.S_ISREG(mode):
                    raise ConfigError(f"{path} is no regular file")
                if mode & 0o077 and not self._from_service_manager(path):
                    raise ConfigError(
                        f"{path} can be read by others than its owner (mode {stat.S_IMODE(mode):04o}): chmod 600 it"
                    )
                value = file.read(_MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        if len(value) > _MAX_SECRET_BYTES:
            raise ConfigError(f"{path} is longer than any secret ({_MAX_SECRET_BYTES} bytes)")
        try:
            text = value.decode().strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is not UTF-8 text") from None
        if not text:
            raise ConfigError(f"{path} is empty")
        return text

    def _from_service_manager(self, path: Path) -> bool:
        # systemd gives the service its credentials by an ACL, which shows as group bits (systemd.exec(5)).
        folder = self._environment.get(CREDENTIALS_DIRECTORY)
        return folder is not None and path.is_relative_to(folder)


def references(config: BaseModel, path: KeyPath = ()) -> Iterator[tuple[KeyPath, SecretRef]]:
    """Every secret that `config` refers to, with its key path."""
    for name in type(config).model_fields:
        yield from _references_in(getattr(config, name), (*path, name))


def _references_in(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, SecretRef]]:
    if isinstance(value, SecretRef):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from references(value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _references_in(item, (*path, str(key)))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _references_in(item, (*path, index))


def write_private(path: Path, content: str | bytes) -> None:
    """Write a new file with mode 0600, whole or not at all; an existing one is replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _password() -> str:
    """About 98 bits, in groups that can be typed."""
    groups = ("".join(secrets.choice(_PASSWORD_ALPHABET) for _ in range(_GROUP)) for _ in range(_PASSWORD_GROUPS))
    return "-".join(groups)
