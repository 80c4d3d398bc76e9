"""What an agent does by itself: rules, their actions, and what it shows to others on the same broker."""
