"""What the candle tasks do, one module per step; a service returns what should happen next."""
