"""The tasks of alerts that no closed candle brings about."""
