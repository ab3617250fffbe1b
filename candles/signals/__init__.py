"""Cross-exchange signals: pure functions from a cross-section of one asset to events, one module per kind."""
