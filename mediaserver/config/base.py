"""What every section of the configuration is made of: strict frozen models, names, paths, and where secrets are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A key in one of the named maps: letters, digits, dot, underscore, hyphen."""


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected the path of a file or folder")
    return Path(value)


FilePath = Annotated[Path, BeforeValidator(_path), PlainSerializer(str), WithJsonSchema({"type": "string"})]
"""A path; relative ones count from `state_dir`, and `$CREDENTIALS_DIRECTORY/NAME` is what the service manager hands over."""

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Variable that names the folder of `LoadCredential=` (systemd.exec(5))."""


class Section(BaseModel):
    """What all sections share: unknown keys are errors, nothing is converted silently, nothing changes later."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",
    )


class SecretRef(Section):
    """Where a secret comes from; exactly one of the three. The configuration file itself never holds one."""

    file: FilePath | None = None
    """File with the secret; surrounding white space is cut. It must be readable by its owner only, or be a credential of
    the service manager: $CREDENTIALS_DIRECTORY/NAME (`LoadCredential=` in the unit)."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Name of an environment variable."""

    state: Name | None = None
    """Name of a random secret made on first start in `state_dir`/secrets with mode 0600."""

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if sum(source is not None for source in (self.file, self.env, self.state)) != 1:
            raise ValueError("give exactly one of file, env or state")
        return self
