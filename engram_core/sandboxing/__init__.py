"""What reads files that come from others: a process of its own, with limits of time and memory."""
