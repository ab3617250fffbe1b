"""The kinds of signals: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from candles.signals import leader_move
from candles.signals.evaluation import Kind, Rules

KINDS: Mapping[Kind, Rules] = MappingProxyType({Kind.LEADER_MOVE: leader_move.RULES})
