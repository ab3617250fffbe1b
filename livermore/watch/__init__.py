"""What is looked at from outside while everything runs: latency, reception, incidents, activity, instances."""
