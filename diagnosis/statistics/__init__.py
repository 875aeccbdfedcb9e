"""What the dashboard shows: how much, how fast, how well."""
