"""Pictures as data: found in folders or tables, decoded once, kept in memory or on the disk."""
