"""The loop around a conversation: tasks in, sessions out. Import from its modules; this one stays light."""
