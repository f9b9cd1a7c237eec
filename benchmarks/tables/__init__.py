"""What a day of tables costs."""
