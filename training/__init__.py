"""Dense training and finetuning: losses, schedules, the loop, and its monitoring."""
