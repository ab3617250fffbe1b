"""Who is told of what: users' rules, the outbox of messages, and the ways they go out."""
