"""What outlives a contact: async repositories, in memory and in SQLite."""
