"""Secrets: where they come from, what is refused, what is made, and that nothing shows them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.sections import SecretRef, User
from mediaserver.errors import ConfigError


def config_with(tmp_path: Path, ref: SecretRef) -> Config:
    return Config(state_dir=tmp_path, users={"bob": User(secret=ref)})


def write(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_secret_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    write(tmp_path / "pw", "s3cret\n")
    ref = SecretRef(file=Path("pw"))
    assert SecretStore(config_with(tmp_path, ref)).text(ref) == "s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path / "pw", "s3cret", mode)
    ref = SecretRef(file=Path("pw"))
    with pytest.raises(ConfigError, match=r"chmod 600") as caught:
        SecretStore(config_with(tmp_path, ref)).text(ref)
    assert "s3cret" not in str(caught.value)


def test_a_credential_of_the_service_manager_may_have_group_bits(tmp_path: Path) -> None:
    file = write(tmp_path / "pw", "s3cret", 0o440)
    ref = SecretRef(file=file)
    store = SecretStore(config_with(tmp_path, ref), environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert store.text(ref) == "s3cret"


def test_a_credential_is_named_without_knowing_where_the_service_manager_keeps_it(tmp_path: Path) -> None:
    (folder := tmp_path / "credentials").mkdir()
    write(folder / "pbx", "s3cret\n", 0o440)
    ref = SecretRef(file=Path("$CREDENTIALS_DIRECTORY/pbx"))
    store = SecretStore(config_with(tmp_path, ref), environment={"CREDENTIALS_DIRECTORY": str(folder)})
    assert store.text(ref) == "s3cret"


def test_a_credential_without_a_service_manager_is_told_with_its_key(tmp_path: Path) -> None:
    config = load_text(
        "listeners: {https: {certificate: {chain_file: $CREDENTIALS_DIRECTORY/web.pem, key_file: "
        "$CREDENTIALS_DIRECTORY/web.key}}}\nusers: {bob: {secret: {file: $CREDENTIALS_DIRECTORY/bob}}}\n"
        f"state_dir: {tmp_path}"
    ).config
    found = dict(SecretStore(config, environment={}).problems())
    certificate = ("listeners", "https", "certificate")
    assert set(found) == {(*certificate, "chain_file"), (*certificate, "key_file"), ("users", "bob", "secret")}
    assert all("LoadCredential=" in text for text in found.values())
    write(tmp_path / "web.key", "key", 0o440)
    for name in ("web.pem", "bob"):
        write(tmp_path / name, name, 0o440)
    assert not list(SecretStore(config, environment={"CREDENTIALS_DIRECTORY": str(tmp_path)}).problems())


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_secret_is_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path / "pw", content)
    ref = SecretRef(file=Path("pw"))
    with pytest.raises(ConfigError, match="is empty"):
        SecretStore(config_with(tmp_path, ref)).text(ref)


def test_the_environment_gives_a_secret_or_a_reason(tmp_path: Path) -> None:
    ref = SecretRef(env="BOB_PW")
    config = config_with(tmp_path, ref)
    assert SecretStore(config, environment={"BOB_PW": "x"}).text(ref) == "x"
    with pytest.raises(ConfigError, match="BOB_PW is not set"):
        SecretStore(config, environment={}).text(ref)


def test_missing_secrets_of_the_state_folder_are_made_once_and_privately(tmp_path: Path) -> None:
    ref = SecretRef(state="bob-password")
    store = SecretStore(config_with(tmp_path, ref))
    assert set(store.make_missing()) == {"bob-password", "session-key", "ufrag-key", "room-key", "admin-token"}
    first = store.text(ref)
    assert len(first) >= 20
    assert stat.S_IMODE(store.file_of(ref).stat().st_mode) == 0o600
    assert store.make_missing() == ()
    assert store.text(ref) == first


def test_two_installations_have_different_secrets(tmp_path: Path) -> None:
    ref = SecretRef(state="bob-password")
    values = set()
    for name in ("a", "b"):
        store = SecretStore(config_with(tmp_path / name, ref))
        store.make_missing()
        values.add(store.text(ref))
    assert len(values) == 2


def test_keys_for_different_purposes_differ(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path)
    store = SecretStore(config)
    store.make_missing()
    ref = config.secrets.session_key
    assert len(store.key(ref, purpose="a")) == 32
    assert store.key(ref, purpose="a") == store.key(ref, purpose="a")
    assert store.key(ref, purpose="a") != store.key(ref, purpose="b")


def test_every_secret_that_cannot_be_had_is_told_at_its_line(tmp_path: Path) -> None:
    write(tmp_path / "open", "s3cret", 0o644)
    write(tmp_path / "short", "short")
    loaded = load_text(
        f"state_dir: {tmp_path}\n"
        "users:\n"
        "  a: {secret: {file: none}}\n"
        "  b: {secret: {file: open}}\n"
        "  c: {secret: {state: made-later}}\n"
        "secrets:\n"
        "  site_keys: {portal: {file: short}}\n"
        "listeners: {https: {certificate: {chain_file: c.pem, key_file: k.pem}}}\n"
    )
    found = [
        loaded.source.problem(path, message)
        for path, message in SecretStore(loaded.config, environment={}).problems(first_start=True)
    ]
    assert [(problem.line, problem.key) for problem in sorted(found)] == [
        (3, "users.a.secret"),
        (4, "users.b.secret"),
        (7, "secrets.site_keys.portal"),
        (8, "listeners.https.certificate.chain_file"),
        (8, "listeners.https.certificate.key_file"),
    ]
