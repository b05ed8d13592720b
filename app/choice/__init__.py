"""What a visitor can choose, as plain data, and how it stands in an address."""
