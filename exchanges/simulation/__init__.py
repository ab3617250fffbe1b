"""The simulated venues' common ground: a generated market, connections, faults and playback."""
