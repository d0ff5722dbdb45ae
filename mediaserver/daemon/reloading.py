"""What SIGHUP changes in the running parts: users, trunks, dial plan, budgets, and what secrets and certificates hold."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from mediaserver.api.agents import PlainAgentDirectory
from mediaserver.api.event_webhooks import EventWebhooks, checked_secrets
from mediaserver.call.admission import Admission
from mediaserver.call.calls import Calls
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.trunks import Trunks
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import tls_files
from mediaserver.contact.contacts import Contacts
from mediaserver.daemon.key_rotation import KeyRotation
from mediaserver.daemon.settings import certificate_users, sip_domains, token_key, trunk_rules
from mediaserver.daemon.tls import client_tls, server_tls
from mediaserver.daemon.turn import FreshTurnSecrets, turn_secrets
from mediaserver.errors import ConfigError
from mediaserver.sip.passwords import PasswordDirectory
from mediaserver.sip.user_agent import UserAgent

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Prepared:
    """Everything that had to be read for a configuration; it is there before anything changes."""

    users: Mapping[str, str]
    """Secrets by user name."""
    trunks: Mapping[str, tuple[str, str]]
    """User and secret by which trunks prove themselves, by the trunk's name."""
    agents: Mapping[str, tuple[str, str]]
    """Secret and shown name of those who may sign in on the page."""
    events: Mapping[str, tuple[str, ...]]
    """Keys of the webhooks that are told events, by the webhook's name."""
    token_secret: bytes
    """Signs the tokens by which visitors' packets are let in."""
    turn: FreshTurnSecrets
    sip_tls: ssl.SSLContext
    sip_client_tls: ssl.SSLContext


def prepare(config: Config, secrets: Callable[[Config], SecretStore]) -> Prepared:
    """Read secrets and certificates; those of the state folder that are new are made. Raises ConfigError."""
    store = secrets(config)
    try:
        made = store.make_missing()
        sip = config.listeners.sip
        sip_tls = server_tls(config, sip.certificate, client_ca=sip.client_ca_file)
        sip_client_tls = client_tls(config)
        for trunk in config.trunks.values():
            if trunk.credentials is not None:
                store.text(trunk.credentials.secret)
        for webhook in config.webhooks.values():
            if webhook.secret is not None:
                store.text(webhook.secret)
        if config.listeners.https.bind or config.listeners.shared_tls.bind:
            server_tls(config, config.listeners.https.certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"a certificate cannot be read: {error}") from None
    for name in made:
        _log.info("secret_made", name=name)
    users = {name: store.text(user.secret) for name, user in config.users.items()}
    return Prepared(
        users=users,
        trunks=trunk_secrets(config, store),
        agents=page_agents(config, users),
        events={
            name: checked_secrets(name, [store.text(secret) for secret in webhook.secrets])
            for name, webhook in config.events.webhooks.items()
        },
        token_secret=token_key(config, store),
        turn=turn_secrets(config, store),
        sip_tls=sip_tls,
        sip_client_tls=sip_client_tls,
    )


def trunk_secrets(config: Config, store: SecretStore) -> dict[str, tuple[str, str]]:
    """User and secret of every trunk that proves itself by digest, by the trunk's name. Raises ConfigError."""
    return {
        name: (trunk.authenticate.user, store.text(trunk.authenticate.secret))
        for name, trunk in config.trunks.items()
        if trunk.authenticate is not None
    }


def page_agents(config: Config, secrets: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Secret and shown name of everybody who may sign in on the agent page; `secrets` are by user name."""
    return {
        name: (secrets[name], user.display_name or name) for name, user in config.users.items() if "agent" in user.roles
    }


class RunningParts:
    """Hands a configuration in force to the parts that live by it."""

    def __init__(
        self,
        *,
        users: PasswordDirectory,
        agents: PlainAgentDirectory,
        user_agent: UserAgent,
        trunks: Trunks,
        dial_plan: DialPlan,
        calls: Calls,
        contacts: Contacts,
        bandwidth: Admission,
        https: ssl.SSLContext | None,
        event_webhooks: EventWebhooks | None,
        keys: KeyRotation,
    ) -> None:
        self._users = users
        self._agents = agents
        self._user_agent = user_agent
        self._trunks = trunks
        self._dial_plan = dial_plan
        self._calls = calls
        self._contacts = contacts
        self._bandwidth = bandwidth
        self._https = https
        self._event_webhooks = event_webhooks
        self._keys = keys

    async def apply(self, config: Config, prepared: Prepared) -> None:
        """Take `config` from now on. Calls that are up go on as they were agreed."""
        changed = self._users.replace(prepared.users, trunks=prepared.trunks)
        for name in changed:
            _log.info("secret_changed", user=name)
        self._agents.replace(prepared.agents)
        for name in self._event_webhooks.adopt(prepared.events) if self._event_webhooks is not None else ():
            _log.info("secret_changed", event_webhook=name)
        self._keys.adopt(prepared.token_secret, prepared.turn)
        self._bandwidth.reload(config)
        self._calls.adopt(config)
        self._contacts.adopt(config)
        self._dial_plan.adopt(config)
        self._user_agent.adopt(
            trunks=trunk_rules(config), domains=sip_domains(config), certificate_users=certificate_users(config)
        )
        for binding in self._user_agent.registrations():
            if binding.aor.rpartition("@")[0] not in config.users and self._user_agent.unregister(binding.aor):
                _log.info("registration_removed", aor=binding.aor)
        self._user_agent.keep_subscriptions(config.users.__contains__)
        self._take_certificates(config, prepared)
        await self._trunks.reload(config.trunks)

    def _take_certificates(self, config: Config, prepared: Prepared) -> None:
        """New connections see the files as they are now; those that are open stay as they are."""
        self._user_agent.set_tls(server=prepared.sip_tls, client=prepared.sip_client_tls)
        if self._https is not None:
            files = tls_files(config, config.listeners.https.certificate)
            self._https.load_cert_chain(files.chain, files.key)
