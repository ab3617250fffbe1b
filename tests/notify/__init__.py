"""Tests of rules and messages."""
