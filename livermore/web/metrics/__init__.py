"""What `/metrics` tells: names are a contract (DATA_CONTRACT.md), values what all processes have published."""
