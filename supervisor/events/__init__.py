"""The event log: its schema, its writer, its reader and the console that shows it as it grows."""
