"""Indicators over closed candles: pure functions of bars, one module per indicator."""
