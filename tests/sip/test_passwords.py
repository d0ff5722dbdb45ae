"""Users by password or by digests; both sign in on the page, too; what `hash-password` prints is what is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mediaserver.api.agents import PlainAgentDirectory
from mediaserver.sip.digest import ha1
from mediaserver.sip.passwords import PasswordDirectory, digest_of, hashed

REALM = "example.org"


def test_digests_are_worth_the_password_they_were_made_of() -> None:
    plain = PasswordDirectory({"ann": "wonderland"}, realm=REALM)
    kept = PasswordDirectory({"ann": hashed("ann", REALM, "wonderland")}, realm=REALM)
    assert plain.lookup("ann", REALM) == kept.lookup("ann", REALM)
    assert kept.lookup("ann", "other.org") is None
    assert kept.lookup("bob", REALM) is None


def test_one_digest_is_enough() -> None:
    kept = PasswordDirectory({"ann": f"md5:{ha1('ann', REALM, 'x', 'MD5')}"}, realm=REALM).lookup("ann", REALM)
    assert kept is not None
    assert (kept.ha1_md5, kept.ha1_sha256) == (ha1("ann", REALM, "x", "MD5"), None)


@pytest.mark.parametrize("text", ["sha256:abc", "md5:" + "g" * 32, "sha256:" + "0" * 64 + " x", "SHA256:" + "0" * 64])
def test_what_only_looks_like_a_digest_is_a_password(text: str) -> None:
    assert digest_of(text) is None


def test_a_reload_names_users_whose_secret_changed() -> None:
    users = PasswordDirectory({"ann": "one", "bob": "two"}, realm=REALM)
    assert users.replace({"ann": "one", "bob": "three", "eve": "four"}) == ("bob",)
    assert users.replace({"ann": "one"}) == ()
    assert users.lookup("bob", REALM) is None


@pytest.mark.parametrize("secret", ["wonderland", hashed("ann", REALM, "wonderland")])
def test_the_page_takes_the_password_of_both_and_never_the_digest(secret: str) -> None:
    agents = PlainAgentDirectory({"ann": (secret, "Ann")}, realm=REALM)
    assert agents.verify("ann", "wonderland") is not None
    for wrong in ("Wonderland", "", hashed("ann", REALM, "wonderland"), ha1("ann", REALM, "wonderland")):
        assert agents.verify("ann", wrong) is None
    assert agents.verify("bob", "wonderland") is None


def test_the_command_prints_what_a_secret_file_may_hold(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"listeners: {{sip: {{realm: {REALM}}}}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mediaserver", "hash-password", "ann", "--config", str(file)],
        input="wonderland\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stdout.strip()) == (0, hashed("ann", REALM, "wonderland")), done.stderr
