"""The REST API of contract §6: reading needs a login or a token, changing needs staff."""
