"""What one server holds for all visitors: loaded models, turns, results."""
