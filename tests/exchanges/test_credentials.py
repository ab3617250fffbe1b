"""Credentials: unreadable at rest, unseen in print, and movable to a new key."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from exchanges import credentials
from exchanges.credentials import CredentialsUnreadable
from livermore.core.errors import InvalidInput

SECRETS = {"api_key": "key-7Q4F", "api_secret": "secret-91AC", "passphrase": "phrase-33"}


@pytest.fixture
def keys(settings):
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    return settings


def test_what_was_encrypted_is_read_back(keys):
    read = credentials.decrypt(credentials.encrypt(SECRETS))
    assert (read.api_key, read.api_secret, read.passphrase) == tuple(SECRETS.values())


def test_neither_the_stored_bytes_nor_a_printed_value_show_a_secret(keys):
    token = credentials.encrypt(SECRETS)
    printed = repr(credentials.decrypt(token)) + str(credentials.decrypt(token))
    for secret in SECRETS.values():
        assert secret.encode() not in token
        assert secret not in printed


def test_an_old_key_still_reads_and_rotation_moves_to_the_new_one(keys):
    token = credentials.encrypt(SECRETS)
    old, new = keys.CREDENTIALS_KEYS[0], Fernet.generate_key().decode()
    keys.CREDENTIALS_KEYS = [new, old]
    assert credentials.decrypt(token).api_key == SECRETS["api_key"]
    moved = credentials.rotate(token)
    keys.CREDENTIALS_KEYS = [new]
    assert credentials.decrypt(moved).api_secret == SECRETS["api_secret"]
    with pytest.raises(CredentialsUnreadable, match="CREDENTIALS_KEYS"):
        credentials.decrypt(token)


def test_without_a_fitting_key_the_error_names_the_setting_and_no_secret(keys):
    token = credentials.encrypt(SECRETS)
    keys.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CredentialsUnreadable, match="CREDENTIALS_KEYS") as caught:
        credentials.decrypt(token)
    assert "secret-91AC" not in str(caught.value)


def test_a_key_without_its_secret_is_refused(keys):
    with pytest.raises(InvalidInput, match="api_secret"):
        credentials.encrypt({"api_key": "only"})


def test_a_malformed_setting_is_named(settings):
    settings.CREDENTIALS_KEYS = ["too-short"]
    with pytest.raises(InvalidInput, match="CREDENTIALS_KEYS"):
        credentials.encrypt(SECRETS)
