"""The preflight checks behind `manage.py doctor`: each asks one thing and says what would put it right."""
